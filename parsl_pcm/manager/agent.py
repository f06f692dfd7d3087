"""The manager's poll loop: between one interchange and its hosts."""

from __future__ import annotations

import logging
import math
import signal
import sys
from collections import defaultdict
from typing import Any

import zmq

from parsl_pcm.clock import monotonic_s
from parsl_pcm.config import ManagerConfig
from parsl_pcm.manager.closing import NOTICES, PATIENCE_S, Answer, Closing
from parsl_pcm.manager.hosts import HostProcess, HostState
from parsl_pcm.manager.link import InterchangeLink
from parsl_pcm.manager.starting import HostStarter
from parsl_pcm.manager.wakeup import Wakeup
from parsl_pcm.types import Digest, HostId
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.messages import (
    Failure,
    FailureKind,
    HostExited,
    HostReady,
    ManagerAlive,
    ManagerClosing,
    ManagerLeaving,
    PieceFailed,
    PieceRevoked,
    RegisterManager,
    RegistrationAccepted,
    RegistrationRefused,
    RevokePiece,
    RunPiece,
    SetupFailed,
    Shutdown,
    StartHost,
    StopHost,
    StoreBlob,
)

logger = logging.getLogger(__name__)

_RECONNECT_GRACE_S = 3.0
"""An interchange that ends is gone for good; one behind a network hiccup is back by then."""
_SHUTDOWN_GRACE_S = 3.0
"""For the clean-up code of contexts when all ends: the site, or the user, waits for us."""
_KILL_WAIT_S = 0.5
"""For killed hosts to leave their devices before our claims on these go with us."""


