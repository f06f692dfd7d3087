"""How large a piece should be: rules about numbers.

Sizes are powers of two, as the batches of engines are, until the end of a run comes near. A size is
right when a piece lasts about ``TARGET_S``; it may be larger where that makes items cheaper, which
is seen by trying: the next power of two is worth it while items are cheaper by ``MIN_GAIN``.
Towards the end every host gets half of what it could do until all that is open is done, so that
pieces become shorter and all hosts end together; but not where small pieces cost much.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from parsl_pcm.core.speeds import SizeTimes, size_class

TARGET_S = 2.0
"""Long beside a round trip (5 ms), short beside what a preemption costs anyway (a set-up)."""
MAX_S = 30.0
"""Pieces are not longer for the sake of cheaper items, but for one try: a host that dies loses its
piece. (The try may take twice as long. Engines that take as long for a few items as for one are
the reason for it.)"""
MIN_S = 0.02
"""Pieces at the end are not shorter: four round trips."""
MIN_GAIN = 1.025
"""Items in pieces of twice the size must be done so many times as fast. Where each piece has a
fixed cost, that cost is less than 5 % of the time when doubling gains less."""
MAX_GROWTH = 3
"""A piece is at most 2^3 times as large as the largest one that was done on such devices."""
MAX_DECLINE = 2
"""A size is left for one not smaller than a quarter: the time of much smaller ones is a guess."""
TRUSTED_FRAC = 0.25
"""The first piece on a host lasts so much of the target by what similar hosts took."""
NUM_EVEN = 3
"""Pieces that are equal: those before have the size that is wanted, which engines may like best."""
CHEAP_FRAC = 0.8
"""Pieces at the end are not so small that less than this of the best rate would be reached."""


def steady_items(own: SizeTimes | None, of_kind: SizeTimes | None) -> int:
    """Return how many items a piece should have while there is plenty to do.

    Parameters
    ----------
    own
        What is known of the function on the host; None: nothing.
    of_kind
        What is known of it on hosts with the same devices; None: nothing.
    """
    item_s = _value(of_kind) if own is None else _value(own)
    if of_kind is None or item_s is None:
        return 1
    most = of_kind.largest_class + MAX_GROWTH
    if own is None:
        return 1 << min(most, size_class(TRUSTED_FRAC * TARGET_S / item_s))
    lowest = size_class(TARGET_S / item_s)
    if item_s * (1 << own.last_class) <= MAX_S:
        lowest = max(lowest, own.last_class - MAX_DECLINE)
    known = {level: time.run_s / time.num_items for level, time in own.by_class.items()}
    return 1 << min(most, best_class(lowest, known))


def _value(times: SizeTimes | None) -> float | None:
    return None if times is None else times.item.value


def best_class(lowest: int, known: Mapping[int, float]) -> int:
    """Return the size class to use: the lowest, or a larger one if that makes items cheaper.

    One that was not measured is returned in order to be measured, where that may show more.

    Parameters
    ----------
    lowest
        Pieces of this size class last long enough.
    known
        Time of an item by size class, as far as measured.
    """
    present = max((level for level in known if level <= lowest), default=None)
    if present is None:
        return lowest
    for larger in sorted(level for level in known if level > present):
        if not _is_cheaper(known, present, larger):
            return max(present, lowest)
        present = larger
    if present < lowest:
        return lowest
    is_short_enough = known[present] * (1 << present) <= MAX_S
    return present + 1 if is_short_enough else present


def _is_cheaper(known: Mapping[int, float], present: int, larger: int) -> bool:
    is_short_enough = known[larger] * (1 << larger) <= MAX_S
    return is_short_enough and known[present] >= known[larger] * MIN_GAIN ** (larger - present)


def cheap_items(known: Mapping[int, float]) -> int:
    """Return the smallest size measured at which items are done at nearly the best rate."""
    best_s = min(known.values(), default=0.0)
    return 1 << min((n for n, item_s in known.items() if item_s * CHEAP_FRAC <= best_s), default=0)


def final_items(share: float, item_s: float, least: int) -> int:
    """Return how many items a piece may have at most so that all hosts end together.

    Parameters
    ----------
    share
        Items that this place could do until all that is open is done everywhere.
    item_s
        Time of an item.
    least
        Smaller pieces than this are not made for the sake of halving.
    """
    least = max(least, math.ceil(MIN_S / item_s))
    if share >= 2 * least:
        return math.floor(share / 2)
    return max(1, math.ceil(MIN_S / item_s), math.ceil(share))


def even_items(num_left: int, wanted: int) -> int:
    """Return the size of a piece so that the last ones of what is left are equal, not crumbs."""
    if num_left >= NUM_EVEN * wanted:
        return wanted
    return math.ceil(num_left / math.ceil(num_left / wanted))
