"""What is kept of an open task, to send its pieces as often as needed."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate
from typing import NamedTuple

from parsl_pcm.types import ContextKey, Digest
from parsl_pcm.wire.messages import SubmitTask


class Frames(NamedTuple):
    """The payload of a piece."""

    start: int | None
    """Number of the first item in the frames of items; None: an ordinary call."""
    payload: tuple[bytes, ...]
    """The arguments, then the frames of items: as they came, never copied or unpickled."""


class StoredTask:
    """The payload of a task.

    Parameters
    ----------
    message
        How it was submitted.
    payload
        The arguments; of a mapped task the frames of its items behind them.

    Raises
    ------
    ValueError
        If message and payload disagree about the number of frames.
    """

    def __init__(self, message: SubmitTask, payload: tuple[bytes, ...]) -> None:
        sizes = message.frame_sizes
        if len(payload) != 1 + len(sizes):
            raise ValueError(
                f"task {message.task_id} has {len(payload)} frames of {1 + len(sizes)}"
            )
        self.context_key: ContextKey = message.context_key
        self.function: Digest = message.function
        self._payload = payload
        self._bounds = [0, *accumulate(sizes)]
        """First item of each frame, and the number of items."""

    @property
    def num_items(self) -> int:
        """Number of items; 1 for an ordinary call."""
        return self._bounds[-1] or 1

    def frames_of(self, start: int, stop: int) -> Frames:
        """Return what a host needs for the items [start, stop)."""
        if len(self._payload) == 1:
            return Frames(None, self._payload)
        first = bisect_right(self._bounds, start) - 1
        last = bisect_left(self._bounds, stop)
        return Frames(self._bounds[first], (self._payload[0], *self._payload[first + 1 : last + 1]))
