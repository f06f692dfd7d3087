"""The earliest end that is physically possible: what a schedule is to be measured by.

Every device works at its mean speed from the moment at which it could be warm: its node is there,
has read its files as if nobody else read, has unpacked them, and has built the context; until the
node goes. Nobody waits for a message, for a piece to end, or for anybody else, and chance does not
come in (so a run that is lucky may be a little faster).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from parsl_pcm.core.demand import num_hosts_alone
from parsl_pcm.core.records import ContextRecord
from parsl_pcm.core.rooms import whole_room
from parsl_pcm.requirements import parse_memory
from parsl_pcm.simulator.scenario import ContextModel, Scenario
from parsl_pcm.simulator.scenarios import building
from parsl_pcm.simulator.site import gpus
from parsl_pcm.simulator.site.availability import Life, Stay, begins_s, stays
from parsl_pcm.types import ContextKey, NodeResources

SHORTEST_ITEM_S = 1e-12
"""Taken for items that take no time."""


class _Kind(NamedTuple):
    """Nodes that are alike."""

    pool: int
    gpu: str | None


class _Use(NamedTuple):
    """What a node can do for a context."""

    rate: float
    """Items a second of all its devices, at speed 1.0, if it does nothing else."""
    warm_up_s: float
    """From its start until it does that."""


class _Change(NamedTuple):
    """At some time there is more work, or more or less that works."""

    at_s: float
    rate: float = 0.0
    num_nodes: int = 0
    amount: float = 0.0
    is_release: bool = False


def lower_bound(scenario: Scenario, lives: Sequence[Life], seed: int) -> float:
    """Return how long the work takes at least, from its first submission; ``inf``: for ever.

    Exact for one context (and work that can be divided at will). For several it is the largest of
    some bounds, each of which sets a price on the items of every context and lets each device earn
    as much as it could with whichever context pays best on it, warm as soon as any of them could
    be: one context alone, and for each kind of node the prices at which it does all equally well.

    Parameters
    ----------
    lives
        When nodes can be had, of :func:`~parsl_pcm.simulator.site.availability.lives`.
    seed
        Of the same run: nodes wait in the site's queue as they do there. Where the site is elastic,
        which can ask for nodes beforehand, they do not wait at all.
    """
    view = _View(scenario, lives, begins_s(scenario, lives, seed))
    starts_at = min(view.submitted_s.values())
    return max(view.end(prices, seed) for prices in view.price_lists()) - starts_at


def _end(changes: Iterable[_Change], num_releases: int) -> float:
    """Return when all work is done if everybody works on what is there."""
    now = rate = left = 0.0
    num_nodes = 0
    for change in changes:
        done = rate * (change.at_s - now)
        if not num_releases and left <= done:
            break
        left, now = max(0.0, left - done) + change.amount, change.at_s
        num_releases -= change.is_release
        num_nodes += change.num_nodes
        rate = rate + change.rate if num_nodes else 0.0
    if not left:
        return now
    return now + left / rate if rate else math.inf


class _View:
    """A scenario as a matter of rates."""

    def __init__(self, scenario: Scenario, lives: Sequence[Life], begins_s: float) -> None:
        names = {work.context for work in scenario.work}
        self._scenario = scenario
        self._contexts = {each.name: each for each in scenario.contexts if each.name in names}
        kinds = dict.fromkeys(_Kind(life.pool, life.gpu) for life in lives)
        self._uses = {kind: dict(self._uses_of(kind)) for kind in kinds}
        self._lives = [life for life in lives if not life.is_bad and self._can_work(life)]
        self._begins_s = begins_s
        self.submitted_s = {
            name: begins_s + min(work.at_s for work in scenario.work if work.context == name)
            for name in self._contexts
        }
        """When the first work of each context comes: nothing is loaded before."""

    def price_lists(self) -> Iterator[Mapping[str, float]]:
        """Yield prices of an item by context; those that are left out cost nothing."""
        for name in self._contexts:
            yield {name: 1.0}
        if len(self._contexts) > 1:
            for uses in self._uses.values():
                yield {name: 1.0 / use.rate for name, use in uses.items()}

    def end(self, prices: Mapping[str, float], seed: int) -> float:
        """Return when all work is done at the earliest, by what is priced."""
        releases = self._releases(prices)
        changes = heapq.merge(releases, self._presence(prices, seed), key=lambda each: each.at_s)
        return _end(changes, len(releases))

    def _releases(self, prices: Mapping[str, float]) -> list[_Change]:
        """Return when work comes, in order."""
        works = sorted(self._scenario.work, key=lambda work: work.at_s)
        return [
            _Change(
                self._begins_s + work.at_s,
                amount=work.items * work.effort * prices.get(work.context, 0.0),
                is_release=True,
            )
            for work in works
        ]

    def _presence(self, prices: Mapping[str, float], seed: int) -> Iterator[_Change]:
        """Yield when nodes begin and end to work, in order."""
        begun: list[_Change] = []
        for stay in self._stays(seed):
            while begun and begun[0].at_s <= stay.from_s:
                yield heapq.heappop(begun)
            for change in self._work_in(stay, prices):
                heapq.heappush(begun, change)
        while begun:
            yield heapq.heappop(begun)

    def _stays(self, seed: int) -> Iterable[Stay]:
        if self._scenario.site.is_elastic:
            return (Stay(life, life.from_s, life.until_s) for life in self._lives)
        return stays(self._scenario, self._lives, seed)

    def _work_in(self, stay: Stay, prices: Mapping[str, float]) -> Iterator[_Change]:
        """Yield the changes by one node: its GPUs and its cores may do different contexts."""
        uses = self._uses[_Kind(stay.life.pool, stay.life.gpu)]
        for has_gpus in (True, False):
            own = {
                name: use
                for name, use in uses.items()
                if name in prices and bool(self._contexts[name].gpus) is has_gpus
            }
            if not own:
                continue
            warm_s = min(
                max(stay.from_s, self.submitted_s[name]) + use.warm_up_s
                for name, use in own.items()
            )
            if warm_s < stay.until_s:
                rate = stay.life.speed * max(prices[name] * use.rate for name, use in own.items())
                yield _Change(warm_s, rate, 1)
                if stay.until_s < math.inf:
                    yield _Change(stay.until_s, -rate, -1)

    # --- what nodes can do --------------------------------------------------------------------

    def _uses_of(self, kind: _Kind) -> Iterator[tuple[str, _Use]]:
        pool = self._scenario.pools[kind.pool]
        resources = building.resources_of(self._scenario, pool, kind.gpu)
        for name, context in self._contexts.items():
            gpu = kind.gpu if context.gpus else None
            item_s = gpus.item_s(context, building.gpu_model(self._scenario, gpu))
            num_places = self._num_hosts(context, resources) * context.max_concurrency
            if num_places and not math.isnan(item_s):
                warm_up_s = self._staging_s(context) + gpus.ready_s(context, gpu)
                yield name, _Use(num_places / max(item_s, SHORTEST_ITEM_S), warm_up_s)

    def _num_hosts(self, context: ContextModel, resources: NodeResources) -> float:
        """Return how many hosts of a context a node can have at a time.

        Beside other contexts parts of hosts count: what is left over may be of use to those.
        """
        needs = building.requirements_of(context)
        record = ContextRecord(ContextKey(context.name), context.name, needs)
        num_whole = num_hosts_alone(whole_room(resources), record)
        if not num_whole or len(self._contexts) == 1:
            return num_whole
        if not context.gpus:
            return resources.cores / context.cores
        each_bytes = needs.gpu_memory_bytes
        num_on_each = [
            device.memory_bytes / each_bytes if each_bytes else 1.0 for device in resources.devices
        ]
        return sum(num_on_each) / context.gpus

    def _staging_s(self, context: ContextModel) -> float:
        return parse_memory("files", context.files, context.name) / self._bytes_per_s

    @cached_property
    def _bytes_per_s(self) -> float:
        """Of one node that reads alone."""
        site = self._scenario.site
        limits = (site.shared_fs, site.node_network)
        return min((parse_memory("site", each, "") for each in limits if each), default=math.inf)

    def _can_work(self, life: Life) -> bool:
        """Whether anything could ever be warm there: else there may be no end to such nodes."""
        uses = self._uses[_Kind(life.pool, life.gpu)].values()
        walltime_s = self._scenario.pools[life.pool].walltime_s or math.inf
        return any(use.warm_up_s < walltime_s for use in uses)
