"""How large a piece should be: rules about numbers.

Sizes are powers of two, as the batches of engines are, until the end of a run comes near. A size is
right when a piece lasts about ``target_s``: ``TARGET_S``, or longer on a pool so large that its
pieces would else be too many for one interchange. It may be larger where that makes items cheaper,
which is seen by trying: the next power of two is worth it while items are cheaper by ``MIN_GAIN``.
Towards the end every host gets half of what it could do until all that is open is done, so that
pieces become shorter and all hosts end together; but not where small pieces cost much.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from parsl_pcm.core.speeds import SizeTimes, size_class

TARGET_S = 2.0
"""Long beside a round trip (5 ms), short beside what a preemption costs anyway (a set-up)."""
MAX_STARTS_PER_S = 60.0
"""Pieces that a whole pool starts in a second: an interchange does a hundred times as many, so it
has time for all else; its log grows by 2 GB a day. Up to 120 places pieces last ``TARGET_S``."""
LONGEST_TARGET_S = 180.0
"""They are not made longer than this for that: half a piece is lost with a host, a minute and a
half, which is what a preemption costs anyway, to load a model. Reached at 10,800 places."""
MAX_S = 30.0
"""Pieces are not longer for the sake of cheaper items, but for one try: a host that dies loses its
piece. (The try may take twice as long. Engines that take as long for a few items as for one are
the reason for it.)"""
MIN_S = 0.02
"""Pieces at the end are not shorter: four round trips. Longer where all pieces are."""
MIN_GAIN = 1.025
"""Items in pieces of twice the size must be done so many times as fast. Where each piece has a
fixed cost, that cost is less than 5 % of the time when doubling gains less."""
MAX_GROWTH = 3
"""A piece is at most 2^3 times as large as the largest one that was done on such devices."""
NOTICED_S = 0.005
"""Twice as large, if that one took less than this, a round trip: a few thousand items that happen
to be empty would else lead to pieces of a hundred thousand, and the next may take seconds each."""
MAX_DECLINE = 2
"""A size is left for one not smaller than a quarter: the time of much smaller ones is a guess."""
TRUSTED_FRAC = 0.25
"""The first piece on a host lasts so much of the target by what similar hosts took."""
NUM_EVEN = 3
"""Pieces that are equal: those before have the size that is wanted, which engines may like best."""
CHEAP_FRAC = 0.8
"""Pieces at the end are not so small that less than this of the best rate would be reached."""


def target_s(num_places: int) -> float:
    """Return how long pieces should last where so many run at the same time."""
    wanted_s = num_places / MAX_STARTS_PER_S
    return TARGET_S if wanted_s <= TARGET_S else min(LONGEST_TARGET_S, wanted_s)


def steady_items(
    own: SizeTimes | None, of_kind: SizeTimes | None, target_s: float = TARGET_S
) -> int:
    """Return how many items a piece should have while there is plenty to do.

    Parameters
    ----------
    own
        What is known of the function on the host; None: nothing.
    of_kind
        What is known of it on hosts with the same devices; None: nothing.
    target_s
        How long a piece should last.
    """
    known = of_kind if own is None else own
    if of_kind is None or known is None or not known.item.num_items:
        return 1
    item_s, most_s = known.item.run_s / known.item.num_items, max(MAX_S, target_s)
    most = min(_most_by_growth(of_kind), size_class(most_s / known.item.prudent_s))
    if own is None:
        return 1 << min(most, size_class(TRUSTED_FRAC * target_s / item_s))
    lowest = size_class(target_s / item_s)
    if lowest < own.last_class and item_s * (1 << own.last_class) <= most_s:
        lowest = max(lowest, own.last_class - MAX_DECLINE)
    by_class = {level: time.run_s / time.num_items for level, time in own.by_class.items()}
    return 1 << min(most, best_class(lowest, by_class, most_s))


def _most_by_growth(of_kind: SizeTimes) -> int:
    largest = of_kind.largest_class
    time = of_kind.by_class.get(largest)
    if time is not None and time.run_s / time.num_items * (1 << largest) < NOTICED_S:
        return largest + 1
    return largest + MAX_GROWTH


def best_class(lowest: int, known: Mapping[int, float], most_s: float = MAX_S) -> int:
    """Return the size class to use: the lowest, or a larger one if that makes items cheaper.

    One that was not measured is returned in order to be measured, where that may show more.

    Parameters
    ----------
    lowest
        Pieces of this size class last long enough.
    known
        Time of an item by size class, as far as measured.
    most_s
        Pieces that last longer than this are not doubled.
    """
    present = max((level for level in known if level <= lowest), default=None)
    if present is None:
        return lowest
    for larger in sorted(level for level in known if level > present):
        if not _is_cheaper(known, present, larger, most_s):
            return max(present, lowest)
        present = larger
    if present < lowest:
        return lowest
    is_short_enough = known[present] * (1 << present) <= most_s
    return present + 1 if is_short_enough else present


def _is_cheaper(known: Mapping[int, float], present: int, larger: int, most_s: float) -> bool:
    is_short_enough = known[larger] * (1 << larger) <= most_s
    return is_short_enough and known[present] >= known[larger] * MIN_GAIN ** (larger - present)


def cheap_items(known: Mapping[int, float]) -> int:
    """Return about the smallest size at which items are done at nearly the best rate.

    The smallest one measured that is cheap; or a smaller one, larger than those measured to be
    dear, if it would be cheap where each piece has a fixed cost and each item takes as long.
    """
    if not known:
        return 1
    enough_s = min(known.values()) / CHEAP_FRAC
    cheap = min(level for level, item_s in known.items() if item_s <= enough_s)
    dear = max((level for level in known if level < cheap), default=None)
    if dear is None:
        return 1 << cheap
    piece_s = (known[dear] - known[cheap]) / (2.0**-dear - 2.0**-cheap)
    each_s = known[cheap] - piece_s * 2.0**-cheap
    return min(1 << cheap, max((1 << dear) + 1, math.ceil(piece_s / (enough_s - each_s))))


def final_items(share: float, item_s: float, least: int, target_s: float = TARGET_S) -> int:
    """Return how many items a piece may have at most so that all hosts end together.

    Parameters
    ----------
    share
        Items that this place could do until all that is open is done everywhere.
    item_s
        Time of an item.
    least
        Smaller pieces than this are not made for the sake of halving.
    target_s
        How long a piece lasts while there is plenty: the last ones are not shorter than a hundredth
        of it.
    """
    shortest = math.ceil(MIN_S / TARGET_S * target_s / item_s)
    least = max(least, shortest)
    if share >= 2 * least:
        return math.floor(share / 2)
    return max(1, shortest, math.ceil(share))


def even_items(num_left: int, wanted: int) -> int:
    """Return the size of a piece so that the last ones of what is left are equal, not crumbs."""
    if num_left >= NUM_EVEN * wanted:
        return wanted
    return math.ceil(num_left / math.ceil(num_left / wanted))
