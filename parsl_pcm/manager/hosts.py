"""One host process as its manager sees it, from its start until the last of its memory is free."""

from __future__ import annotations

import contextlib
import enum
import math
import signal
import socket
import subprocess
from typing import TypeVar

import msgspec

from parsl_pcm.manager.exits import describe_exit, log_tail
from parsl_pcm.manager.memory import HostMemory, Memory
from parsl_pcm.manager.processes import Child, is_group_gone, signal_group
from parsl_pcm.types import Digest, LeaseId
from parsl_pcm.wire.codec import Envelope, ProtocolError
from parsl_pcm.wire.messages import (
    Failure,
    FailureKind,
    HostAsleep,
    HostAwake,
    HostExited,
    HostMeasured,
    HostReady,
    PieceFailed,
    PieceFinished,
    PieceRevoked,
    SetupFailed,
    SleepFailed,
    SleepHost,
    StartHost,
    StopHost,
    WakeHost,
)

M = TypeVar("M", HostReady, HostAsleep)

STOP_GRACE_S = 10.0
"""For the running piece and the clean-up code, after StopHost."""
_FAILED_GRACE_S = 2.0
"""For a host to end by itself after it has said that its set-up failed."""
_EXIT_GRACE_S = 1.0
"""From the end of the connection to the end of the process, which the kernel tells later."""
_GONE_GRACE_S = 5.0
"""For the kernel to remove killed processes; one that hangs in a driver may never go."""
_GONE_CHECK_S = 0.02


class HostState(enum.Enum):
    """Where a host is in its life."""

    SETTING_UP = "setting_up"
    READY = "ready"
    DOZING = "dozing"
    """Asked to sleep."""
    ASLEEP = "asleep"
    WAKING = "waking"
    """Asked to wake up."""
    STOPPING = "stopping"
    """Asked to; it may still finish what it runs."""
    DYING = "dying"
    """Its first process ended, or was killed; others of its group may still hold memory."""


