"""The pool in virtual time that benchmarks and tests of decisions stand on."""

from __future__ import annotations

import pytest

from parsl_pcm.simulator.engine.managers import LATENCY_S
from parsl_pcm.simulator.engine.memory import MAIN_MEMORY
from parsl_pcm.simulator.engine.parts import GB, Model, Node, Way, cpu_model, each, gpu_model, gpus
from parsl_pcm.simulator.engine.pool import VirtualPool
from parsl_pcm.types import HostId, ManagerId, NodeResources, Requirements

FIRST = ManagerId("node-0")


def cpus(cores: float, memory_bytes: int = 8 * GB) -> NodeResources:
    return NodeResources(cores=cores, memory_bytes=memory_bytes)


def test_two_contexts_share_devices_that_hold_both() -> None:
    models = [gpu_model(name, 1.0, 10.0, gpu_bytes=8 * GB) for name in "ab"]
    pool = VirtualPool([Node(gpus(24 * GB, 24 * GB))], models)
    pool.submit_calls("a", 20)
    pool.submit_calls("b", 20)
    pool.run()
    assert all(tally.num_items == 20 for tally in pool.tallies.values())
    assert max(pool.memory.peaks_bytes.values()) >= 16 * GB
    assert not pool.memory.overruns


def test_hosts_build_one_after_the_other_on_a_device_and_side_by_side_on_two() -> None:
    models = [gpu_model(name, 1.0, 10.0, gpu_bytes=8 * GB) for name in "ab"]
    ended_at = {}
    for sizes in ([24 * GB], [8 * GB, 8 * GB]):
        pool = VirtualPool([Node(gpus(*sizes))], models)
        pool.submit_calls("a")
        pool.submit_calls("b")
        ended_at[len(sizes)] = pool.run()
    assert ended_at[2] == pytest.approx(11.0, abs=10 * LATENCY_S)
    assert ended_at[1] == pytest.approx(21.0, abs=10 * LATENCY_S)


def test_what_hosts_hold_is_counted_and_more_than_there_is_is_noticed() -> None:
    needs = Requirements(gpus=1, cores=1.0, gpu_memory_bytes=4 * GB)
    liar = Way(requirements=needs, piece_time=each(1.0), gpu_bytes=7 * GB, host_bytes=2 * GB)
    pool = VirtualPool([Node(gpus(6 * GB))], [Model("liar", (liar,))])
    pool.submit_calls("liar")
    pool.run()
    assert pool.memory.peaks_bytes == {(FIRST, 0): 7 * GB, (FIRST, MAIN_MEMORY): 2 * GB}
    assert [(where, held) for _, *where, held in pool.memory.overruns] == [([FIRST, 0], 7 * GB)]


def test_memory_of_hosts_that_are_gone_is_free() -> None:
    models = [cpu_model(name, 1.0, 5.0, host_bytes=6 * GB) for name in "ab"]
    pool = VirtualPool([Node(cpus(4))], models)
    pool.submit_calls("a", 3)
    pool.submit_calls("b", 3, at=100.0)
    pool.run()
    assert pool.tallies["a"].num_evictions == 1
    assert pool.memory.peaks_bytes[FIRST, MAIN_MEMORY] == 6 * GB
    assert not pool.memory.overruns


def test_recipe_that_is_bad_fails_and_one_that_a_node_cannot_build_is_built_elsewhere() -> None:
    models = [cpu_model("bad", 1.0, 5.0, is_bad=True), cpu_model("good", 1.0, 5.0)]
    pool = VirtualPool([Node(cpus(1), is_broken=True), Node(cpus(1))], models)
    pool.submit_calls("bad", 2)
    pool.submit_calls("good", 4)
    pool.run()
    assert pool.tallies["bad"].num_failed_tasks == 2
    assert pool.tallies["good"].num_items == 4
    assert pool.tallies["good"].num_failed_tasks == 0


