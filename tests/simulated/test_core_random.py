"""Random pools, users and faults: nothing lost, nothing twice, nothing waits for ever."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from parsl_pcm.core import events
from parsl_pcm.core.memory import Held
from parsl_pcm.core.policy import DefaultPolicy
from parsl_pcm.core.records import HostRecord, PieceRecord
from parsl_pcm.core.scheduler import Scheduler
from parsl_pcm.core.transitions import HostState
from parsl_pcm.types import ContextKey, NodeResources, Requirements
from tests.fakes import (
    GB,
    NOTICE_S,
    FakeHost,
    FakeManager,
    FakePool,
    PairCuttingPolicy,
    cpu_node,
    gpu_node,
)

NODES = [
    cpu_node(2.0),
    cpu_node(4.0, max_hosts=2),
    gpu_node(16),
    gpu_node(24, 24),
    gpu_node(80, 16, capability=9.0),
]
CONTEXTS = {
    "cpu": Requirements(cores=1.0),
    "crowd": Requirements(cores=2.0, max_concurrency=3),
    "engine": Requirements(cores=1.0, max_concurrency=40),
    "gpu": Requirements(cores=1.0, gpus=1),
    "small gpu": Requirements(cores=0.5, gpus=1, gpu_memory_bytes=6 * GB, host_memory_bytes=GB),
    "two gpus": Requirements(cores=1.0, gpus=2, gpu_memory_bytes=16 * GB),
    "hopper": Requirements(cores=1.0, gpus=1, min_compute_capability=9.0),
    "impossible": Requirements(cores=1.0, gpus=64),
    "broken": Requirements(cores=1.0),
    "sleeper": Requirements(
        cores=0.5, gpus=1, gpu_memory_bytes=10 * GB, host_memory_bytes=GB, can_sleep=True
    ),
    "insomniac": Requirements(cores=0.5, gpus=1, gpu_memory_bytes=9 * GB, can_sleep=True),
    "late riser": Requirements(cores=1.0, gpus=1, can_sleep=True, keep_warm_s=5.0),
    "either": Requirements(
        cores=1.0, gpus=1, gpu_memory_bytes=20 * GB, min_compute_capability=9.0, can_sleep=True
    ),
}
VARIANTS = {
    "either": [
        Requirements(cores=0.5, gpus=2, gpu_memory_bytes=8 * GB),
        Requirements(cores=0.5, gpus=1, gpu_memory_bytes=5 * GB, max_concurrency=2),
        Requirements(cores=2.0, max_concurrency=4),
    ],
    "broken": [Requirements(cores=0.5)],
}
HELD = {
    "cpu": Held(0, 5 * GB),
    "small gpu": Held(8 * GB, 2 * GB),
    "sleeper": Held(11 * GB, 3 * GB),
    "either": Held(6 * GB, GB),
}
"""What hosts are measured to hold: some more than was declared."""


class RandomRun:
    """A pool to which anything may happen."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        policy = self.random.choice(
            [DefaultPolicy(), PairCuttingPolicy(), DefaultPolicy(fixed_prefetch=2)]
        )
        self.pool = FakePool(self.random, max_attempts=self.random.choice([1, 2, 3]), policy=policy)
        for name, requirements in CONTEXTS.items():
            self.pool.declare(name, requirements, *VARIANTS.get(name, []))
        self.pool.broken.add(ContextKey("broken"))
        self.pool.sleepless.add(ContextKey("insomniac"))
        self.pool.unwakeable.add(ContextKey("late riser"))
        self.pool.held = {ContextKey(name): held for name, held in HELD.items()}
        if self.random.random() < 0.7:
            for node in NODES:
                self.pool.register(node)
        self.steps: dict[Callable[[], None], int] = {
            self.submit: 20,
            self.submit_many: 2,
            self.submit_map: 4,
            self.cancel: 2,
            self.register: 3,
            self.lose: 1,
            self.take_back: 2,
            self.hold: 1,
            self.spoil: 1,
            self.measure: 4,
            self.warm: 2,
            self.evict: 1,
            self.fall_silent: 1,
            self.go_on_in_time: 6,
            self.deliver: 60,
            self.obey: 60,
            self.host_step: 60,
            self.pool.repeat_an_event: 5,
        }

    def run(self, num_steps: int) -> None:
        names, weights = list(self.steps), list(self.steps.values())
        for step in self.random.choices(names, weights, k=num_steps):
            step()

    def recover(self) -> None:
        for node in NODES:
            self.pool.register(node)
        self.pool.finish()

    def submit(self) -> None:
        name = self.random.choice(list(CONTEXTS))
        task_id = self.pool.submit(
            ContextKey(name), self.random.choice([1, 1, 1, 5]), self.random.choice([0, 0, 1])
        )
        if self.random.random() < 0.05:
            self.pool.poison.add(task_id)

    def submit_many(self) -> None:
        name = self.random.choice(list(CONTEXTS))
        for _ in range(20):
            self.pool.submit(ContextKey(name))

    def submit_map(self) -> None:
        num_items = self.random.choice([1, 2, 7, 40, 300])
        items = range(num_items)
        self.pool.submit_map(
            ContextKey(self.random.choice(["cpu", "cpu", "crowd", "engine", "gpu", "broken"])),
            num_items,
            is_tolerant=self.random.random() < 0.7,
            is_yielding=self.random.random() < 0.5,
            poison=[item for item in items if self.random.random() < 0.01],
            bad=[item for item in items if self.random.random() < 0.03],
        )

    def cancel(self) -> None:
        if self.pool.num_items:
            self.pool.cancel(self.random.choice(list(self.pool.num_items)))

    def register(self) -> None:
        if len(self.pool.managers) < 6:
            walltime_s = self.random.choice([None, None, 5.0, 30.0, 100.0, 1000.0])
            drain_s = self.random.choice([None, None, None, 20.0])
            self.pool.register(self.random.choice(NODES), walltime_s, drain_s)

    def lose(self) -> None:
        if self.pool.managers:
            self.pool.lose(self.any_manager())

    def take_back(self) -> None:
        if self.pool.managers:
            remaining_s = self.random.choice([None, 0.0, 0.5, 20.0])
            self.pool.take_back(self.any_manager(), remaining_s)

    def hold(self) -> None:
        if self.pool.managers:
            self.pool.feed(events.ManagerHeld(manager_id=self.any_manager().manager_id))

    def spoil(self) -> None:
        """Let nothing be built on a node any more, or all again."""
        if self.pool.managers:
            self.pool.bad_nodes ^= {self.any_manager().manager_id}

    def measure(self) -> None:
        if found := self.any_host():
            held = Held(self.random.choice([0, 1, 9, 30]) * GB, self.random.choice([0, 2, 20]) * GB)
            self.pool.measure(*found, held)

    def warm(self) -> None:
        name, num_hosts = self.random.choice(list(CONTEXTS)), self.random.choice([0, 1, 3])
        self.pool.feed(events.WarmRequested(context_key=ContextKey(name), num_hosts=num_hosts))

    def evict(self) -> None:
        name = self.random.choice(list(CONTEXTS))
        self.pool.feed(events.EvictRequested(context_key=ContextKey(name)))

    def fall_silent(self) -> None:
        if self.pool.managers:
            self.any_manager().is_silent = True

    def go_on_in_time(self) -> None:
        self.pool.let_time_pass(self.random.expovariate(1 / 5.0))

    def deliver(self) -> None:
        if managers := [*self.pool.managers.values(), *self.pool.gone]:
            self.pool.deliver_message(self.random.choice(managers))

    def obey(self) -> None:
        if self.pool.managers:
            self.pool.obey(self.any_manager())

    def host_step(self) -> None:
        found = self.any_host()
        if found is None:
            return
        manager, host = found
        luck = self.random.random()
        if luck < 0.02:
            self.pool.die(manager, host)
        elif host.state is HostState.STARTING and luck < 0.06:
            self.pool.fail_setup(manager, host)
        elif self.pool.change(manager, host):
            pass
        elif luck < 0.04:
            self.pool.raise_error(manager, host)
        else:
            self.pool.work(manager, host)

    def any_host(self) -> tuple[FakeManager, FakeHost] | None:
        hosts = [(m, h) for m in self.pool.managers.values() for h in m.hosts.values()]
        return self.random.choice(hosts) if hosts else None

    def any_manager(self) -> FakeManager:
        return self.random.choice(list(self.pool.managers.values()))