class HostProcess:
    """A host, its socket, its log and its memory.

    Parameters
    ----------
    child
        Its process, that was started just now, or that waited for an order like this one.
    now
        When its set-up begins.

    Attributes
    ----------
    deadline_s
        Monotonic time at which :meth:`meet_deadline` and :meth:`notice_exit` have something to do.
    sent_digests
        Blobs that the host has been sent.
    stop_of_lease
        Last item, excluded, of each piece that it was sent and has not reported the end of.
    """

    def __init__(self, start: StartHost, child: Child, memory: HostMemory, *, now: float) -> None:
        self.start = start
        self.channel = child.channel
        self.log_path = child.log_path
        self.memory = memory
        self.state = HostState.SETTING_UP
        self.deadline_s = now + start.requirements.setup_timeout_s
        self.sent_digests: set[Digest] = set()
        self.stop_of_lease: dict[LeaseId, int] = {}
        self._process = child.process
        self._started_s = now
        self._silent_since_s = math.inf
        self._gone_by_s = math.inf
        self._reason: str | None = None
        self._setup_failure: Failure | None = None

    @property
    def pid(self) -> int:
        """The first process of the host, and the number of its group."""
        return self._process.pid

    @property
    def is_idle(self) -> bool:
        """Whether it holds no piece."""
        return not self.stop_of_lease

    def receive(self, now: float) -> list[Envelope]:
        """Return what the host has to say to the interchange."""
        try:
            received = self.channel.receive()
        except ProtocolError as error:  # user code wrote into our socket
            self._take_end(f"killed: it sent nonsense to its manager ({error})", now)
            return []
        translated = (self._translate(envelope, now) for envelope in received)
        return [envelope for envelope in translated if envelope is not None]

    def stop(self, now: float, *, grace_s: float = STOP_GRACE_S) -> None:
        """Ask it to end, and kill it if it has not after the grace time."""
        if self.state is HostState.SETTING_UP:  # there is nothing to clean up yet
            self.kill("stopped during its set-up", now)
        elif self.state is HostState.STOPPING:
            self.deadline_s = min(self.deadline_s, now + grace_s)
        elif self.state is not HostState.DYING:
            self.channel.send([Envelope(StopHost(host_id=self.start.host_id))])
            self.state = HostState.STOPPING
            self.deadline_s = now + grace_s

    def turn(self, order: SleepHost | WakeHost, now: float) -> None:
        """Pass on an order to sleep or to wake up; it has as long for it as for its set-up."""
        is_sleep = isinstance(order, SleepHost)
        if self.state is (HostState.READY if is_sleep else HostState.ASLEEP):
            self.channel.send([Envelope(order)])
            self.state = HostState.DOZING if is_sleep else HostState.WAKING
            self.deadline_s = now + self.start.requirements.setup_timeout_s

    def look(self, now: float) -> HostMeasured | None:
        """Measure its memory; return what to tell if it holds clearly more than was told."""
        news = self.memory.look(now)
        if news is None:
            return None
        return HostMeasured(
            host_id=self.start.host_id,
            gpu_memory_bytes=news.gpu_memory_bytes,
            host_memory_bytes=news.host_memory_bytes,
        )

    def kill(self, reason: str, now: float) -> None:
        """End every process of the host at once."""
        if self.state is HostState.DYING:
            return
        self._reason = reason
        self.state = HostState.DYING
        self._gone_by_s = now + _GONE_GRACE_S
        self.deadline_s = now + _GONE_CHECK_S
        self.memory.remember_processes()
        signal_group(self.pid, signal.SIGKILL)

    def meet_deadline(self, now: float) -> None:
        """Do what is due: nothing before `deadline_s`."""
        if now < self.deadline_s:
            return
        match self.state:
            case HostState.SETTING_UP if self._setup_failure is None:
                timeout_s = self.start.requirements.setup_timeout_s
                message = self._in_setup(
                    f"took longer than {timeout_s:g} s and was ended; if it needs more, "
                    "declare @context(setup_timeout_s=...)"
                )
                self._setup_failure = Failure(kind=FailureKind.SETUP_FAILED, message=message)
                self.kill("set-up timed out", now)
            case HostState.SETTING_UP:
                self.kill("did not end by itself after its set-up failed", now)
            case HostState.STOPPING:
                self.kill("killed: it did not stop in time when asked to", now)
            case HostState.DOZING | HostState.WAKING:
                what = "fall asleep" if self.state is HostState.DOZING else "wake up"
                timeout_s = self.start.requirements.setup_timeout_s
                self.kill(f"killed: it took longer than {timeout_s:g} s to {what}", now)
            case HostState.READY | HostState.ASLEEP | HostState.DYING:
                pass  # what is due then is done by notice_exit

    def notice_exit(self, now: float) -> Envelope | None:
        """Return its last message once it is really gone, with its memory free; else None."""
        return_code = self._process.poll()
        if return_code is not None:
            self._take_exit(return_code, now)
        elif self.channel.is_closed:
            self._take_silence(now)
        if self.state is not HostState.DYING:
            return None
        has_ended = return_code is not None and is_group_gone(self.pid)
        if (has_ended and self.memory.is_off_devices()) or now >= self._gone_by_s:
            return Envelope(self._last_message())
        self.deadline_s = now + _GONE_CHECK_S
        return None

    def wait(self, timeout_s: float) -> None:
        """Wait for a killed host to be gone, when the manager itself ends."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)

    def _translate(self, envelope: Envelope, now: float) -> Envelope | None:
        match envelope.message:
            case HostReady() as ready:
                return self._take_ready(ready, now)
            case HostAsleep() as asleep:
                memory = self.memory.measure()
                told = _with_memory(asleep, memory)
                return self._take_turn(told, HostState.DOZING, HostState.ASLEEP)
            case HostAwake() as awake:
                return self._take_turn(awake, HostState.WAKING, HostState.READY)
            case SleepFailed() as failed:
                return self._take_turn(failed, HostState.DOZING, HostState.READY)
            case SetupFailed(failure=failure):  # is told when the host is gone
                self._setup_failure = failure
                self.deadline_s = now + _FAILED_GRACE_S
                return None
            case PieceFinished(lease_id=lease_id, stop=stop):
                if self.stop_of_lease.get(lease_id) == stop:
                    del self.stop_of_lease[lease_id]
            case PieceFailed(lease_id=lease_id) | PieceRevoked(lease_id=lease_id):
                self.stop_of_lease.pop(lease_id, None)
            case _:
                pass
        return envelope

    def _take_ready(self, ready: HostReady, now: float) -> Envelope | None:
        if self.state is not HostState.SETTING_UP:  # too late: it is being killed
            return None
        self.state = HostState.READY
        self.deadline_s = math.inf
        self.memory.look(now)
        setup_s = now - self._started_s  # the start of Python included
        ready = msgspec.structs.replace(ready, setup_s=setup_s)
        return Envelope(_with_memory(ready, self.memory.peak))

    def _take_turn(
        self, message: HostAsleep | HostAwake | SleepFailed, before: HostState, after: HostState
    ) -> Envelope | None:
        """Take note that it sleeps, or is awake; says nothing of it if it was stopped meanwhile."""
        if self.state is not before:
            return None
        self.state = after
        self.deadline_s = math.inf
        return Envelope(message)

    def _take_exit(self, return_code: int, now: float) -> None:
        is_asked = self.state is HostState.STOPPING and return_code == 0
        self._take_end("stopped as asked" if is_asked else describe_exit(return_code), now)

    def _take_silence(self, now: float) -> None:
        """Wait for the exit of a host that closed its connection; kill one that lives on."""
        self._silent_since_s = min(now, self._silent_since_s)
        exit_due_s = self._silent_since_s + _EXIT_GRACE_S
        if now >= exit_due_s:
            self._take_end("killed: it had closed the connection to its manager", now)
        else:
            self.deadline_s = min(self.deadline_s, exit_due_s)

    def _take_end(self, reason: str, now: float) -> None:
        """Take note of a host that ended by itself, and end what it left behind."""
        if self.state is HostState.SETTING_UP and self._setup_failure is None:
            reason = self._in_setup(f"ended its process: {reason}; its log says more")
            if (self._process.returncode or 0) >= 0:  # not killed: another try would end the same
                self._setup_failure = Failure(kind=FailureKind.SETUP_FAILED, message=reason)
        self.kill(reason, now)

    def _in_setup(self, what_happened: str) -> str:
        return (
            f"the set-up of context {self.start.name!r} on node {socket.gethostname()} "
            f"{what_happened}"
        )

    def _last_message(self) -> SetupFailed | HostExited:
        tail = log_tail(self.log_path)
        if self._setup_failure is not None:
            failure = msgspec.structs.replace(self._setup_failure, log_tail=tail)
            return SetupFailed(host_id=self.start.host_id, failure=failure)
        return HostExited(
            host_id=self.start.host_id,
            description=self._reason or "gone",
            log_tail=tail,
            log_path=str(self.log_path),
        )


def _with_memory(message: M, memory: Memory) -> M:
    return msgspec.structs.replace(
        message,
        gpu_memory_bytes=memory.gpu_memory_bytes,
        host_memory_bytes=memory.host_memory_bytes,
    )
