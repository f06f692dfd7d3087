"""One context on nodes with a host each, in virtual time."""

from __future__ import annotations

import math

from parsl_pcm.core.policy import Policy
from parsl_pcm.simulator.engine.parts import Model, Node, PieceTime, Way, each
from parsl_pcm.simulator.engine.pool import VirtualPool
from parsl_pcm.types import Requirements
from tests.fakes import cpu_node

CONTEXT = "c"


def slot(
    piece_time: PieceTime, setup_s: float = 0.0, joins_at: float = 0.0, is_yielding: bool = False
) -> Node:
    """Return a node with room for one host, where pieces take so long."""
    return Node(
        cpu_node(),
        joins_at=joins_at,
        piece_time=piece_time,
        setup_s=setup_s,
        is_yielding=is_yielding,
    )


class Bench(VirtualPool):
    """A run of one context on nodes with a host each."""

    def __init__(
        self, nodes: list[Node], policy: Policy | None = None, max_concurrency: int = 1
    ) -> None:
        needs = Requirements(cores=1.0, max_concurrency=max_concurrency)
        way = Way(requirements=needs, piece_time=each(1.0))
        super().__init__(nodes, [Model(CONTEXT, (way,))], policy=policy, is_recording=True)

    def map(self, num_items: int, segment_items: int | None = None) -> float:
        """Run a map that comes in segments; return how long it took."""
        began_at = self.now
        self.submit_map(CONTEXT, num_items, at=began_at, segment_items=segment_items)
        return self.run() - began_at

    def call(self, num_calls: int) -> float:
        """Run ordinary calls; return how long they took."""
        began_at = self.now
        self.submit_calls(CONTEXT, num_calls, at=began_at)
        return self.run() - began_at


def ideal_s(num_items: int, *item_s: float) -> float:
    """Return how long these hosts take if they are busy from the beginning to a common end."""
    return num_items / math.fsum(1.0 / seconds for seconds in item_s)
