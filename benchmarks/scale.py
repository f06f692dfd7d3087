"""A day of a very large pool in virtual time: how long it takes on one core, and what it is worth.

::

    python benchmarks/scale.py --only day         10,000 GPUs, 10^8 items, 24 hours; some minutes
    python benchmarks/scale.py --only decisions   the cost of a decision on 10 to 10,000 GPUs
    python benchmarks/scale.py --quick            both, with a fiftieth of the work

The scheduler is the real one and the pool below it is played in virtual time
(:mod:`parsl_pcm.simulator.engine.pool`), all on one core. Two kinds of GPU share the work. Each is
a node of its own, which is lost without notice after six hours on average, and comes back ten
minutes later to load the context again. All items are there from the beginning, in segments as
``pcm_map`` sends them: a live map sends the later ones when earlier ones are done.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import common

from parsl_pcm.core.actions import Action
from parsl_pcm.core.events import Event
from parsl_pcm.core.scheduler import Scheduler
from parsl_pcm.core.sizing import target_s
from parsl_pcm.simulator.engine.parts import GB, Model, Node, Way, gamma_each, gpus
from parsl_pcm.simulator.engine.pool import VirtualPool
from parsl_pcm.types import ContextKey, Requirements

NUM_NODES, NUM_ITEMS, DAY_S = 10_000, 10**8, 86_400.0
SEGMENT_ITEMS = 1 << 16
SPEEDS = {"A10": 1.0, "TITAN X (Pascal)": 0.2706 / 0.364}
"""Beside an A10, by the seconds an inference took on each (arXiv 2509.13201)."""
ITEM_CV = 0.4
LOAD_S = 90.0
STAY_S, AWAY_S, FIRST_JOINS_S = 6 * 3600.0, 600.0, 300.0
"""Means of how long a GPU stays, and is away; the first ones join within so long."""
NAME = "model"
PIECES = 200_000
"""About so many in each row of the table of decisions."""
PIECE_ITEMS = 16
"""In each of them."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run."""

    num_nodes: int
    num_items: int
    num_pieces: int
    num_events: int
    num_losses: int
    cpu_s: float
    makespan_s: float
    bound_s: float
    """When all could be done if every GPU worked from the moment at which it could be warm."""