def test_work_of_a_node_that_vanishes_is_done_by_one_that_joins() -> None:
    nodes = [Node(cpus(1), leaves_at=12.0), Node(cpus(1), joins_at=10.0)]
    pool = VirtualPool(nodes, [cpu_model("a", 1.0, 5.0)])
    pool.submit_calls("a", 10)
    assert pool.run() > 15.0
    assert pool.tallies["a"].num_items == 10
    assert pool.tallies["a"].num_loads == 2


def test_killed_host_is_replaced_and_its_piece_runs_again() -> None:
    pool = VirtualPool([Node(cpus(1))], [cpu_model("a", 1.0, 5.0)])
    pool.submit_calls("a", 4)
    pool.run_until(6.5)
    pool.kill(pool.hosts[HostId(1)])
    pool.run()
    assert pool.tallies["a"].num_items == 4
    assert pool.tallies["a"].num_loads == 2


def test_calls_arrive_when_they_were_planned_for() -> None:
    pool = VirtualPool([Node(cpus(1))], [cpu_model("a", 1.0, 5.0)], is_recording=True)
    pool.submit_calls("a", 3, at=10.0, every_s=20.0)
    assert pool.run() == pytest.approx(51.0, abs=10 * LATENCY_S)
    assert pool.tallies["a"].waits_s == pytest.approx([6.0, 1.0, 1.0], abs=10 * LATENCY_S)


def test_watcher_sees_every_event() -> None:
    seen: list[int] = []
    pool = VirtualPool(
        [Node(cpus(1))],
        [cpu_model("a", 1.0, 5.0)],
        watch=lambda pool: seen.append(pool.num_events),
    )
    pool.submit_calls("a", 3)
    pool.run()
    assert seen == list(range(1, pool.num_events + 1))


def test_run_ends_when_nothing_will_ever_end_its_tasks() -> None:
    pool = VirtualPool([], [cpu_model("a", 1.0, 5.0)], possible_nodes=[cpus(1)])
    pool.submit_calls("a")
    pool.run()
    assert not pool.is_done


def test_time_that_does_not_go_on_is_an_error() -> None:
    pool = VirtualPool([Node(cpus(1))], [cpu_model("a", 1.0, 5.0)])
    pool.submit_calls("a")
    pool.run_until(1.0)
    pool.scheduler.next_deadline = lambda: 1.0  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match="does not go on"):
        pool.run()


def test_each_kind_of_device_builds_its_own_way_at_its_own_speed() -> None:
    strict = Requirements(gpus=1, cores=1.0, min_compute_capability=8.0)
    times = {"new": each(1.0), "old": each(2.0)}
    ways = tuple(
        Way(requirements=needs, piece_time=times)
        for needs in (strict, Requirements(gpus=1, cores=1.0))
    )
    nodes = [
        Node(gpus(24 * GB, kind="new", capability=8.0)),
        Node(gpus(24 * GB, kind="old", capability=7.0)),
    ]
    pool = VirtualPool(nodes, [Model("a", ways)])
    pool.submit_calls("a", 30)
    assert pool.run() == pytest.approx(20.0, abs=1.5)
    assert pool.tallies["a"].by_variant == {0: 20, 1: 10}


def test_sleeping_host_holds_what_it_holds_asleep_and_is_not_loaded_again() -> None:
    needs = Requirements(gpus=1, cores=1.0, gpu_memory_bytes=20 * GB, can_sleep=True)
    way = Way(
        requirements=needs,
        piece_time=each(1.0),
        setup_s=10.0,
        sleep_s=1.0,
        wake_s=2.0,
        asleep_gpu_bytes=GB,
    )
    pool = VirtualPool([Node(gpus(24 * GB))], [Model(name, (way,)) for name in "ab"])
    for number in range(4):
        pool.submit_calls("ab"[number % 2], at=100.0 * number)
    pool.run()
    assert [tally.num_loads for tally in pool.tallies.values()] == [1, 1]
    assert sum(tally.num_wakes for tally in pool.tallies.values()) == 2
    assert sum(tally.num_sleeps for tally in pool.tallies.values()) == 3
    assert pool.memory.peaks_bytes[FIRST, 0] == 21 * GB
