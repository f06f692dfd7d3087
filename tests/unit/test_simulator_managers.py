"""Managers in virtual time: nodes that come and go, and the boots of their hosts."""

from __future__ import annotations

from random import Random

import pytest

from parsl_pcm.core import events
from parsl_pcm.simulator.engine.parts import GB, Model, Node, Way, cpu_model, each, gpu_model, gpus
from parsl_pcm.simulator.engine.pool import VirtualPool
from parsl_pcm.types import ManagerId, NodeResources, Requirements
from tests.seen import Seen

ONE_CORE = NodeResources(cores=1.0, memory_bytes=8 * 10**9)
FIRST, SECOND = ManagerId("node-0"), ManagerId("node-1")


def pool_of(*nodes: Node, seen: Seen | None = None, item_s: float = 1.0) -> VirtualPool:
    observe = None if seen is None else seen.observe
    return VirtualPool(
        nodes, [cpu_model("a", item_s, 5.0)], possible_nodes=[ONE_CORE], observe=observe
    )


# --- nodes that go --------------------------------------------------------------------------------


def test_notice_comes_so_long_before_the_site_takes_a_node_back() -> None:
    seen = Seen()
    pool = pool_of(Node(ONE_CORE, leaves_at=60.0, notice_s=20.0), seen=seen, item_s=2.0)
    pool.submit_map("a", 1000)
    pool.run_until(100.0)
    assert seen.of(events.ManagerClosing) == [
        (40.0, events.ManagerClosing(manager_id=FIRST, remaining_s=20.0))
    ]
    assert len(seen.of(events.ManagerLost)) == 1
    assert 10 <= pool.tallies["a"].num_items < 28


def test_node_without_notice_vanishes_without_a_word() -> None:
    seen = Seen()
    pool = pool_of(Node(ONE_CORE, leaves_at=60.0), seen=seen)
    pool.submit_map("a", 1000)
    pool.run_until(100.0)
    assert seen.of(events.ManagerClosing) == []
    assert seen.times(events.ManagerLost) == [60.0]


def test_walltime_is_known_from_the_start_and_ends_the_node() -> None:
    seen = Seen()
    pool = pool_of(Node(ONE_CORE, joins_at=10.0, walltime_s=50.0), seen=seen)
    pool.submit_map("a", 1000)
    pool.run_until(100.0)
    ((joined_at, joined),) = seen.of(events.ManagerRegistered)
    assert (joined_at, joined.remaining_s) == (10.0, 50.0)  # type: ignore[union-attr]
    assert seen.times(events.ManagerLost)[0] <= 60.0
    assert pool.scheduler.cluster.managers == {}


def test_life_that_ends_before_the_walltime_ends_the_node() -> None:
    seen = Seen()
    pool = pool_of(Node(ONE_CORE, leaves_at=20.0, walltime_s=50.0), seen=seen)
    pool.submit_map("a", 1000)
    pool.run_until(100.0)
    assert seen.times(events.ManagerLost) == [20.0]


def test_node_that_vanishes_is_missed_later_and_says_nothing_meanwhile() -> None:
    seen = Seen()
    pool = pool_of(Node(ONE_CORE, leaves_at=60.5, detect_s=30.0), seen=seen)
    pool.submit_calls("a", 1000)
    pool.run_until(100.0)
    assert seen.times(events.ManagerLost) == [90.5]
    assert max(seen.times(events.PieceFinished)) < 60.5


def test_result_that_was_under_way_when_its_node_vanished_arrives() -> None:
    for detect_s, num_delivered in [(0.0, 1), (1.0, 2)]:
        node = Node(ONE_CORE, leaves_at=7.009, detect_s=detect_s)  # the second call ends at 7.008
        pool = pool_of(node)
        pool.submit_calls("a", 10)
        pool.run_until(20.0)
        assert pool.tallies["a"].num_items == num_delivered


