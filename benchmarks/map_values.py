"""What the parts of ``map.py`` take and give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Value:
    """One measured number."""

    row: str
    unit: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How much is measured.

    Attributes
    ----------
    scale
        1: what the documentation shows; 0.1: a tenth of the items.
    num_items
        Of the part ``memory``, whatever the scale.
    rep
        Number of this repetition, from 0: what is random differs from one to the next.
    """

    scale: float
    num_items: int
    rep: int

    def scaled(self, count: int) -> int:
        """Return so many items, at this scale."""
        return max(1, int(count * self.scale))


Way = Callable[[Settings], Iterator[Value]]
"""Measures one way of doing the work of a part, once."""