class Stopwatch:
    """Measures the calls of a scheduler from then on."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.num_calls = 0
        self.total_s = 0.0
        self._handle = scheduler.handle
        scheduler.handle = self._timed  # type: ignore[method-assign]

    def _timed(self, event: Event, now: float) -> list[Action]:
        began_s = time.process_time()
        decided = self._handle(event, now)
        self.total_s += time.process_time() - began_s
        self.num_calls += 1
        return decided

    @property
    def mean_us(self) -> float:
        """Of one call, with what the measurement takes (about 0.5)."""
        return self.total_s / self.num_calls * 1e6


def nodes_of_a_day(num_nodes: int, until_s: float, random: Random) -> Iterator[Node]:
    """Yield each stay of each GPU as a node."""
    kinds = list(SPEEDS.items())
    resources = {kind: gpus(24 * GB, kind=kind) for kind in SPEEDS}
    for index in range(num_nodes):
        kind, speed = kinds[index % len(kinds)]
        joins_at = random.uniform(0.0, FIRST_JOINS_S)
        while joins_at < until_s:
            leaves_at = joins_at + random.expovariate(1 / STAY_S)
            yield Node(resources[kind], joins_at=joins_at, leaves_at=leaves_at, speed=speed)
            joins_at = leaves_at + random.expovariate(1 / AWAY_S)


def capacity_s(nodes: list[Node], until_s: float) -> float:
    """Return how long an A10 would take for what all could do until then, had they loaded."""
    return sum(
        node.speed * max(0.0, min(node.leaves_at, until_s) - node.joins_at - LOAD_S)
        for node in nodes
    )


def new_pool(num_nodes: int, num_items: int, bound_s: float) -> VirtualPool:
    """Return a pool that could just do so many items until then, and that is to do them."""
    random = Random(1)
    nodes = list(nodes_of_a_day(num_nodes, 2 * bound_s, random))
    item_s = capacity_s(nodes, bound_s) / num_items
    way = Way(
        requirements=Requirements(gpus=1, cores=1.0),
        piece_time=gamma_each(item_s, ITEM_CV, 0.0, random),
        setup_s=LOAD_S,
    )
    pool = VirtualPool(nodes, [Model(NAME, (way,))])
    pool.submit_map(NAME, num_items, segment_items=SEGMENT_ITEMS)
    return pool


def day(num_nodes: int, num_items: int, bound_s: float) -> Measured:
    """Run so many items, which take so long that the pool could just do them until then."""
    gc.collect()
    began_s = time.process_time()
    pool = new_pool(num_nodes, num_items, bound_s)
    gc.freeze()  # no need to look through all of this again and again
    makespan_s = pool.run()
    cpu_s = time.process_time() - began_s
    tally = pool.tallies[NAME]
    assert tally.num_items == num_items, "an item was lost or delivered twice"
    context = pool.scheduler.cluster.contexts[ContextKey(NAME)]
    return Measured(
        num_nodes=num_nodes,
        num_items=num_items,
        num_pieces=context.num_hits,
        num_events=pool.num_events,
        num_losses=tally.num_loads - len(context.hosts),
        cpu_s=cpu_s,
        makespan_s=makespan_s,
        bound_s=bound_s,
    )


def report_day(scale: float) -> Iterator[str]:
    """Yield the table of a day."""
    row = day(NUM_NODES, int(NUM_ITEMS * scale), DAY_S * scale)
    yield "| | |"
    yield "| --- | --- |"
    yield f"| GPUs | {row.num_nodes:,} |"
    yield f"| items, each delivered once | {row.num_items:,} |"
    yield f"| simulated hours | {row.makespan_s / 3600:.2f} |"
    yield f"| the same, times the least possible | {row.makespan_s / row.bound_s:.4f} |"
    yield f"| warm GPUs lost without notice | {row.num_losses:,} |"
    yield f"| pieces | {row.num_pieces:,} |"
    yield f"| pieces a simulated second | {row.num_pieces / row.makespan_s:.0f} |"
    yield f"| events | {row.num_events:,} |"
    yield f"| CPU time, one process | {row.cpu_s:.0f} s |"
    yield f"| the same, an event | {row.cpu_s / row.num_events * 1e6:.1f} us |"


def report_decisions(scale: float) -> Iterator[str]:
    """Yield the table of what a decision takes."""
    yield "| GPUs | events | us a decision | with the nodes | makespan over the least possible |"
    yield "| --- | --- | --- | --- | --- |"
    for num_nodes in (10, 100, 1_000, 10_000):
        # Pieces of 16 items, as many in all on each pool: a small one runs for a longer time.
        num_items = int(PIECE_ITEMS * PIECES * scale)
        bound_s = num_items * target_s(num_nodes) / PIECE_ITEMS / num_nodes
        pool = new_pool(num_nodes, num_items, bound_s)
        watch = Stopwatch(pool.scheduler)
        began_s = time.process_time()
        makespan_s = pool.run()
        whole_us = (time.process_time() - began_s) / watch.num_calls * 1e6
        yield (
            f"| {num_nodes:,} | {watch.num_calls:,} | {watch.mean_us:.1f} | {whole_us:.1f} "
            f"| {makespan_s / bound_s:.3f} |"
        )


PARTS = {"day": report_day, "decisions": report_decisions}


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description="A day of a very large pool in virtual time.")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="a fiftieth of the work")
    args = parser.parse_args()
    print(f"{common.machine()}\n")
    for part in args.only:
        for line in PARTS[part](0.02 if args.quick else 1.0):
            print(line, flush=True)
        print()


if __name__ == "__main__":
    main()
