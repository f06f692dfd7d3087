"""The flavours to choose from, and which of them serves what best."""

from __future__ import annotations

from collections.abc import Sequence

from parsl_pcm.provider.flavours import Flavour
from parsl_pcm.provider.growth.demand import BlockRequest, Demand
from parsl_pcm.types import Requirements


class Catalogue:
    """The flavours of a run. Answers are remembered: they never change."""

    def __init__(self, flavours: Sequence[Flavour]) -> None:
        self.flavours = tuple(flavours)
        self.by_name = {flavour.name: flavour for flavour in flavours}
        self._hosts: dict[tuple[str, Requirements], int] = {}
        self._fastest_first = sorted(flavours, key=_fastest_first)
        self._cheapest_first = sorted(flavours, key=_cheapest_first)

    def hosts_per_block(self, flavour: str, needs: Requirements) -> int:
        """Return how many hosts a block of the flavour brings; 0 if it does not serve them."""
        key = (flavour, needs)
        if key not in self._hosts:
            choice = self.by_name[flavour]
            self._hosts[key] = choice.hosts_per_block(needs) if choice.offers(needs) else 0
        return self._hosts[key]

    def best_first(self, needs: Requirements | None) -> list[Flavour]:
        """Return the flavours that serve a context (None: any), the one to prefer first."""
        if needs is None:
            return self._fastest_first
        choice = self._fastest_first if needs.gpus else self._cheapest_first
        return [flavour for flavour in choice if self.hosts_per_block(flavour.name, needs)]

    def strictest_first(self, demands: Sequence[Demand]) -> list[Demand]:
        """Return the demands in order: those that fewer flavours serve come before others."""
        return sorted(demands, key=lambda each: (self._num_serving(each.requirements), each.key))

    def _num_serving(self, needs: Requirements) -> int:
        return len(self.best_first(needs))


def request_for(flavour: Flavour, demand: Demand | None) -> BlockRequest:
    """Return the request for a block of a flavour, for a context or for anybody."""
    if demand is None:
        return BlockRequest(flavour=flavour.name, num_gpus=flavour.gpus_per_block)
    num_gpus = flavour.gpus_for(demand.requirements)
    return BlockRequest(flavour=flavour.name, num_gpus=num_gpus, context=demand.key)


def _fastest_first(flavour: Flavour) -> tuple[float, str]:
    return (-(flavour.speed or 0.0), flavour.name)


def _cheapest_first(flavour: Flavour) -> tuple[int, float, str]:
    """For contexts without GPUs: what others miss least."""
    return (flavour.gpus_per_block, flavour.speed or 0.0, flavour.name)