@pytest.mark.parametrize("seed", range(8))
def test_every_task_ends_once_whatever_happens(seed: int) -> None:
    run = RandomRun(seed)
    run.run(200)
    run.recover()
    for task_id, how in run.pool.ended.items():
        items = run.pool.delivered[task_id] | run.pool.failed_items[task_id]
        if how == "finished":
            assert items == set(range(run.pool.num_items[task_id]))
        assert task_id in run.pool.forgotten


@pytest.mark.parametrize("seed", range(8))
def test_map_in_a_pool_that_loses_nodes_costs_exactly_its_bad_items(seed: int) -> None:
    pool = FakePool(Random(seed), max_attempts=2)
    key = pool.declare("c", Requirements(cores=1.0, max_concurrency=1 + seed % 2))
    for _ in range(3):
        pool.register(cpu_node(2.0))
    poison, bad = [41, 999], [0, 500, 501]
    task_id = pool.submit_map(
        key, 1000, is_tolerant=True, is_yielding=seed % 4 < 2, poison=poison, bad=bad
    )
    while task_id not in pool.ended:
        pool.go_on()
        pool.let_time_pass(1.0)
        if pool.random.random() < 0.1:
            pool.lose(pool.random.choice(list(pool.managers.values())))
            pool.register(cpu_node(2.0))
    assert pool.ended[task_id] == "finished"
    assert pool.failed_items[task_id] == {*poison, *bad}
    assert pool.delivered[task_id] == set(range(1000)) - {*poison, *bad}


