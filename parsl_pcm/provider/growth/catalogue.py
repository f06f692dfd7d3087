"""The flavours to choose from, and which of them serves what best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from parsl_pcm.provider.flavours import Flavour
from parsl_pcm.provider.growth.demand import BlockRequest, Demand
from parsl_pcm.types import Requirements


class _Fit(NamedTuple):
    """How a flavour serves a context."""

    num_gpus: int
    """Of a block for it."""
    num_hosts: int
    """Of it that such a block holds."""


class Catalogue:
    """The flavours of a run. Answers are remembered: they never change."""

    def __init__(self, flavours: Sequence[Flavour]) -> None:
        self.flavours = tuple(flavours)
        self.by_name = {flavour.name: flavour for flavour in flavours}
        self._fits: dict[tuple[str, tuple[Requirements, ...]], _Fit | None] = {}
        self._fastest_first = sorted(flavours, key=_fastest_first)
        self._cheapest_first = sorted(flavours, key=_cheapest_first)

    def hosts_per_block(self, flavour: str, demand: Demand) -> int:
        """Return how many hosts a block of the flavour brings; 0 if it does not serve them."""
        fit = self._fit(flavour, demand.ways)
        return 0 if fit is None else fit.num_hosts

    def best_first(self, demand: Demand | None) -> list[Flavour]:
        """Return the flavours that serve a context (None: any), the one to prefer first."""
        if demand is None:
            return self._fastest_first
        choice = self._fastest_first if demand.ways[0].gpus else self._cheapest_first
        return [flavour for flavour in choice if self._fit(flavour.name, demand.ways)]

    def strictest_first(self, demands: Sequence[Demand]) -> list[Demand]:
        """Return the demands in order: those that fewer flavours serve come before others."""
        return sorted(demands, key=lambda each: (len(self.best_first(each)), each.key))

    def request_for(self, flavour: Flavour, demand: Demand | None) -> BlockRequest:
        """Return the request for a block of a flavour that serves a context; None: for anybody."""
        if demand is None:
            return BlockRequest(flavour=flavour.name, num_gpus=flavour.gpus_per_block)
        fit = self._fit(flavour.name, demand.ways)
        assert fit is not None, "only flavours that serve it are asked"
        return BlockRequest(flavour=flavour.name, num_gpus=fit.num_gpus, context=demand.key)

    def _fit(self, name: str, ways: tuple[Requirements, ...]) -> _Fit | None:
        if (name, ways) not in self._fits:
            flavour = self.by_name[name]
            way = flavour.way_for(ways)
            fit = None if way is None else _Fit(flavour.gpus_for(way), flavour.hosts_per_block(way))
            self._fits[name, ways] = fit
        return self._fits[name, ways]


def _fastest_first(flavour: Flavour) -> tuple[float, str]:
    return (-(flavour.speed or 0.0), flavour.name)


def _cheapest_first(flavour: Flavour) -> tuple[int, float, str]:
    """For contexts without GPUs: what others miss least."""
    return (flavour.gpus_per_block, flavour.speed or 0.0, flavour.name)