class Manager:
    """Carries out what the interchange orders, and reports what happens."""

    def __init__(
        self, config: ManagerConfig, registration: RegisterManager, starter: HostStarter
    ) -> None:
        self._config = config
        self._registration = registration
        self._starter = starter
        self._link = InterchangeLink(config, registration.manager_id)
        self._wakeup = Wakeup(signal.SIGCHLD, signal.SIGINT, *NOTICES)
        self._poller = zmq.Poller()
        for source in (self._link.socket, self._link.monitor, self._wakeup.fileno()):
            self._poller.register(source, zmq.POLLIN)
        self._ready: dict[Any, int] = {}
        self._hosts: dict[HostId, HostProcess] = {}
        self._blobs: dict[Digest, bytes] = {}
        self._to_interchange: list[Envelope] = []
        self._to_hosts: defaultdict[HostId, list[Envelope]] = defaultdict(list)
        self._now = monotonic_s()
        self._give_up_registering_s: float | None = self._now + config.address_probe_timeout_s
        self._next_heartbeat_s = self._now + config.heartbeat_period_s
        self._has_child_ended = False
        self._closing = Closing()
        self._leaving_reason: str | None = None
        self._has_said_goodbye = False
        self._shutdown_reason: str | None = None
        self._exit_code: int | None = None

    def run(self) -> int:
        """Serve until told to end, or until the interchange is gone.

        Returns
        -------
        int
            The exit code for the process: above 0 if the interchange refused us or vanished.
        """
        self._link.send([Envelope(self._registration)])
        try:
            while self._exit_code is None:
                self._wait()
                if self._wakeup.fileno() in self._ready:
                    self._take_signals()
                self._obey_interchange()
                self._hear_hosts()
                self._notice_ended_hosts()
                self._meet_host_deadlines()
                self._leave_when_done()
                self._leave_if_asked()
                self._send_to_hosts()
                self._keep_in_touch()
                self._send_to_interchange()
                self._give_up_if_alone()
        except BaseException as error:
            self._link.send([Envelope(ManagerLeaving(reason=f"manager failed: {error!r}"))])
            raise
        finally:
            self._end_hosts()
            self._link.close()
        return self._exit_code

    # --- waiting ------------------------------------------------------------------------------

    def _wait(self) -> None:
        timeout_s = max(0.0, self._next_deadline_s() - monotonic_s())
        self._ready = dict(self._poller.poll(int(timeout_s * 1000) + 1))
        self._now = monotonic_s()

    def _next_deadline_s(self) -> float:
        deadlines = [host.deadline_s for host in self._hosts.values()]
        deadlines += [self._next_heartbeat_s, self._contact_lost_s()]
        return min(deadlines)

    def _take_signals(self) -> None:
        signals = self._wakeup.take()
        self._has_child_ended |= signal.SIGCHLD in signals
        for signum in sorted(signals - {signal.SIGCHLD}):
            self._take_notice(signal.Signals(signum))

    def _take_notice(self, signum: signal.Signals) -> None:
        reason = f"received {signum.name}"
        is_serving = self._give_up_registering_s is None and self._shutdown_reason is None
        has_work = is_serving and not self._is_idle
        match self._closing.answer(signum, now=self._now, has_work=has_work):
            case Answer.CLOSE:
                logger.info("%s: taking nothing new", reason)
                self._to_interchange.append(Envelope(ManagerClosing(reason=reason)))
            case Answer.LEAVE:
                self._leaving_reason = reason
            case Answer.GO_ON:
                pass

    @property
    def _is_idle(self) -> bool:
        return all(host.is_idle for host in self._hosts.values())

    # --- the interchange ----------------------------------------------------------------------

    def _obey_interchange(self) -> None:
        if self._link.monitor in self._ready:
            self._link.notice_breaks(self._now)
        if self._link.socket in self._ready:
            for envelope in self._link.receive(self._now):
                if self._leaving_reason is None:
                    self._obey(envelope)

    def _obey(self, envelope: Envelope) -> None:
        match envelope.message:
            case RunPiece() as run:
                self._run_piece(run, envelope)
            case RevokePiece() as revoke:
                self._forward(revoke.host_id, envelope)
            case StoreBlob(digest=digest):
                self._blobs[digest] = envelope.payload[0]
            case StartHost() as start:
                self._start_host(start)
            case StopHost(host_id=host_id):
                self._stop_host(host_id)
            case ManagerAlive():
                pass
            case RegistrationAccepted():
                self._give_up_registering_s = None
                logger.info("registered with the interchange at %s", self._link.url)
            case RegistrationRefused(reason=reason):
                self._end_in_error(f"the interchange refused this manager: {reason}")
            case Shutdown(reason=reason):
                self._begin_shutdown(reason)
            case unknown:
                raise TypeError(f"an interchange never sends {type(unknown).__name__} to a manager")

    def _keep_in_touch(self) -> None:
        if self._now >= self._next_heartbeat_s:
            self._to_interchange.append(Envelope(ManagerAlive()))
            self._next_heartbeat_s = self._now + self._config.heartbeat_period_s

    def _send_to_interchange(self) -> None:
        if self._to_interchange and not self._has_said_goodbye:
            self._link.send(self._to_interchange)
        self._to_interchange = []

    def _contact_lost_s(self) -> float:
        """When to give the interchange up, if nothing more is heard."""
        if self._has_said_goodbye:
            return math.inf
        unheard_s = self._give_up_registering_s
        if unheard_s is None:
            unheard_s = self._link.last_heard_s + self._config.heartbeat_threshold_s
        if self._closing.since_s is not None:
            heard_s = max(self._link.last_heard_s, self._closing.since_s)
            unheard_s = min(unheard_s, heard_s + PATIENCE_S)
        if self._link.broken_since_s is None:
            return unheard_s
        return min(unheard_s, self._link.broken_since_s + _RECONNECT_GRACE_S)

    def _give_up_if_alone(self) -> None:
        if self._exit_code is not None or self._now < self._contact_lost_s():
            return
        if self._give_up_registering_s is not None:
            self._end_in_error(
                f"no interchange answered at {self._link.url}: it has ended, or this node cannot "
                "reach that address; then set PCMExecutor(address=...) to one that it can"
            )
        else:
            self._end_in_error(f"the interchange at {self._link.url} is gone")

    # --- hosts --------------------------------------------------------------------------------

    def _start_host(self, start: StartHost) -> None:
        if self._shutdown_reason is not None or self._closing.since_s is not None:
            return
        try:
            host = self._starter.start(start, self._now)
        except OSError as error:
            self._report_not_started(start, error)
            return
        self._hosts[start.host_id] = host
        self._poller.register(host.channel.fileno(), zmq.POLLIN)
        self._forward(start.host_id, Envelope(start), start.recipes)

    def _report_not_started(self, start: StartHost, error: OSError) -> None:
        message = (
            f"no process for context {start.name!r} could be started on node "
            f"{self._registration.hostname}: {error}; check the limits there (ulimit -a)"
        )
        self._starter.release_cores(start.host_id)
        logger.error("host %s: %s", start.host_id, message)
        failure = Failure(kind=FailureKind.SETUP_FAILED, message=message)
        self._to_interchange.append(Envelope(SetupFailed(host_id=start.host_id, failure=failure)))

    def _stop_host(self, host_id: HostId) -> None:
        if host := self._hosts.get(host_id):
            logger.info("host %s: stopping as the interchange asks", host_id)
            host.stop(self._now)

    def _run_piece(self, run: RunPiece, envelope: Envelope) -> None:
        logger.debug("lease %s: piece for host %s", run.lease_id, run.host_id)
        if self._closing.since_s is not None:  # it was under way when we gave notice
            self._to_interchange.append(Envelope(PieceRevoked(lease_id=run.lease_id)))
            return
        if host := self._hosts.get(run.host_id):
            host.stop_of_lease[run.lease_id] = run.stop
        self._forward(run.host_id, envelope, run.function)

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

    def _send_to_hosts(self) -> None:
        for host_id, envelopes in self._to_hosts.items():
            if host := self._hosts.get(host_id):
                host.channel.send(envelopes)
        self._to_hosts.clear()
        for host in self._hosts.values():
            self._poll_for(host)

    def _poll_for(self, host: HostProcess) -> None:
        """Wait for a host's messages, and for room to write if there is something left to."""
        channel = host.channel
        if channel.is_closed:  # readable for ever: only its exit is of interest now
            events = 0
        else:
            events = zmq.POLLIN | (zmq.POLLOUT if channel.has_outgoing else 0)
        self._poller.register(channel.fileno(), events)

    def _hear_hosts(self) -> None:
        for host in self._hosts.values():
            if host.channel.fileno() in self._ready:
                host.channel.flush()
                self._pass_on_reports(host)

    def _pass_on_reports(self, host: HostProcess) -> None:
        for envelope in host.receive(self._now):
            self._log_report(host, envelope)
            if isinstance(envelope.message, PieceFailed):
                self._take_signals()  # the cause may have come to us in this turn
            self._to_interchange.append(self._closing.excuse(envelope))

    def _notice_ended_hosts(self) -> None:
        for host in list(self._hosts.values()):
            is_suspect = host.state is HostState.DYING or host.channel.is_closed
            if not (self._has_child_ended or is_suspect):
                continue
            last_message = host.notice_exit(self._now)
            if last_message is not None:
                self._remove(host, last_message)
        self._has_child_ended = False

    def _remove(self, host: HostProcess, last_message: Envelope) -> None:
        self._pass_on_reports(host)  # what it sent between our last look and its end
        self._poller.register(host.channel.fileno(), 0)  # also where it is out already
        host.channel.close()
        self._starter.release_cores(host.start.host_id)
        del self._hosts[host.start.host_id]
        self._log_report(host, last_message)
        self._to_interchange += self._closing.excuse_death(host.stop_of_lease)
        self._to_interchange.append(last_message)

    def _meet_host_deadlines(self) -> None:
        for host in self._hosts.values():
            host.meet_deadline(self._now)

    def _log_report(self, host: HostProcess, envelope: Envelope) -> None:
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

    # --- the end ------------------------------------------------------------------------------

    def _begin_shutdown(self, reason: str) -> None:
        logger.info("shutting down: %s", reason)
        self._shutdown_reason = reason
        if self._closing.since_s is not None:  # nobody waits for what still runs
            self._leaving_reason = reason
        for host in self._hosts.values():
            host.stop(self._now, grace_s=_SHUTDOWN_GRACE_S)

    def _leave_when_done(self) -> None:
        """Leave when there is nothing more to wait for, after an order or a notice to end."""
        if self._shutdown_reason is not None:
            if not self._hosts:
                self._leaving_reason = self._shutdown_reason
        elif self._closing.since_s is not None and self._is_idle and self._leaving_reason is None:
            self._leaving_reason = "nothing is left to finish before the site ends this manager"

    def _leave_if_asked(self) -> None:
        """Say goodbye and go, but for the time that idle hosts need to clean up."""
        if self._leaving_reason is None or self._exit_code is not None:
            return
        if not self._has_said_goodbye:
            self._say_goodbye(self._leaving_reason)
        if not self._hosts:
            self._exit_code = 0

    def _say_goodbye(self, reason: str) -> None:
        """Hand back all pieces that we hold: from here on nothing is sent for them."""
        logger.info("leaving: %s", reason)
        self._to_interchange.append(Envelope(ManagerLeaving(reason=reason)))
        self._send_to_interchange()
        self._has_said_goodbye = True
        for host in self._hosts.values():
            if host.is_idle:
                host.stop(self._now, grace_s=_SHUTDOWN_GRACE_S)
            else:
                host.kill("its manager leaves", self._now)

    def _end_in_error(self, message: str) -> None:
        logger.error("%s", message)
        sys.stderr.write(f"parsl-pcm-manager: {message}\n")
        self._exit_code = 1

    def _end_hosts(self) -> None:
        for host in self._hosts.values():
            host.kill("its manager ended", self._now)
        wait_until_s = monotonic_s() + _KILL_WAIT_S
        for host in self._hosts.values():
            host.wait(max(0.0, wait_until_s - monotonic_s()))
