"""What the work time of a run keeps: what was spent, by time, and of the rest what is there now."""

from __future__ import annotations

import enum
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from parsl_pcm.types import DeviceId, HostId, LeaseId, TaskId

MAX_BINS = 2000
"""So many points are more than a picture shows."""
FIRST_BIN_S = 2.0**-6
"""They become twice as long whenever there are too many."""


class State(enum.IntEnum):
    """What a device does; of several hosts on it, what the first of these says counts."""

    WORKING = 0
    LOADING = 1
    IDLE = 2


WORKING, LOADING, IDLE = State


@dataclass(slots=True)
class Spent:
    """Device-seconds by state, and what happened, within some time.

    Attributes
    ----------
    wasted_s
        Of ``working_s``; written down when it shows that it was in vain.
    empty_s
        Time in which a task was open and no device was there.
    num_delivered
        Items whose results were delivered.
    num_preempted
        Nodes that the site took, or that vanished, while they were taking work.
    """

    working_s: float = 0.0
    loading_s: float = 0.0
    idle_s: float = 0.0
    wasted_s: float = 0.0
    empty_s: float = 0.0
    num_delivered: int = 0
    num_preempted: int = 0

    @property
    def device_s(self) -> float:
        """All states together."""
        return self.working_s + self.loading_s + self.idle_s

    def spend(self, duration_s: float, counts: Sequence[int], *, is_empty: bool) -> None:
        """Add what so many devices in each state spend in such a time."""
        num_working, num_loading, num_idle = counts
        self.working_s += num_working * duration_s
        self.loading_s += num_loading * duration_s
        self.idle_s += num_idle * duration_s
        if is_empty:
            self.empty_s += duration_s

    def add(self, other: Spent) -> None:
        """Take another time in."""
        self.working_s += other.working_s
        self.loading_s += other.loading_s
        self.idle_s += other.idle_s
        self.wasted_s += other.wasted_s
        self.empty_s += other.empty_s
        self.num_delivered += other.num_delivered
        self.num_preempted += other.num_preempted


class History:
    """What was spent, by equal bins of time from 0.0 on: never more than ``MAX_BINS``."""

    def __init__(self) -> None:
        self.bin_s = FIRST_BIN_S
        self.bins: list[Spent] = []

    def at(self, now: float) -> Spent:
        """Return the bin of a moment, to be added to."""
        while now >= MAX_BINS * self.bin_s:
            self._halve()
        index = int(now / self.bin_s)
        while len(self.bins) <= index:
            self.bins.append(Spent())
        return self.bins[index]

    def spend(self, start: float, stop: float, counts: Sequence[int], *, is_empty: bool) -> None:
        """Add what so many devices in each state spend between two moments."""
        self.at(stop)
        while start < stop:
            index = int(start / self.bin_s)
            end = min(stop, (index + 1) * self.bin_s)
            self.bins[index].spend(end - start, counts, is_empty=is_empty)
            start = end

    def _halve(self) -> None:
        if len(self.bins) % 2:
            self.bins.append(Spent())
        for first, second in zip(self.bins[::2], self.bins[1::2], strict=True):
            first.add(second)
        self.bins = self.bins[::2]
        self.bin_s *= 2.0


class Ranges:
    """Which items of a task were delivered."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []

    def add(self, start: int, stop: int) -> int:
        """Take a range in; return how many of its items were there already."""
        starts, stops = self._starts, self._stops
        first, last = bisect_left(stops, start), bisect_right(starts, stop)
        if first == last:
            starts.insert(first, start)
            stops.insert(first, stop)
            return 0
        num_twice = 0
        for index in range(first, last):
            num_twice += max(0, min(stop, stops[index]) - max(start, starts[index]))
        starts[first:last] = [min(start, starts[first])]
        stops[first:last] = [max(stop, stops[last - 1])]
        return num_twice


@dataclass(slots=True, eq=False)
class DeviceSeen:
    """A device, or a node that has none."""

    num_working: int = 0
    """Hosts on it that run something."""
    num_loading: int = 0
    state: State = IDLE

    def what_it_does(self) -> State:
        """Return what it does by its hosts now."""
        if self.num_working:
            return WORKING
        return LOADING if self.num_loading else IDLE


@dataclass(slots=True, eq=False)
class NodeSeen:
    """A node, its devices also by their names."""

    devices: list[DeviceSeen]
    by_id: dict[DeviceId, DeviceSeen]
    closed_at: float
    """From then on its end is expected."""
    hosts: dict[HostId, HostSeen] = field(default_factory=dict)

    def devices_of(self, device_ids: Sequence[DeviceId]) -> list[DeviceSeen]:
        """Return those that a host takes; hosts without devices take a node that has none."""
        if device_ids:
            return [self.by_id[device_id] for device_id in device_ids]
        return [] if self.by_id else self.devices


@dataclass(slots=True, eq=False)
class HostSeen:
    """A process that builds and keeps a context."""

    node: NodeSeen
    devices: list[DeviceSeen]
    concurrency: int
    """Pieces that it may run at the same time."""
    is_loading: bool = False
    leases: dict[LeaseId, LeaseSeen] = field(default_factory=dict)
    """In the order in which it runs them."""


@dataclass(slots=True, eq=False)
class LeaseSeen:
    """A piece at a host."""

    host: HostSeen
    task_id: TaskId
    start: int
    stop: int
    since: float | None
    """When it began, or told last of results; None: it waits at the host."""


@dataclass(slots=True, eq=False)
class TaskSeen:
    """A task that is open."""

    num_items: int
    call_items: int
    """In each of them: 1 but for calls that are given several."""
    delivered: Ranges = field(default_factory=Ranges)
