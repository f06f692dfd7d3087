"""What was measured of the time of items: per host, per kind of device, and by size of the piece.

All means are weighted by items and fade with the time that was measured, so they follow hosts that
become slower or faster within a piece or two, whether results are reported piece by piece or item
by item. Times of pieces of different functions are kept apart where sizes are concerned: what one
function takes says nothing about another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from parsl_pcm.core.inflight import FIRST_PLACES, observe

if TYPE_CHECKING:
    from parsl_pcm.core.records import HostRecord, LeaseRecord

HALF_LIFE_S = 2.0
"""Of a measurement, in measured time: as long as a piece lasts."""
MIN_ITEMS = 8.0
"""So many items are remembered however long they took: single ones differ much."""
SMOOTHING = 0.2
"""Weight of the newest measurement in a running mean: about the last ten count."""
LEAST_ITEM_S = 1e-9
"""Shorter than any call: so nothing is divided by zero where a clock did not move."""


@dataclass(slots=True, eq=False)
class RunningMean:
    """A mean in which old measurements fade; None until the first."""

    value: float | None = None

    def add(self, measured: float) -> None:
        """Take a measurement in."""
        if self.value is None:
            self.value = measured
        else:
            self.value += SMOOTHING * (measured - self.value)


@dataclass(slots=True, eq=False)
class ItemTime:
    """How long an item takes, by what was measured last."""

    num_items: float = 0.0
    """Items that count, older ones in part."""
    run_s: float = 0.0
    square_s: float = 0.0
    """Sum of the time of each measurement, times that of one of its items."""
    is_of_warm_up: bool = False
    """Whether all that is known is how long the first items of a host took."""

    @property
    def prudent_s(self) -> float:
        """Seconds of an item where the time goes: items that take none do not make it less.

        The mean weighted by time; to be asked when something was measured. That of items alike is
        their mean. Of a thousand empty ones after a few of a second it is a second: the next ones
        may take as long again.
        """
        return self.square_s / self.run_s

    @property
    def value(self) -> float | None:
        """Seconds an item takes; None: not measured."""
        return self.run_s / self.num_items if self.num_items else None

    def add(self, num_items: int, run_s: float, *, is_warm_up: bool = False) -> None:
        """Take in that so many items took so long.

        The first report of a host counts only until there is another: libraries compile, allocate
        and load in the first call.
        """
        before = self.num_items
        if is_warm_up or self.is_of_warm_up:
            if before and is_warm_up and not self.is_of_warm_up:
                return
            if not is_warm_up:
                before = self.run_s = self.square_s = 0.0
            self.is_of_warm_up = is_warm_up
        if before > MIN_ITEMS:
            kept = max(MIN_ITEMS / before, 2.0 ** (-run_s / HALF_LIFE_S))
            before *= kept
            self.run_s *= kept
            self.square_s *= kept
        run_s = run_s or num_items * LEAST_ITEM_S
        self.num_items = before + num_items
        self.run_s += run_s
        self.square_s += run_s * run_s / num_items


def size_class(num_items: float) -> int:
    """Return the power of two nearest to a size, as an exponent; 0 for less than one item."""
    return round(math.log2(num_items)) if num_items > 1 else 0


@dataclass(slots=True, eq=False)
class SizeTimes:
    """Times of the items of one function, on one host or on all hosts of a kind."""

    item: ItemTime = field(default_factory=ItemTime)
    by_class: dict[int, ItemTime] = field(default_factory=dict)
    """By the size class of whole pieces."""
    last_class: int = 0
    """Of the last piece that ended."""
    largest_class: int = 0
    """Of the largest piece that ended."""

    def add_piece(self, num_items: int, run_s: float) -> None:
        """Take in a piece that was done as a whole."""
        level = self.last_class = size_class(num_items)
        if level > self.largest_class:
            self.largest_class = level
        time = self.by_class.get(level)
        if time is None:
            time = self.by_class[level] = ItemTime()
        time.add(num_items, run_s)


def learn(lease: LeaseRecord, num_items: int, run_s: float, now: float) -> None:
    """Take in that a host has done the next items of a lease; before the lease is advanced."""
    host = lease.host
    host.context.service_s.add(run_s / num_items)
    is_first = not host.item_time.num_items
    host.item_time.add(num_items, run_s, is_warm_up=is_first)
    if host.num_places >= FIRST_PLACES:
        is_end = lease.next_item + num_items == lease.piece.stop
        observe(host, num_items, now, is_end=is_end)
    of_kind = host.context.item_times.get(host.device_kind)
    if of_kind is None:
        of_kind = host.context.item_times[host.device_kind] = ItemTime()
    of_kind.add(num_items, run_s, is_warm_up=is_first)
    if lease.piece.task.is_mapped:
        count_rate(host)
        _learn_sizes(lease, num_items, run_s)


def _learn_sizes(lease: LeaseRecord, num_items: int, run_s: float) -> None:
    """Judge what a size is worth when the whole piece is done, in however many reports."""
    host, function = lease.host, lease.piece.task.function_key
    own, shared = sizes_of(host, function), sizes_of_kind(host, function)
    if shared is None:
        shared = host.context.size_times[function, host.device_kind] = SizeTimes()
    if own is None:
        own = host.size_times[function] = SizeTimes()
    is_first = not own.item.num_items
    own.item.add(num_items, run_s, is_warm_up=is_first)
    shared.item.add(num_items, run_s, is_warm_up=is_first)
    lease.num_reported += num_items
    lease.run_s += run_s
    if lease.next_item + num_items == lease.piece.stop:
        own.add_piece(lease.num_reported, lease.run_s)
        shared.add_piece(lease.num_reported, lease.run_s)


def item_s(host: HostRecord) -> float | None:
    """Return how long an item takes on a host; None: nothing is known.

    By what was measured there, else on hosts with the same devices, or anywhere.
    """
    own = host.item_time
    if own.num_items:
        return own.run_s / own.num_items
    of_kind = host.context.item_times.get(host.device_kind)
    return host.context.service_s.value if of_kind is None else of_kind.value


def sizes_of(host: HostRecord, function: str) -> SizeTimes | None:
    """Return what is known of a function on a host, by pieces that it ran; None: nothing."""
    return host.size_times.get(function)


def sizes_of_kind(host: HostRecord, function: str) -> SizeTimes | None:
    """Return what is known of a function on hosts with the same devices; None: nothing."""
    return host.context.size_times.get((function, host.device_kind))


def count_rate(host: HostRecord) -> None:
    """Count what a host does a second in its context's sum, if the context counts the host."""
    context, time = host.context, host.item_time
    if not time.num_items or host.host_id not in context.hosts:
        return
    rate = host.num_places * time.num_items / time.run_s
    context.num_rated += not host.rate
    context.total_rate += rate - host.rate
    host.rate = rate


def discount_rate(host: HostRecord) -> None:
    """Count what a host does a second no more."""
    if host.rate:
        context = host.context
        context.num_rated -= 1
        context.total_rate = context.total_rate - host.rate if context.num_rated else 0.0
        host.rate = 0.0


def pool_rate(host: HostRecord, host_rate: float) -> float:
    """Return how many items a second all hosts of a host's context do, those coming included.

    Those not measured yet count as the mean of the others, or as this one.
    """
    context = host.context
    mean_rate = context.total_rate / context.num_rated if context.num_rated else host_rate
    return context.total_rate + max(0, context.num_hosts - context.num_rated) * mean_rate
