"""``python -m parsl_pcm.host FD``: serve the manager at the other end of this socket."""

from __future__ import annotations

import atexit
import faulthandler
import io
import os
import signal
import socket
import sys
from types import FrameType

from parsl_pcm.clock import monotonic_s
from parsl_pcm.host.connection import Connection
from parsl_pcm.host.process import Host


def main() -> None:
    """Run one host until its manager stops it or is gone."""
    started_s = monotonic_s()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # the log shows what a long set-up is at
    faulthandler.enable()  # a segmentation fault leaves its Python traceback in the log
    for signum in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(signum, _leave_it_to_the_manager)
        signal.siginterrupt(signum, False)  # what runs in C must not see its calls interrupted
    connection = Connection(socket.socket(fileno=int(sys.argv[1])))
    Host(connection, started_s=started_s).serve()
    _exit_quickly()


def _exit_quickly() -> None:
    """End without the interpreter's own teardown: with an engine loaded that takes seconds.

    The contexts have been cleaned up; what others registered for the end runs here; the kernel
    takes back the rest.
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


_host_pid = os.getpid()


def _leave_it_to_the_manager(signum: int, _frame: FrameType | None) -> None:
    """Ignore the signal by which a site tells every process of a job that it will end.

    The manager gets it too, and sees to it that what runs here is finished, or done elsewhere.
    Forked children have inherited this handler and end.
    """
    if os.getpid() != _host_pid:
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)


if __name__ == "__main__":
    main()
