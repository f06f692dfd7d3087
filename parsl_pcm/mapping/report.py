"""What a map tells of itself: errors of items, progress, and a summary at its end."""

from __future__ import annotations

from dataclasses import dataclass

from parsl_pcm.mapping.keys import Key


@dataclass(frozen=True, slots=True)
class ItemError:
    """In the place of the result of an item that could not be done (``on_error="return"``).

    Attributes
    ----------
    index
        Of the item, from 0 on.
    key
        Of the item, if ``key=`` was given; else its index.
    exception
        What the app raised, or why there is no result.
    traceback
        Of the process where it was raised; may be empty.
    """

    index: int
    key: Key
    exception: BaseException
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapSummary:
    """How a map went.

    Attributes
    ----------
    num_items
        That the source gave; ``num_done + num_skipped`` unless the map failed.
    num_done
        That have a result, or an error in its place.
    num_errors
        Those of them that have an error.
    num_skipped
        That an earlier run had done.
    seconds
        From the call of ``pcm_map`` on.
    sink
        Where the results are; None: in memory.
    """

    num_items: int
    num_done: int
    num_errors: int
    num_skipped: int
    seconds: float
    sink: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MapProgress:
    """How far a map is.

    Attributes
    ----------
    num_total
        None: the source does not say.
    num_fed
        Items taken from the source so far.
    num_done, num_errors, num_skipped
        As in :class:`MapSummary`.
    items_per_s
        Over the last half minute; 0: not known yet.
    eta_s
        Seconds to the end at that rate; None: not known.
    waiting_for
        What holds the map up now, for people.
    """

    num_total: int | None
    num_fed: int
    num_done: int
    num_errors: int
    num_skipped: int
    items_per_s: float
    eta_s: float | None
    waiting_for: str


def remaining_s(num_left: int | None, items_per_s: float) -> float | None:
    """Return the seconds that so many items will take; None if that is not known."""
    if num_left is None or (num_left and not items_per_s):
        return None
    return num_left / items_per_s if num_left else 0.0


def name_of(index: int, key: Key | None) -> str:
    """Return what people call an item: "item 17", with its key if it has one."""
    return f"item {index}" if key is None else f"item {index} (key {key!r})"
