"""Signals as something that a poll loop can wait for."""

from __future__ import annotations

import signal
import socket
from types import FrameType


class Wakeup:
    """Makes its descriptor readable when one of the signals arrives. One a process."""

    def __init__(self, *signals: signal.Signals) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for signum in signals:
            signal.signal(signum, _leave_it_to_the_loop)

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._reader.fileno()

    def take(self) -> set[int]:
        """Return the signals that have arrived since the last call."""
        try:
            return set(self._reader.recv(4096))
        except BlockingIOError:
            return set()


def _leave_it_to_the_loop(_signum: int, _frame: FrameType | None) -> None:
    """Do nothing: Python writes the signal to the wakeup descriptor only if there is a handler."""
