"""Segments under way: which items they are, and which of them have come back."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence

from parsl_pcm.mapping.keys import Key


class Segment:
    """Items that were sent together.

    Parameters
    ----------
    indices
        Of its items, rising; with gaps where items were left out.
    keys
        Of its items; None: they have none.
    num_bytes
        Of its frames.

    Attributes
    ----------
    num_left
        Items that nothing was heard of.
    """

    def __init__(self, indices: Sequence[int], keys: Sequence[Key] | None, num_bytes: int) -> None:
        self.indices = compact(indices)
        self.keys = keys
        self.num_bytes = num_bytes
        self.num_left = len(indices)
        self._start_of: dict[int, int] = {}
        """What has come back, as ranges: where each starts, by where it stops."""

    def note(self, start: int, stop: int) -> None:
        """Note that a range of its items has come back."""
        self.num_left -= stop - start
        self._start_of[stop] = self._start_of.pop(start, start)

    def is_done_before(self, index: int) -> bool:
        """Whether all its items with a smaller index than this have come back."""
        num_before = bisect_left(self.indices, index)
        return num_before == sum(
            min(stop, num_before) - start
            for stop, start in self._start_of.items()
            if start < num_before
        )


def compact(indices: Sequence[int]) -> Sequence[int]:
    """Return rising numbers in the least room: a range, if there is no gap."""
    if indices[-1] - indices[0] + 1 == len(indices):
        return range(indices[0], indices[-1] + 1)
    return array("q", indices)
