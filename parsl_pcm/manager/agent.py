"""The manager's poll loop: between one interchange and its hosts."""

from __future__ import annotations

import logging
import math
import signal
import sys
from typing import Any

import zmq

from parsl_pcm.clock import monotonic_s
from parsl_pcm.config import ManagerConfig
from parsl_pcm.manager.closing import NOTICES, PATIENCE_S, Answer, Closing
from parsl_pcm.manager.crew import Crew
from parsl_pcm.manager.link import InterchangeLink
from parsl_pcm.manager.node import usable_cores
from parsl_pcm.manager.starting import HostStarter
from parsl_pcm.manager.wakeup import Wakeup
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.messages import (
    ManagerAlive,
    ManagerClosing,
    ManagerLeaving,
    PieceFailed,
    PieceRevoked,
    RegisterManager,
    RegistrationAccepted,
    RegistrationRefused,
    RunPiece,
    Shutdown,
    StartHost,
)

logger = logging.getLogger(__name__)

_RECONNECT_GRACE_S = 3.0
"""An interchange that ends is gone for good; one behind a network hiccup is back by then."""
_SHUTDOWN_GRACE_S = 3.0
"""For the clean-up code of contexts when all ends: the site, or the user, waits for us."""


class Manager:
    """Carries out what the interchange orders, and reports what happens."""

    def __init__(
        self, config: ManagerConfig, registration: RegisterManager, starter: HostStarter
    ) -> None:
        self._config = config
        self._registration = registration
        self._link = InterchangeLink(config, registration.manager_id)
        self._wakeup = Wakeup(signal.SIGCHLD, signal.SIGINT, *NOTICES)
        self._poller = zmq.Poller()
        for source in (self._link.socket, self._link.monitor, self._wakeup.fileno()):
            self._poller.register(source, zmq.POLLIN)
        self._ready: dict[Any, int] = {}
        self._crew = Crew(starter, registration, self._poller, max_boots=len(usable_cores()))
        self._to_interchange: list[Envelope] = []
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
                self._crew.meet_deadlines(self._now)
                self._crew.start_hosts(self._now)
                self._to_interchange += self._crew.take_news()  # before a goodbye
                self._leave_when_done()
                self._leave_if_asked()
                self._crew.send()
                self._keep_in_touch()
                self._send_to_interchange()
                self._give_up_if_alone()
        except BaseException as error:
            self._link.send([Envelope(ManagerLeaving(reason=f"manager failed: {error!r}"))])
            raise
        finally:
            self._crew.kill_all(self._now)
            self._link.close()
        return self._exit_code

    # --- waiting ------------------------------------------------------------------------------

    def _wait(self) -> None:
        timeout_s = max(0.0, self._next_deadline_s() - monotonic_s())
        self._ready = dict(self._poller.poll(int(timeout_s * 1000) + 1))
        self._now = monotonic_s()

    def _next_deadline_s(self) -> float:
        return min(self._crew.deadline_s, self._next_heartbeat_s, self._contact_lost_s())

    def _take_signals(self) -> None:
        signals = self._wakeup.take()
        self._has_child_ended |= signal.SIGCHLD in signals
        for signum in sorted(signals - {signal.SIGCHLD}):
            self._take_notice(signal.Signals(signum))

    def _take_notice(self, signum: signal.Signals) -> None:
        reason = f"received {signum.name}"
        is_serving = self._give_up_registering_s is None and self._shutdown_reason is None
        has_work = is_serving and not self._crew.is_idle
        match self._closing.answer(signum, now=self._now, has_work=has_work):
            case Answer.CLOSE:
                logger.info("%s: taking nothing new", reason)
                self._crew.start_no_more()
                self._to_interchange.append(Envelope(ManagerClosing(reason=reason)))
            case Answer.LEAVE:
                self._leaving_reason = reason
            case Answer.GO_ON:
                pass

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
            case StartHost() as start:
                self._start_host(start)
            case ManagerAlive():
                pass
            case RegistrationAccepted():
                self._give_up_registering_s = None
                logger.info("registered with the interchange at %s", self._link.url)
            case RegistrationRefused(reason=reason):
                self._end_in_error(f"the interchange refused this manager: {reason}")
            case Shutdown(reason=reason):
                self._begin_shutdown(reason)
            case _:
                self._crew.obey(envelope, self._now)

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
        if self._shutdown_reason is None and self._closing.since_s is None:
            self._crew.order_host(start)

    def _run_piece(self, run: RunPiece, envelope: Envelope) -> None:
        logger.debug("lease %s: piece for host %s", run.lease_id, run.host_id)
        if self._closing.since_s is not None:  # it was under way when we gave notice
            self._to_interchange.append(Envelope(PieceRevoked(lease_id=run.lease_id)))
            return
        self._crew.run_piece(run, envelope)

    def _hear_hosts(self) -> None:
        for envelope in self._crew.hear(self._ready, self._now):
            self._pass_on(envelope)

    def _pass_on(self, report: Envelope) -> None:
        if isinstance(report.message, PieceFailed):
            self._take_signals()  # the cause may have come to us in this turn
        self._to_interchange.append(self._closing.excuse(report))

    def _notice_ended_hosts(self) -> None:
        ended = self._crew.take_ended(self._now, has_child_ended=self._has_child_ended)
        self._has_child_ended = False
        for host in ended:
            for report in host.reports:
                self._pass_on(report)
            self._to_interchange += self._closing.excuse_death(host.lease_ids)
            self._to_interchange.append(host.last_message)

    # --- the end ------------------------------------------------------------------------------

    def _begin_shutdown(self, reason: str) -> None:
        logger.info("shutting down: %s", reason)
        self._shutdown_reason = reason
        if self._closing.since_s is not None:  # nobody waits for what still runs
            self._leaving_reason = reason
        self._crew.start_no_more()
        self._crew.stop_all(self._now, grace_s=_SHUTDOWN_GRACE_S)

    def _leave_when_done(self) -> None:
        """Leave when there is nothing more to wait for, after an order or a notice to end."""
        if self._shutdown_reason is not None:
            if self._crew.is_empty:
                self._leaving_reason = self._shutdown_reason
        elif (
            self._closing.since_s is not None
            and self._crew.is_idle
            and self._leaving_reason is None
        ):
            self._leaving_reason = "nothing is left to finish before the site ends this manager"

    def _leave_if_asked(self) -> None:
        """Say goodbye and go, but for the time that idle hosts need to clean up."""
        if self._leaving_reason is None or self._exit_code is not None:
            return
        if not self._has_said_goodbye:
            self._say_goodbye(self._leaving_reason)
        if self._crew.is_empty:
            self._exit_code = 0

    def _say_goodbye(self, reason: str) -> None:
        """Hand back all pieces that we hold: from here on nothing is sent for them."""
        logger.info("leaving: %s", reason)
        self._to_interchange.append(Envelope(ManagerLeaving(reason=reason)))
        self._send_to_interchange()
        self._has_said_goodbye = True
        self._crew.start_no_more()
        self._crew.dismiss(self._now, grace_s=_SHUTDOWN_GRACE_S)

    def _end_in_error(self, message: str) -> None:
        logger.error("%s", message)
        sys.stderr.write(f"parsl-pcm-manager: {message}\n")
        self._exit_code = 1
