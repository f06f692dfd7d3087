"""What the parts of ``map.py`` and ``contexts.py`` take and give."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import common


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
        Of the part ``memory`` of ``map.py``, whatever the scale.
    rep
        Number of this repetition, from 0: what is random differs from one to the next.
    """

    scale: float
    num_items: int = 0
    rep: int = 0

    def scaled(self, count: int) -> int:
        """Return so many items, at this scale."""
        return max(1, int(count * self.scale))


Way = Callable[[Settings], Iterator[Value]]
"""Measures one way of doing the work of a part, once."""


def measured(part: str, ways: Iterable[Way], settings: Settings, num_reps: int) -> Iterator[Value]:
    """Yield what all repetitions of a part measure, one way after the other in each of them."""
    for rep in range(num_reps):
        for way in ways:
            for value in way(replace(settings, rep=rep)):
                rounded = common.rounded(value.value)
                common.progress(f"{part} {rep + 1}: {value.row}: {rounded} {value.unit}")
                yield value


def print_table(values: Iterable[Value]) -> None:
    """Print the medians, each with the least and the most."""
    rows: dict[tuple[str, str], list[float]] = {}
    for value in values:
        rows.setdefault((value.row, value.unit), []).append(value.value)
    print("| | unit | median (min to max) |\n| --- | --- | --- |")
    for (row, unit), numbers in rows.items():
        print(f"| {row} | {unit} | {common.describe(numbers)} |")
    print(flush=True)