class SixCuttingPolicy(DefaultPolicy):
    """Gives six items at a time."""

    def cut(self, piece: PieceRecord, host: HostRecord, num_hosts: int) -> int:
        return min(piece.stop, piece.start + 6)


class SlowHostsRun:
    """Maps on hosts some of which hardly go on, on nodes that come and go: what is raced."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.pool = FakePool(self.random, policy=SixCuttingPolicy(), run_s=(0.1, 0.2))
        self.keys = [
            self.pool.declare("c", Requirements(cores=1.0)),
            self.pool.declare("crowd", Requirements(cores=1.0, max_concurrency=2)),
        ]
        for _ in range(4):
            self.pool.register(cpu_node(2.0))

    def run(self, num_rounds: int) -> None:
        for _ in range(num_rounds):
            self.pool.go_on(slow=lambda host: host.host_id % 2 and self.random.random() < 0.9)
            self.pool.let_time_pass(self.random.choice([0.0, 0.1, 1.0]))
            if self.random.random() < 0.15:
                self.submit_map()
            if self.random.random() < 0.1:
                self.disturb()

    def submit_map(self) -> None:
        num_items = self.random.choice([1, 2, 7, 20])
        items = range(num_items)
        self.pool.submit_map(
            self.random.choice(self.keys),
            num_items,
            is_tolerant=self.random.random() < 0.7,
            is_yielding=self.random.random() < 0.5,
            poison=[item for item in items if self.random.random() < 0.01],
            bad=[item for item in items if self.random.random() < 0.03],
        )

    def disturb(self) -> None:
        manager = self.random.choice(list(self.pool.managers.values()))
        match self.random.choice(["lose", "take back", "die", "raise", "cancel"]):
            case "lose":
                self.pool.lose(manager)
            case "take back":
                self.pool.take_back(manager, self.random.choice([None, 0.5, 20.0]))
            case "die" if manager.hosts:
                self.pool.die(manager, self.random.choice(list(manager.hosts.values())))
            case "raise" if manager.hosts:
                self.pool.raise_error(manager, self.random.choice(list(manager.hosts.values())))
            case "cancel" if self.pool.num_items:
                self.pool.cancel(self.random.choice(list(self.pool.num_items)))
        if len(self.pool.managers) < 4:
            self.pool.register(cpu_node(2.0))


@pytest.mark.parametrize("seed", range(8))
def test_raced_items_are_told_once_whatever_happens(seed: int) -> None:
    run = SlowHostsRun(seed)
    run.run(150)
    run.pool.finish()
    for task_id, how in run.pool.ended.items():
        items = run.pool.delivered[task_id] | run.pool.failed_items[task_id]
        assert how != "finished" or items == set(range(run.pool.num_items[task_id]))


def test_these_runs_do_race() -> None:
    runs = [SlowHostsRun(seed) for seed in range(8)]
    for run in runs:
        run.run(40)
    assert any(run.pool.raced for run in runs)


class CrowdedRun:
    """Contexts that sleep take turns on devices that hold two of them, with room for a third."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.pool = FakePool(self.random, run_s=(0.5, 2.0, 20.0))
        self.keys = [
            self.pool.declare(
                name,
                Requirements(
                    cores=1.0,
                    gpus=gpus,
                    gpu_memory_bytes=memory_gb and memory_gb * GB,
                    can_sleep=can_sleep,
                ),
            )
            for name, gpus, memory_gb, can_sleep in (
                ("a", 1, 10, True),
                ("b", 1, 11, True),
                ("gang", 2, 12, True),
                ("insomniac", 1, 9, True),
                ("late riser", 1, 9, True),
                ("restless", 1, 6, False),
                ("whole", 1, None, True),
            )
        ]
        self.pool.sleepless.add(ContextKey("insomniac"))
        self.pool.unwakeable.add(ContextKey("late riser"))
        for _ in range(2):
            self.pool.register(gpu_node(24, 24, memory_bytes=20 * GB))

    def run(self, num_rounds: int) -> None:
        for _ in range(num_rounds):
            if self.random.random() < 0.5:
                key = self.random.choice(self.keys)
                for _ in range(self.random.choice([1, 1, 3, 20])):
                    self.pool.submit(key, priority=self.random.choice([0, 0, 0, 1]))
            if self.random.random() < 0.1:
                self.disturb()
            self.pool.go_on(slow=lambda host: self.random.random() < 0.3)
            self.pool.let_time_pass(self.random.choice([0.0, 1.0, 10.0, 50.0]))

    def disturb(self) -> None:
        manager = self.random.choice(list(self.pool.managers.values()))
        if not manager.hosts:
            return
        host = self.random.choice(list(manager.hosts.values()))
        match self.random.choice(["die", "measure", "take back", "warm", "evict"]):
            case "die":
                self.pool.die(manager, host)
            case "measure":
                self.pool.measure(manager, host, Held(self.random.randrange(13) * GB, 2 * GB))
            case "take back":
                self.pool.take_back(manager, self.random.choice([None, 0.5, 20.0]))
                self.pool.register(gpu_node(24, 24, memory_bytes=20 * GB))
            case "warm":
                self.pool.feed(events.WarmRequested(context_key=host.context_key, num_hosts=2))
            case "evict":
                self.pool.feed(events.EvictRequested(context_key=host.context_key))


