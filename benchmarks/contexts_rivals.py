"""What several contexts are compared with: the best fixed assignment, and least recently used."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations_with_replacement, product


@dataclass(frozen=True, kw_only=True)
class Job:
    """The work of one context, all of it there from the beginning."""

    num_items: int
    item_s: Mapping[str, float]
    """By the kind of device; a kind that is missing cannot do it."""
    setup_s: Mapping[str, float]
    """By the kind of device."""


@dataclass(frozen=True)
class Kind:
    """Devices of one kind, each of which holds so many hosts at once."""

    name: str
    num_devices: int
    num_hosts: int


@dataclass(frozen=True)
class Assignment:
    """What the best one comes to."""

    makespan_s: float
    num_loads: int


Tenants = tuple[str, ...]
"""The contexts that a device holds from beginning to end, in the order in which it loads them."""


def best_fixed(jobs: Mapping[str, Job], kinds: Sequence[Kind]) -> Assignment:
    """Try every fixed assignment of contexts to devices; return the fastest, with fewest loads.

    A device loads its contexts one after the other. The items of a context are shared out among
    its hosts as if they were fluid and nothing were lost on the way, so that no real fixed
    assignment is faster.
    """
    return min(
        (
            Assignment(makespan_s(jobs, pool), sum(len(names) for _, names in pool))
            for pool in assignments(list(jobs), kinds)
        ),
        key=lambda found: (found.makespan_s, found.num_loads),
    )


def assignments(names: Sequence[str], kinds: Sequence[Kind]) -> Iterator[list[tuple[str, Tenants]]]:
    """Yield every assignment; devices of one kind are alike, so their order does not matter."""
    per_kind = [
        combinations_with_replacement(tenants(names, kind.num_hosts), kind.num_devices)
        for kind in kinds
    ]
    for chosen in product(*per_kind):
        yield [
            (kind.name, held)
            for kind, devices in zip(kinds, chosen, strict=True)
            for held in devices
        ]


def tenants(names: Sequence[str], num_hosts: int) -> list[Tenants]:
    """Return what one device may hold: the same context twice, too."""
    return [held for count in range(num_hosts + 1) for held in product(names, repeat=count)]


def makespan_s(jobs: Mapping[str, Job], pool: Sequence[tuple[str, Tenants]]) -> float:
    """Return when the last context is done; infinite if one has no host."""
    hosts: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    for kind, held in pool:
        ready_at = 0.0
        for name in held:
            item_s = jobs[name].item_s.get(kind, math.inf)
            ready_at += jobs[name].setup_s.get(kind, 0.0)
            hosts[name].append((ready_at, 1.0 / item_s))
    return max(done_at(job.num_items, hosts[name]) for name, job in jobs.items())


def done_at(num_items: float, hosts: Sequence[tuple[float, float]]) -> float:
    """Return when hosts that are ready at a time, and then do items at a rate, have done all."""
    rate, done, since = 0.0, 0.0, 0.0
    for ready_at, more in sorted(hosts):
        if rate and done + rate * (ready_at - since) >= num_items:
            break
        done += rate * (ready_at - since)
        rate, since = rate + more, ready_at
    return since + (num_items - done) / rate if rate else math.inf


@dataclass
class LeastRecentlyUsed:
    """Workers that take calls in the order in which they came, and keep what they used last.

    That is what a system does that holds contexts in the caches of its workers: a call goes to a
    free worker that holds its context, else to the free worker that was used longest ago, which
    drops what it has and loads. Nobody looks ahead.
    """

    num_workers: int
    setup_s: float
    item_s: float
    num_loads: int = 0
    held: list[str] = field(default_factory=list)
    free_at: list[float] = field(default_factory=list)

    def run(self, calls: Sequence[tuple[float, str]]) -> float:
        """Run calls (time, context) in order; return when the last of them ended."""
        self.held = [""] * self.num_workers
        self.free_at = [0.0] * self.num_workers
        for at, name in calls:
            self._run_one(at, name)
        return max(self.free_at)

    def _run_one(self, at: float, name: str) -> None:
        begins = max(at, min(self.free_at))
        free = [worker for worker, when in enumerate(self.free_at) if when <= begins]
        worker = min(free, key=lambda worker: (self.held[worker] != name, self.free_at[worker]))
        if self.held[worker] != name:
            self.num_loads += 1
            self.held[worker] = name
            begins += self.setup_s
        self.free_at[worker] = begins + self.item_s
