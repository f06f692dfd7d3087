"""All hosts of one manager: starting, feeding, hearing, measuring and ending them."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import zmq
from msgspec import Struct

from parsl_pcm.clock import monotonic_s
from parsl_pcm.manager.boots import BootGate
from parsl_pcm.manager.hosts import STOP_GRACE_S, HostProcess, HostState
from parsl_pcm.manager.node import available_memory_bytes
from parsl_pcm.manager.spares import MEMORY_FACTOR
from parsl_pcm.manager.starting import HostStarter
from parsl_pcm.types import Digest, HostId, LeaseId
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.messages import (
    Failure,
    FailureKind,
    HostExited,
    HostReady,
    RegisterManager,
    RevokePiece,
    RunPiece,
    SetupFailed,
    SleepHost,
    StartHost,
    StopHost,
    StoreBlob,
    WakeHost,
)

logger = logging.getLogger(__name__)

_LOOK_PERIOD_S = 5.0
"""Between two looks at the memory of one host."""
_REST_FACTOR = 100
"""After a look that took a while, the next one waits so many times as long: 1 % of a core."""
_KILL_WAIT_S = 0.5
"""For killed hosts to leave their devices before the manager's claims on these go with it."""


class EndedHost(Struct, frozen=True, kw_only=True):
    """A host that is gone, and what is left to say of it."""

    reports: list[Envelope]
    """What it sent between our last look and its end."""
    lease_ids: list[LeaseId]
    """The pieces that it held."""
    last_message: Envelope


