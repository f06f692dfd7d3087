"""Host processes as the system sees them: starting one, its group, its session, its threads."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from parsl_pcm.manager.channel import Channel

SPARE_NICE = 10
"""Added to the niceness of a process that nobody waits for."""
_CAP_SYS_NICE = 23  # capabilities(7)


class Child(Struct, frozen=True, kw_only=True):
    """A host process that was started, our end of its socket, and where its output goes."""

    process: subprocess.Popen[bytes]
    channel: Channel
    log_path: Path


def spawn(environment: Mapping[str, str], log_path: Path) -> Child:
    """Start a host in a session of its own; raises OSError if that cannot be done."""
    ours, theirs = socket.socketpair()
    with theirs, log_path.open("ab") as log:
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "parsl_pcm.host", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
    return Child(process=process, channel=Channel(ours), log_path=log_path)


def signal_group(group: int, signum: int) -> None:
    """Send a signal to all processes of a group, if there are any left."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signum)


def is_group_gone(group: int) -> bool:
    """Whether no process is left in the group; call it only after the leader was reaped."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG)[0]:  # orphans of the host: we are their subreaper
            pass
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return True
    return False


def session_members(session: int) -> frozenset[int]:
    """Return the processes of a session: a host with all that it has started, as a rule."""
    import psutil  # here: it takes 20 ms to import

    return frozenset(pid for pid in psutil.pids() if _session_of(pid) == session)


def pin(pid: int, cores: Iterable[int]) -> None:
    """Keep a process on these cores; raises OSError if the system does not allow them."""
    cores = tuple(cores)
    _for_each_thread(pid, lambda thread: os.sched_setaffinity(thread, cores))


def lower_priority(pid: int) -> None:
    """Let others go first, where :func:`restore_priority` can undo it; else nothing is changed."""
    if can_restore_priority():
        _set_niceness(pid, _own_niceness() + SPARE_NICE)


def restore_priority(pid: int) -> None:
    """Give a process the priority that this one has."""
    if can_restore_priority():
        _set_niceness(pid, _own_niceness())


def can_restore_priority() -> bool:
    """Whether we may lower the niceness of a process to ours again.

    On most clusters an ordinary user may not: niceness only ever grows.
    """
    if sys.platform != "linux":
        return False
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_NICE)
    is_allowed = limit == resource.RLIM_INFINITY or 20 - _own_niceness() <= limit  # getrlimit(2)
    return is_allowed or _has_capability(_CAP_SYS_NICE)


def _own_niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, 0)


def _set_niceness(pid: int, niceness: int) -> None:
    _for_each_thread(pid, lambda thread: os.setpriority(os.PRIO_PROCESS, thread, niceness))


def _has_capability(number: int) -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            return bool(int(value, 16) >> number & 1)
    return False


def _for_each_thread(pid: int, act: Callable[[int], None]) -> None:
    """Act on every thread: the kernel keeps cores and niceness by thread, and new ones inherit."""
    done: set[int] = set()
    while new := _threads(pid) - done:
        for thread in sorted(new):
            with contextlib.suppress(ProcessLookupError):
                act(thread)
        done |= new


def _threads(pid: int) -> set[int]:
    try:
        return set(map(int, os.listdir(f"/proc/{pid}/task")))
    except OSError:
        return {pid}


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:  # gone meanwhile, or none of our business
        return None
