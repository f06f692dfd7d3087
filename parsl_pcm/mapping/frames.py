"""Items become frames: pickled lists of about the same size, each pickled once.

A frame is the least that crosses to a host: small enough that a piece of few items drags little
along, large enough that pickling it costs next to nothing an item.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from parsl_pcm.pickling import dump_items

FRAME_BYTES = 32 << 10
"""Wanted. A call of cloudpickle costs 10 us: under 1 % of what reading so much out of it costs."""
FRAME_ITEMS = 1024
"""At most: what is sent for a piece of one item must stay cheap to unpickle."""
TOLERATED_BYTES = 4 * FRAME_BYTES
"""A larger frame of several items is cut again: the items grew faster than was foreseen."""
GROWTH = 8
"""Items are taken for no smaller than a frame showed, but for so many times as many at most."""


class Frame(NamedTuple):
    """So many items in a row, pickled; or one that cannot be, with the reason."""

    num_items: int
    blob: bytes
    error: Exception | None = None


class FrameCutter:
    """Cuts frames, and learns from each how many items make a good one.

    Attributes
    ----------
    num_wanted
        Items to give to :meth:`cut` next.
    """

    def __init__(self) -> None:
        self.num_wanted = 1  # nothing is known: it may be an image

    def cut(self, items: Sequence[Any]) -> Iterator[Frame]:
        """Yield these items as frames, in order; nearly always as one."""
        try:
            blob = dump_items(items)
        except Exception as error:  # noqa: BLE001 - whatever pickling code raises; told with the item
            if len(items) == 1:
                yield Frame(1, b"", error)
                return
        else:
            self._learn(len(items), len(blob))
            if len(items) == 1 or len(blob) <= TOLERATED_BYTES:
                yield Frame(len(items), blob)
                return
        half = len(items) // 2
        yield from self.cut(items[:half])
        yield from self.cut(items[half:])

    def _learn(self, num_items: int, num_bytes: int) -> None:
        fitting = FRAME_BYTES * num_items // num_bytes
        self.num_wanted = max(1, min(fitting, num_items * GROWTH, FRAME_ITEMS))
