"""What the open work still needs, and which of the blocks on their way it needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from parsl_pcm.provider.growth.block import Block
from parsl_pcm.provider.growth.catalogue import Catalogue
from parsl_pcm.provider.growth.demand import Demand


class Needs:
    """Hosts that contexts lack, reckoned against the blocks that will bring some.

    Parameters
    ----------
    demands
        Contexts with or without open work.
    """

    def __init__(self, catalogue: Catalogue, demands: Sequence[Demand]) -> None:
        self._catalogue = catalogue
        self.demands = [d for d in catalogue.strictest_first(demands) if d.num_wanted > 0]
        """With open work, those first that fewer flavours serve."""
        self._by_key = {demand.key: demand for demand in self.demands}
        self._num_missing = {d.key: max(d.num_wanted - d.num_hosts, 0) for d in self.demands}

    def num_missing(self, demand: Demand) -> int:
        """Return how many hosts a context lacks still."""
        return self._num_missing[demand.key]

    @property
    def lacking(self) -> list[Demand]:
        """The contexts that lack hosts still."""
        return [demand for demand in self.demands if self._num_missing[demand.key]]

    def supply(self, blocks: Iterable[Block], now: float) -> set[str]:
        """Take into account what blocks will bring; return the ids of those that are needed.

        A block is for the context that it was asked for if that one still lacks hosts, else for
        the first that it serves.
        """
        needed: set[str] = set()
        others = []
        for block in _surest_first(blocks, now):
            if block.context in self._num_missing and self._give(block, str(block.context)):
                needed.add(block.job_id)
            else:
                others.append(block)
        for block in others:
            if any(self._give(block, demand.key) for demand in self.lacking):
                needed.add(block.job_id)
        return needed

    def _give(self, block: Block, key: str) -> bool:
        """Let the hosts that a block brings go to a context; return whether it needs them."""
        demand = self._by_key[key]
        num_hosts = self._catalogue.hosts_per_block(block.flavour, demand)
        if not num_hosts or not self._num_missing[key]:
            return False
        self.get(demand, num_hosts)
        return True

    def get(self, demand: Demand, num_hosts: int) -> None:
        """Count hosts that a context will get."""
        self._num_missing[demand.key] = max(self._num_missing[demand.key] - num_hosts, 0)


def _surest_first(blocks: Iterable[Block], now: float) -> list[Block]:
    """Return the blocks in order: running ones first, those last that wait for long already."""
    return sorted(
        blocks,
        key=lambda each: (
            each.running_since_s is None,
            each.is_stuck(now),
            each.submitted_s,
            each.job_id,
        ),
    )