@pytest.mark.parametrize("seed", range(6))
def test_contexts_that_take_turns_all_end(seed: int) -> None:
    run = CrowdedRun(seed)
    run.run(100)
    run.pool.finish()
    assert set(run.pool.ended.values()) <= {"finished", "kills_host"}


def test_these_contexts_do_sleep_wake_and_make_room() -> None:
    runs = [CrowdedRun(seed) for seed in range(2)]
    for run in runs:
        run.run(80)
    seen = {type(event) for run in runs for _, event, _ in run.pool.history}
    assert {events.HostAsleep, events.HostAwake, events.SleepFailed, events.HostMeasured} <= seen
    decided = [action for run in runs for _, _, actions in run.pool.history for action in actions]
    assert any(getattr(action, "is_eviction", False) for action in decided)


@pytest.mark.parametrize("seed", range(3))
def test_same_events_give_same_actions(seed: int) -> None:
    run = RandomRun(seed)
    run.run(200)
    again = Scheduler(
        policy=run.pool.policy,
        max_attempts=run.pool.max_attempts,
        heartbeat_threshold_s=60.0,
        notice_s=NOTICE_S,
    )
    for now, event, decided in run.pool.history:
        assert again.handle(event, now) == decided


@pytest.mark.parametrize("node", NODES)
def test_healthy_pool_with_room_ends_everything_that_fits(node: NodeResources) -> None:
    pool = FakePool(Random(0))
    keys = [pool.declare(name, needs) for name, needs in CONTEXTS.items()]
    pool.register(node)
    tasks = {key: [pool.submit(key, 3) for _ in range(10)] for key in keys}
    pool.finish()
    for key, task_ids in tasks.items():
        assert len({pool.ended[task_id] for task_id in task_ids}) == 1, key
    assert pool.ended[tasks[ContextKey("impossible")][0]] == "does_not_fit"
