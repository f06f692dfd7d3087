"""Whose place a newcomer gets, over whole runs in virtual time: what the rules cost and gain."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

from parsl_pcm.core.making_room import RoomMaker
from parsl_pcm.core.policy import DefaultPolicy
from parsl_pcm.core.records import ContextRecord, HostRecord
from parsl_pcm.core.shares import QUANTUM_LOADS
from parsl_pcm.simulator.engine.parts import GB, Model, Node, Way, each, gpu_model, gpus
from parsl_pcm.simulator.engine.pool import VirtualPool
from parsl_pcm.types import ContextKey, Requirements
from tests.core_words import finished, ready, submit
from tests.fakes import FakePool, gpu_node

LOAD_S = 10.0
QUANTUM_S = QUANTUM_LOADS * 2 * LOAD_S


def num_loads(pool: VirtualPool) -> int:
    return sum(tally.num_loads for tally in pool.tallies.values())


def two_on_one(gpu_bytes: int, *, can_sleep: bool = False) -> VirtualPool:
    """Return a pool of one GPU of 16 GB with two contexts that take that much each."""
    needs = Requirements(gpus=1, cores=1.0, gpu_memory_bytes=gpu_bytes, can_sleep=can_sleep)
    way = Way(requirements=needs, piece_time=each(1.0), setup_s=LOAD_S, sleep_s=0.1, wake_s=0.5)
    models = [Model("a", (way,)), Model("b", (way,))]
    return VirtualPool([Node(gpus(16 * GB))], models, is_recording=True)


def alternate(pool: VirtualPool, num_calls: int, every_s: float = 0.0) -> None:
    for number in range(num_calls):
        pool.submit_calls("ab"[number % 2], at=number * every_s)
    pool.run()


@pytest.mark.parametrize("every_s", [0.0, 2.0])
def test_contexts_that_fit_together_are_loaded_once(every_s: float) -> None:
    pool = two_on_one(7 * GB)
    alternate(pool, 100, every_s)
    assert num_loads(pool) == 2


@pytest.mark.parametrize("every_s", [0.0, 1.1])
def test_contexts_that_take_turns_load_once_a_quantum(every_s: float) -> None:
    pool = two_on_one(10 * GB)
    alternate(pool, 400, every_s)
    assert num_loads(pool) <= 2 + pool.ended_at / QUANTUM_S
    assert num_loads(pool) * 5 <= 400
    assert max(pool.tallies["b"].waits_s[:1] + pool.tallies["a"].waits_s[:1]) < 2 * QUANTUM_S


def test_contexts_that_sleep_take_shorter_turns_and_load_once() -> None:
    pool = two_on_one(10 * GB, can_sleep=True)
    alternate(pool, 400, 1.1)
    assert num_loads(pool) == 2
    assert pool.tallies["a"].num_wakes > 10


@pytest.mark.parametrize("order", ["abc", "cba"])
@pytest.mark.parametrize("is_map", [True, False])
def test_three_contexts_with_uneven_work_end_together(order: str, is_map: bool) -> None:
    models = [gpu_model(name, 1.0, LOAD_S, gpu_bytes=10 * GB) for name in "abc"]
    pool = VirtualPool([Node(gpus(24 * GB, 24 * GB))], models)
    work = {"a": 300, "b": 150, "c": 100}
    for name in order:
        (pool.submit_map if is_map else pool.submit_calls)(name, work[name])
    pool.run()
    best_s = (300 + 2 * LOAD_S + LOAD_S) / 2  # two of the four places for a, one each for the rest
    assert pool.ended_at <= 1.15 * best_s
    assert num_loads(pool) <= 1.5 * 4
    assert not pool.memory.overruns


def test_short_work_is_not_kept_waiting_by_endless_work() -> None:
    models = [gpu_model(name, 1.0, LOAD_S, gpu_bytes=None) for name in "ab"]
    pool = VirtualPool([Node(gpus(16 * GB))], models, is_recording=True)
    pool.submit_calls("a", 2000)
    pool.submit_calls("b", 5, at=30.0)
    pool.run()
    assert max(pool.tallies["b"].waits_s) <= 1.5 * QUANTUM_S
    assert num_loads(pool) == 3


def test_gangs_and_single_devices_share_a_node_without_deadlock() -> None:
    def model(name: str, num_gpus: int) -> Model:
        needs = Requirements(gpus=num_gpus, cores=1.0)
        return Model(name, (Way(requirements=needs, piece_time=each(3.0), setup_s=LOAD_S),))

    pool = VirtualPool([Node(gpus(*[16 * GB] * 3))], [model("g", 2), model("h", 2), model("s", 1)])
    pool.submit_calls("s", 100)
    pool.submit_calls("g", 20, at=1.0)
    pool.submit_calls("h", 20, at=2.0)
    pool.run()
    assert [tally.num_items for tally in pool.tallies.values()] == [20, 20, 100]


def test_context_that_gains_most_from_the_fast_devices_gets_them() -> None:
    def model(name: str, slow_s: float) -> Model:
        times = {"fast": each(1.0), "slow": each(slow_s)}
        needs = Requirements(gpus=1, cores=1.0)
        return Model(name, (Way(requirements=needs, piece_time=times, setup_s=LOAD_S),))

    nodes = [Node(gpus(16 * GB, 16 * GB, kind=kind)) for kind in ("fast", "slow")]
    pool = VirtualPool(nodes, [model("far", 10.0), model("near", 1.5)])
    pool.submit_map("far", 400)
    pool.submit_map("near", 400)
    pool.run()
    kinds = [(host.model.name, host.node is nodes[0], host.busy_s) for host in pool.hosts.values()]
    on_fast = sum(busy_s for name, is_fast, busy_s in kinds if name == "far" and is_fast)
    assert on_fast >= 350
    assert pool.ended_at < 320  # 411 s if each has one device of both kinds


# --- on which nodes -------------------------------------------------------------------------------


class Generous(DefaultPolicy):
    """Gives every host to whoever asks."""

    def may_evict(self, host: HostRecord, newcomer: ContextRecord, now: float) -> bool:
        return True

    def may_reclaim(self, hosts: Sequence[HostRecord], newcomer: ContextRecord, now: float) -> bool:
        return True


@pytest.mark.parametrize("is_idle", [True, False])
@pytest.mark.parametrize(("accepted", "victims"), [("m0", [1]), ("m1", [2]), ("m2", [])])
def test_room_is_made_only_where_the_newcomer_may_go(
    is_idle: bool, accepted: str, victims: list[int]
) -> None:
    pool = FakePool(Random(0))
    for name in "ab":
        pool.declare(name, Requirements(cores=1.0, gpus=1))
    for number in (1, 2):
        pool.register(gpu_node(16))
        submit(pool, "a")
        ready(pool, number)
    for lease in (1, 2) if is_idle else ():
        finished(pool, lease)
    cluster = pool.scheduler.cluster
    rooms, newcomer = RoomMaker(cluster, Generous()), cluster.contexts[ContextKey("b")]

    def accepts(manager: object) -> bool:
        return manager is cluster.managers.get(accepted)

    found = rooms.idle_victims(newcomer, None, accepts)
    assert [host.host_id for host in found] == (victims if is_idle else [])
    found = found or rooms.busy_victims(newcomer, accepts)
    assert [host.host_id for host in found] == victims