class Crew:
    """The hosts of this node, and those that wait for their turn to start.

    Parameters
    ----------
    poller
        Waits for all descriptors of the manager; those of hosts are added and removed here.
    max_boots
        How many hosts may set up at once.
    """

    def __init__(
        self,
        starter: HostStarter,
        registration: RegisterManager,
        poller: zmq.Poller,
        *,
        max_boots: int,
    ) -> None:
        self._starter = starter
        self._registration = registration
        self._poller = poller
        self._gate = BootGate(max_boots)
        self._hosts: dict[HostId, HostProcess] = {}
        self._blobs: dict[Digest, bytes] = {}
        self._to_hosts: defaultdict[HostId, list[Envelope]] = defaultdict(list)
        self._news: list[Envelope] = []
        self._rest_until_s = 0.0
        self._is_ending = False

    @property
    def is_empty(self) -> bool:
        """Whether no host is left."""
        return not self._hosts

    @property
    def is_idle(self) -> bool:
        """Whether no host holds a piece."""
        return all(host.is_idle for host in self._hosts.values())

    @property
    def deadline_s(self) -> float:
        """Monotonic time at which there is something to do, whatever happens."""
        deadlines = [host.deadline_s for host in self._hosts.values()]
        return min([self._look_due_s, *deadlines])

    # --- what the interchange asks for --------------------------------------------------------

    def obey(self, envelope: Envelope, now: float) -> None:
        """Carry out an order that concerns one host, or keep what hosts need."""
        match envelope.message:
            case StoreBlob(digest=digest):
                self._blobs[digest] = envelope.payload[0]
            case RevokePiece(host_id=host_id):
                self._forward(host_id, envelope)
            case StopHost(host_id=host_id):
                self._stop_host(host_id, now)
            case SleepHost(host_id=host_id) | WakeHost(host_id=host_id) as order:
                if host := self._hosts.get(host_id):
                    host.turn(order, now)
            case unknown:
                raise TypeError(f"an interchange never sends {type(unknown).__name__} to a manager")

    def order_host(self, start: StartHost) -> None:
        """Start a host when its turn has come."""
        self._gate.add(start)

    def start_hosts(self, now: float) -> None:
        """Start the hosts whose turn has come."""
        while (start := self._gate.next()) is not None:
            if start.requirements.host_memory_bytes > self._free_bytes():
                self._starter.spares.end(_KILL_WAIT_S)  # the scheduler does not reckon with them
            try:
                host = self._starter.start(start, now)
            except OSError as error:
                self._report_not_started(start, error)
                continue
            self._hosts[start.host_id] = host
            self._poller.register(host.channel.fileno(), zmq.POLLIN)
            self._forward(start.host_id, Envelope(self._starter.order_for(start)), start.recipes)

    def run_piece(self, run: RunPiece, envelope: Envelope) -> None:
        """Give a piece to a host."""
        if host := self._hosts.get(run.host_id):
            host.stop_of_lease[run.lease_id] = run.stop
        self._forward(run.host_id, envelope, run.function)

    def send(self) -> None:
        """Send the hosts what is queued for them, as much as they take."""
        for host_id, envelopes in self._to_hosts.items():
            if host := self._hosts.get(host_id):
                host.channel.send(envelopes)
        self._to_hosts.clear()
        for host in self._hosts.values():
            self._poll_for(host)

    # --- what hosts say and do ----------------------------------------------------------------

    def take_news(self) -> list[Envelope]:
        """Return what there is to tell of hosts that they do not say themselves."""
        news, self._news = self._news, []
        return news

    def hear(self, ready: Mapping[Any, int], now: float) -> Iterator[Envelope]:
        """Yield what the hosts have to say to the interchange.

        Parameters
        ----------
        ready
            Descriptors with events, as the poller gives them.
        """
        for host in self._hosts.values():
            if host.channel.fileno() in ready:
                host.channel.flush()
                yield from self._heard(host, now)

    def take_ended(self, now: float, *, has_child_ended: bool) -> list[EndedHost]:
        """Forget the hosts that are gone, with all they held, and return what to say of them.

        Parameters
        ----------
        has_child_ended
            Whether some process of ours has ended since the last call.
        """
        ended = []
        for host in list(self._hosts.values()):
            is_suspect = host.state is HostState.DYING or host.channel.is_closed
            if not (has_child_ended or is_suspect):
                continue
            last_message = host.notice_exit(now)
            if last_message is not None:
                ended.append(self._remove(host, last_message, now))
        if has_child_ended:
            self._starter.spares.drop_dead()
        return ended

    def meet_deadlines(self, now: float) -> None:
        """Do what is due."""
        for host in self._hosts.values():
            host.meet_deadline(now)
        if now >= self._look_due_s:
            self._look(now)

    # --- the end ------------------------------------------------------------------------------

    def start_no_more(self) -> None:
        """Give up what has not started, spares included; nothing new is ordered from here on."""
        self._is_ending = True
        self._starter.spares.end(_KILL_WAIT_S)
        for host_id in self._gate.drop_all():
            self._report_dropped(host_id)

    def stop_all(self, now: float, *, grace_s: float = STOP_GRACE_S) -> None:
        """Ask all hosts to end."""
        for host in self._hosts.values():
            host.stop(now, grace_s=grace_s)

    def dismiss(self, now: float, *, grace_s: float) -> None:
        """Ask idle hosts to end, and end the others: nobody wants their results any more."""
        for host in self._hosts.values():
            if host.is_idle:
                host.stop(now, grace_s=grace_s)
            else:
                host.kill("its manager leaves", now)

    def kill_all(self, now: float) -> None:
        """End everything at once."""
        for host in self._hosts.values():
            host.kill("its manager ended", now)
        self._starter.spares.end(_KILL_WAIT_S)
        wait_until_s = monotonic_s() + _KILL_WAIT_S
        for host in self._hosts.values():
            host.wait(max(0.0, wait_until_s - monotonic_s()))

    # --- parts --------------------------------------------------------------------------------

    def _stop_host(self, host_id: HostId, now: float) -> None:
        if self._gate.drop(host_id):
            self._report_dropped(host_id)
        elif host := self._hosts.get(host_id):
            logger.info("host %s: stopping as the interchange asks", host_id)
            host.stop(now)

    def _forward(self, host_id: HostId, envelope: Envelope, blob: Digest | None = None) -> None:
        """Queue a message for a host, behind the blob that it needs if it lacks that."""
        host = self._hosts.get(host_id)
        if host is None:  # gone: the interchange reads so in HostExited, perhaps at this moment
            return
        if blob is not None and blob not in host.sent_digests:
            host.sent_digests.add(blob)
            content = self._blobs[blob]
            self._to_hosts[host_id].append(Envelope(StoreBlob(digest=blob), (content,)))
        self._to_hosts[host_id].append(envelope)

    def _poll_for(self, host: HostProcess) -> None:
        """Wait for a host's messages, and for room to write if there is something left to."""
        channel = host.channel
        if channel.is_closed:  # readable for ever: only its exit is of interest now
            events = 0
        else:
            events = zmq.POLLIN | (zmq.POLLOUT if channel.has_outgoing else 0)
        self._poller.register(channel.fileno(), events)

    def _heard(self, host: HostProcess, now: float) -> Iterator[Envelope]:
        for envelope in host.receive(now):
            _log_report(host, envelope)
            if isinstance(envelope.message, HostReady):
                self._gate.leave(host.start.host_id)
                self._keep_spare(host)
            yield envelope

    def _remove(self, host: HostProcess, last_message: Envelope, now: float) -> EndedHost:
        host_id = host.start.host_id
        reports = list(self._heard(host, now))
        self._poller.register(host.channel.fileno(), 0)  # also where it is out already
        host.channel.close()
        self._starter.release_cores(host_id)
        self._gate.leave(host_id)
        del self._hosts[host_id]
        _log_report(host, last_message)
        return EndedHost(
            reports=reports, lease_ids=list(host.stop_of_lease), last_message=last_message
        )

    def _report_not_started(self, start: StartHost, error: OSError) -> None:
        message = (
            f"no process for context {start.name!r} could be started on node "
            f"{self._registration.hostname}: {error}; check the limits there (ulimit -a)"
        )
        self._starter.release_cores(start.host_id)
        self._gate.leave(start.host_id)
        logger.error("host %s: %s", start.host_id, message)
        failure = Failure(kind=FailureKind.SETUP_FAILED, message=message)
        self._news.append(Envelope(SetupFailed(host_id=start.host_id, failure=failure)))

    def _report_dropped(self, host_id: HostId) -> None:
        description = "stopped before it was started"
        logger.info("host %s: %s", host_id, description)
        exited = HostExited(host_id=host_id, description=description, log_tail="", log_path="")
        self._news.append(Envelope(exited))

    def _keep_spare(self, host: HostProcess) -> None:
        needed_bytes = MEMORY_FACTOR * host.memory.peak.host_memory_bytes
        if (
            not host.start.requirements.imports
            or self._is_ending
            or self._free_bytes() < needed_bytes
        ):
            return
        self._starter.keep_spare(host.start)

    def _free_bytes(self) -> int:
        """Return the memory that is free on this node, and not promised to others by the site."""
        held_bytes = sum(host.memory.peak.host_memory_bytes for host in self._hosts.values())
        ours_bytes = self._registration.resources.memory_bytes - held_bytes
        return min(available_memory_bytes(), ours_bytes)

    @property
    def _look_due_s(self) -> float:
        looked_s = min((host.memory.looked_s for host in self._awake()), default=math.inf)
        return max(self._rest_until_s, looked_s + _LOOK_PERIOD_S)

    def _awake(self) -> Iterable[HostProcess]:
        """Return the hosts whose memory is of interest: that of sleepers was told."""
        return (host for host in self._hosts.values() if host.state is HostState.READY)

    def _look(self, now: float) -> None:
        """Measure the host that was not measured for the longest time."""
        started_s = monotonic_s()
        host = min(self._awake(), key=lambda host: host.memory.looked_s)
        measured = host.look(now)
        ended_s = monotonic_s()
        self._rest_until_s = ended_s + _REST_FACTOR * (ended_s - started_s)
        if measured is not None:
            logger.debug("host %s: %s", host.start.host_id, measured)
            self._news.append(Envelope(measured))


def _log_report(host: HostProcess, envelope: Envelope) -> None:
    host_id = host.start.host_id
    match envelope.message:
        case HostReady(setup_s=setup_s):
            logger.info("host %s: %r is ready after %.2f s", host_id, host.start.name, setup_s)
        case SetupFailed(failure=failure):
            logger.error("host %s: %s", host_id, failure.message)
        case HostExited(description=description):
            logger.info("host %s: %s", host_id, description)
        case report:
            logger.debug("host %s: %s", host_id, report)
