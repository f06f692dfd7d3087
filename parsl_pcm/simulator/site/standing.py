"""Nodes of a site that is not elastic: every one that can be had is taken, and kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import count

from parsl_pcm.simulator.engine.pool import VirtualPool
from parsl_pcm.simulator.scenario import Scenario
from parsl_pcm.simulator.scenarios import building
from parsl_pcm.simulator.site.availability import Life, queue_waits
from parsl_pcm.types import ManagerId

SHORTEST_WAIT_S = 1.0
"""From the end of a manager to the start of the next one on its node: a batch system's turn."""


class StandingNodes:
    """Lets nodes join a pool when they can be had, and again after each walltime.

    Once made, it plans all by itself; the pool's hook ``on_gone`` is taken.

    Parameters
    ----------
    all_lives
        When which nodes can be had.
    seed
        Of their waits in the queue.
    """

    def __init__(
        self, pool: VirtualPool, scenario: Scenario, all_lives: Sequence[Life], seed: int
    ) -> None:
        self._pool = pool
        self._scenario = scenario
        self._numbers = count()
        self._lives: dict[ManagerId, tuple[Life, Iterator[float]]] = {}
        """Of the managers that are there, with the waits to come."""
        self._seed = seed
        pool.on_gone = self._went
        for life in all_lives:
            pool.at(life.from_s, partial(self._begin, life))

    def _begin(self, life: Life) -> None:
        waits = queue_waits(self._scenario, life, self._seed)
        self._plan(life, waits, self._pool.now + next(waits))

    def _plan(self, life: Life, waits: Iterator[float], when: float) -> None:
        """Plan that a node joins, unless the site will have said by then that it takes it."""
        notice_s = self._scenario.pools[life.pool].notice_s or 0.0
        if when < life.until_s - (0.0 if life.fails else notice_s):
            self._pool.at(when, partial(self._join, life, waits))

    def _join(self, life: Life, waits: Iterator[float]) -> None:
        node = replace(building.node_of(self._scenario, life), joins_at=self._pool.now)
        manager_id = ManagerId(f"node-{next(self._numbers)}")
        self._lives[manager_id] = (life, waits)
        self._pool.add_node(node, manager_id)

    def _went(self, manager_id: ManagerId) -> None:
        life, waits = self._lives.pop(manager_id)
        self._plan(life, waits, self._pool.now + max(SHORTEST_WAIT_S, next(waits)))