def test_loss_that_the_site_shows_is_told_before_it_would_be_missed() -> None:
    seen = Seen()
    pool = pool_of(Node(ONE_CORE, leaves_at=60.0, detect_s=30.0), seen=seen)
    pool.submit_calls("a", 1000)
    pool.at(70.0, lambda: pool.lose(FIRST, "its job is gone"))
    pool.run_until(100.0)
    assert seen.times(events.ManagerLost) == [70.0]


def test_node_that_is_closed_goes_in_time_even_if_it_still_works() -> None:
    seen = Seen()
    pool = pool_of(Node(ONE_CORE), seen=seen, item_s=50.0)
    pool.submit_calls("a", 2)
    pool.at(10.0, lambda: pool.close(FIRST, 20.0))
    pool.run_until(100.0)
    assert seen.times(events.ManagerClosing) == [10.0]
    assert max(seen.times(events.ManagerLost)) <= 30.0
    assert pool.tallies["a"].num_items == 0


def test_hook_is_called_once_when_a_node_really_goes() -> None:
    gone: list[tuple[float, ManagerId]] = []
    nodes = [
        Node(ONE_CORE, leaves_at=60.0, detect_s=30.0),
        Node(ONE_CORE, leaves_at=80.0, notice_s=40.0),  # drained and dismissed before
    ]
    pool = pool_of(*nodes)
    pool.on_gone = lambda manager_id: gone.append((round(pool.now, 1), manager_id))
    pool.submit_calls("a", 1000)
    pool.at(65.0, lambda: pool.lose(FIRST))
    pool.run_until(200.0)
    (dismissed_at, first), last = gone
    assert (first, last) == (SECOND, (60.0, FIRST))
    assert 40.0 <= dismissed_at < 60.0


def test_order_for_a_node_that_is_gone_does_nothing() -> None:
    pool = pool_of(Node(ONE_CORE, leaves_at=0.001))  # the order to start a host is under way
    pool.submit_calls("a", 3)
    pool.run_until(50.0)
    assert pool.tallies["a"].num_loads == 0
    assert pool.hosts == {}


# --- nodes that come ------------------------------------------------------------------------------


def test_node_that_is_added_while_it_runs_joins_and_works() -> None:
    pool = pool_of()
    pool.submit_calls("a", 3)
    names: list[ManagerId] = []
    pool.at(10.0, lambda: names.append(pool.add_node(Node(ONE_CORE), ManagerId("mine"))))
    assert pool.run() == pytest.approx(18.0, abs=0.1)
    assert names == [ManagerId("mine")]


def test_name_of_a_node_is_never_used_again() -> None:
    pool = pool_of(Node(ONE_CORE))
    with pytest.raises(ValueError, match="node-0"):
        pool.add_node(Node(ONE_CORE), FIRST)


# --- boots ----------------------------------------------------------------------------------------


def test_builds_are_random_and_the_same_for_the_same_seed() -> None:
    def ready_at(seed: int) -> list[float]:
        seen = Seen()
        needs = Requirements(cores=1.0)
        way = Way(requirements=needs, piece_time=each(20.0), setup_s=5.0, setup_cv=0.3)
        nodes = [Node(ONE_CORE) for _ in range(4)]
        pool = VirtualPool(nodes, [Model("a", (way,))], random=Random(seed), observe=seen.observe)
        pool.submit_calls("a", 4)
        pool.run()
        return seen.times(events.HostReady)

    assert len(set(ready_at(1))) == 4
    assert ready_at(1) == ready_at(1) != ready_at(2)


def test_host_that_waits_for_a_device_does_not_begin_to_build_when_its_node_vanishes() -> None:
    sizes = {"small": 5 * GB, "large": 10 * GB}
    models = [gpu_model(name, 1.0, 30.0, gpu_bytes=size) for name, size in sizes.items()]
    pool = VirtualPool([Node(gpus(24 * GB), leaves_at=10.0)], models)
    for name in sizes:
        pool.submit_calls(name)
    pool.run_until(20.0)
    assert len(pool.hosts) == 2
    assert max(pool.memory.fullest()) == sizes["small"] / (24 * GB)
