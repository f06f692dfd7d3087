"""How a process ended, for a person; and the last lines that it wrote."""

from __future__ import annotations

import signal
from pathlib import Path

_TAIL_LINES = 40
_TAIL_BYTES = 8192

_USUAL_CAUSES = {
    signal.SIGKILL: "killed by SIGKILL (often: out of memory)",
    signal.SIGSEGV: "segmentation fault (SIGSEGV)",
    signal.SIGABRT: "aborted (SIGABRT): a library gave up, its reason is in the log",
    signal.SIGBUS: "bus error (SIGBUS), often: /dev/shm or a disk is full",
    signal.SIGILL: "illegal instruction (SIGILL): a library was built for another kind of CPU",
    signal.SIGFPE: "arithmetic error (SIGFPE)",
}


def describe_exit(return_code: int) -> str:
    """Describe the return code of a process as :mod:`subprocess` gives it: below 0 for signals."""
    if return_code >= 0:
        return f"exited with code {return_code}"
    try:
        name = signal.Signals(-return_code)
    except ValueError:
        return f"killed by signal {-return_code}"
    return _USUAL_CAUSES.get(name, f"killed by {name.name}")


def log_tail(path: Path) -> str:
    """Return the last lines of a log file; empty if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-_TAIL_LINES:])
