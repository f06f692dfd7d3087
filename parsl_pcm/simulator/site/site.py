"""An elastic site in virtual time: nodes are asked for and given back as in a live run.

What is decided, the provider's own :class:`~parsl_pcm.provider.growth.growth.Growth` decides, told
of the scheduler's own demand. Only what surrounds them is a model: the batch system
(``batch.py``), and the turns that ``elasticity.py`` takes live. A look at the site takes no time
here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any

from parsl_pcm.core.demand import describe_demand
from parsl_pcm.provider.flavours import GB, Flavour
from parsl_pcm.provider.growth.block import Block
from parsl_pcm.provider.growth.demand import (
    LOOK_EVERY_S,
    MIN_TURN_S,
    BlockRequest,
    Limits,
    demand_of,
    use_of,
)
from parsl_pcm.provider.growth.growth import Growth
from parsl_pcm.simulator.engine.pool import VirtualPool
from parsl_pcm.simulator.scenario import Pool, Scenario
from parsl_pcm.simulator.scenarios import building
from parsl_pcm.simulator.site.availability import Life
from parsl_pcm.simulator.site.batch import BatchSystem, Partition
from parsl_pcm.types import BlockId, ManagerId

KILL_WAIT_S = 30.0
"""From the cancelling of a job to its end at the latest (Slurm's KillWait, by default)."""
BLOCKS_PER_S = 200
"""With more blocks than so many, looks are rarer than live: between two, at least a second goes by
for each so many. A look takes 16 to 25 us for each block (measured with 1,000 to 10,000), so that
looks take some 5 ms of each second of virtual time, however many blocks there are."""


class VirtualSite:
    """Grows and shrinks a pool in virtual time. Once made, it plans all by itself.

    Parameters
    ----------
    pool
        Nodes come to it and go; its hooks ``on_work`` and ``on_gone`` are taken.
    scenario
        Its pools and its site.
    lives
        When which nodes can be had, sorted by ``from_s``.
    random
        Draws how long jobs wait, and which nodes they get.
    """

    def __init__(
        self, pool: VirtualPool, scenario: Scenario, lives: Iterable[Life], random: Random
    ) -> None:
        self._pool = pool
        self._scenario = scenario
        flavours = []
        self._partitions: dict[tuple[int, str | None], Partition] = {}
        for number, spec in enumerate(scenario.pools):
            for gpu in building.gpus_of(spec):
                flavour = _flavour(f"{number}-{gpu or 'cpu'}", scenario, spec, gpu)
                flavours.append(flavour)
                partition = Partition(flavour.name, flavour.gpus_per_block, spec)
                self._partitions[number, gpu] = partition
        self._by_name = {each.name: each for each in self._partitions.values()}
        limits = Limits(max_blocks=scenario.site.max_nodes)
        self.growth = Growth(flavours, limits, keep_warm_s=scenario.site.keep_warm_s)
        self.growth.saw_demand([], [], pool.now)
        self.batch = BatchSystem(
            lives, self._partition_of, time=pool.time, random=random, start=self._start
        )
        self._manager_of: dict[str, ManagerId] = {}
        """Of the jobs that run."""
        self.held: dict[ManagerId, tuple[str, Life]] = {}
        """Job and node of the managers that are there."""
        self._gone: list[ManagerId] = []
        """Managers whose nodes are gone, since the last look."""
        self._turn_at = math.inf
        """When the next turn is; ``inf``: when work comes."""
        self._last_turn_s = -math.inf
        pool.on_work = self._work_came
        pool.on_gone = self._manager_went

    # --- turns --------------------------------------------------------------------------------

    def _work_came(self) -> None:
        """Have a look soon, unless the next one is planned anyway."""
        if self._turn_at == math.inf:
            self._plan(self._pool.now)

    def _plan(self, when: float) -> None:
        """Have a look then, or at once after the shortest time between two."""
        when = max(when, self._last_turn_s + max(MIN_TURN_S, self._least_rest_s))
        if when < self._turn_at:
            self._turn_at = when
            self._pool.time.at(when, partial(self._turn_if_due, when))

    @property
    def _least_rest_s(self) -> float:
        return len(self.growth.blocks) / BLOCKS_PER_S

    def _turn_if_due(self, when: float) -> None:
        if when != self._turn_at:  # another one came before it
            return
        self._turn_at = math.inf
        self._last_turn_s = when
        if self._turn(when):
            self._plan(when + LOOK_EVERY_S)

    def _turn(self, now: float) -> bool:
        """Do what is due; return whether another look is wanted without being called."""
        answer = self._ask_demand(now)
        is_needed = any(row["num_wanted"] for row in answer["contexts"])
        if not is_needed and not self.growth.blocks:
            return False
        if self._look(now):
            answer = self._ask_demand(now)
        self._tell_demand(answer, now)
        for job_id in self.growth.to_give_back(now):
            self._give_back(job_id, now)
        for request in self.growth.wanted(now):
            self._submit(request, now)
        return bool(self.growth.blocks) or not self.batch.is_over

    def _ask_demand(self, now: float) -> dict[str, Any]:
        scheduler = self._pool.scheduler
        return describe_demand(scheduler.cluster, scheduler.policy, now)

    def _tell_demand(self, answer: Mapping[str, Any], now: float) -> None:
        demands = [demand_of(row) for row in answer["contexts"]]
        uses = [use_of(row["block_id"], row) for row in answer["blocks"]]
        self.growth.saw_demand(demands, uses, now)

    def _look(self, now: float) -> bool:
        """Look at the site; return whether the scheduler was told of something."""
        for partition in self._by_name.values():
            if partition.num_gpus:
                num_idle = partition.num_free * partition.num_gpus
                self.growth.saw_idle(partition.name, num_idle, now)
        asked = [each.job_id for each in self.growth.blocks.values() if self._is_worth_asking(each)]
        self.growth.saw_jobs(asked, self.batch.jobs(asked), now)
        managers = self._pool.scheduler.cluster.managers
        missed = [manager_id for manager_id in self._gone if manager_id in managers]
        for manager_id in missed:
            self._pool.lose(manager_id, "its block is gone")
        self._gone.clear()
        return bool(missed)

    def _is_worth_asking(self, block: Block) -> bool:
        """Whether a look at the job of a block could teach anything: not what stays as it is."""
        shown = self.batch.shown(block.job_id)
        has_changed = (shown.phase, shown.num_restarts) != (block.phase, block.num_restarts)
        return has_changed or not block.has_lived

    # --- blocks -------------------------------------------------------------------------------

    def _submit(self, request: BlockRequest, now: float) -> None:
        job_id = self.batch.submit(self._by_name[request.flavour])
        self.growth.submitted(job_id, request, now)

    def _give_back(self, job_id: str, now: float) -> None:
        self.batch.cancel(job_id)
        self.growth.given_back(job_id, now)
        manager_id = self._manager_of.get(job_id)
        if manager_id is not None:
            self._pool.hold(manager_id)
            self._pool.close(manager_id, KILL_WAIT_S)

    def _start(self, job_id: str, life: Life) -> None:
        """Let the manager of a job begin."""
        now = self._pool.now
        node = replace(building.node_of(self._scenario, life), joins_at=now)
        block = self.growth.blocks[job_id]
        name = ManagerId(f"{job_id}-{block.num_restarts}-{life.pool}-{life.machine}")
        self._manager_of[job_id] = name
        self.held[name] = (job_id, life)
        self._pool.add_node(node, name, BlockId(job_id))
        self.growth.manager_registered(job_id, now)

    def _manager_went(self, manager_id: ManagerId) -> None:
        """Take in that nothing of a manager is left on its node."""
        job_id, life = self.held.pop(manager_id)
        del self._manager_of[job_id]
        self._gone.append(manager_id)
        self.batch.left(job_id)
        self._plan(self._pool.now + self._partition_of(life).spec.detect_s)

    def _partition_of(self, life: Life) -> Partition:
        return self._partitions[life.pool, life.gpu]


@dataclass(frozen=True, kw_only=True)
class _NodeProvider:
    """What a flavour reads of Parsl's providers."""

    cores_per_node: float
    mem_per_node: float
    nodes_per_block: int = 1


def _flavour(name: str, scenario: Scenario, spec: Pool, gpu: str | None) -> Flavour:
    """Return the flavour of whole nodes of one kind."""
    resources = building.resources_of(scenario, spec, gpu)
    provider: Any = _NodeProvider(
        cores_per_node=resources.cores, mem_per_node=resources.memory_bytes / GB
    )
    model = building.gpu_model(scenario, gpu)
    if model is None:
        return Flavour(name, provider, gpus_per_block=0)
    never_asked: Any = object()
    return Flavour(
        name,
        provider,
        probe=never_asked,
        jobs=never_asked,
        partition=name,
        gpu_type=model.name,
        gpu_memory=model.memory_bytes,
        compute_capability=model.compute_capability,
        speed=model.speed,
        gpus_per_block=len(resources.devices),
    )
