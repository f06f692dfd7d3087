"""Which piece goes where, and which hosts start and end: exact actions."""

from __future__ import annotations

from random import Random

import pytest

from parsl_pcm.core import actions, events
from parsl_pcm.core.policy import DefaultPolicy
from parsl_pcm.types import ContextKey, HostId, LeaseId, ManagerId, Requirements, TaskId
from tests.core_words import (
    deliver,
    evict,
    exited,
    finished,
    forget,
    lose,
    new_pool,
    pass_time,
    ready,
    revoke,
    send,
    setup_failed,
    start,
    submit,
)
from tests.fakes import GB, FakePool, PairCuttingPolicy, cpu_node, gpu_node


def finished_in(pool: FakePool, lease: int, run_s: float) -> list[actions.Action]:
    return pool.feed(events.PieceFinished(lease_id=LeaseId(lease), start=0, stop=1, run_s=run_s))


def measured_pool(service_s: float, num_nodes: int = 1, setup_s: float = 10.0) -> FakePool:
    """Return a pool with one idle host on m0, whose context's times are known."""
    pool = new_pool(*[cpu_node()] * num_nodes)
    submit(pool)
    ready(pool, 1, setup_s)
    finished_in(pool, 1, service_s)
    return pool


# --- pieces ---------------------------------------------------------------------------------------


def test_least_loaded_host_gets_the_next_piece() -> None:
    pool = new_pool(cpu_node(), cpu_node())
    submit(pool)
    submit(pool)
    ready(pool, 1)
    ready(pool, 2)
    finished(pool, lease=2)
    assert submit(pool) == [send(3, task=2, host=2, manager="m1")]


def test_pieces_that_wait_behind_long_ones_get_a_host_once_it_pays() -> None:
    pool = measured_pool(service_s=0.01, num_nodes=2, setup_s=10.0)
    assert submit(pool) == [send(2, task=1)]
    assert submit(pool) == [send(3, task=2)]
    assert pass_time(pool, until=pool.now + 9.9) == []
    assert pass_time(pool, until=pool.now + 0.2) == [start(2, "m1")]
    assert pass_time(pool, until=pool.now + 20.0) == []
    ready(pool, 2)
    assert pass_time(pool, until=pool.now + 0.1) == [revoke(3)]


def test_nothing_is_prefetched_while_the_time_of_a_piece_is_unknown() -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    submit(pool)
    assert ready(pool) == [send(1, task=0)]


@pytest.mark.parametrize(
    ("service_s", "num_prefetched"), [(100.0, 1), (0.05, 1), (0.02, 3), (0.001, 50), (1e-6, 256)]
)
def test_the_shorter_the_pieces_the_more_are_prefetched(
    service_s: float, num_prefetched: int
) -> None:
    pool = measured_pool(service_s)
    for _ in range(num_prefetched + 20):
        submit(pool)
    assert pool.scheduler.cluster.hosts[HostId(1)].load == 1 + num_prefetched


def test_fixed_prefetch_is_kept() -> None:
    pool = FakePool(Random(0), policy=DefaultPolicy(fixed_prefetch=2))
    pool.declare("c", Requirements(cores=1.0, max_concurrency=2))
    pool.register(cpu_node())
    for _ in range(9):
        submit(pool)
    assert len(ready(pool)) == 4


def test_pieces_for_hosts_that_start_are_held_back() -> None:
    pool = measured_pool(100.0, num_nodes=2)
    assert submit(pool) == [send(2, task=1)]
    assert submit(pool) == [send(3, task=2)]  # prefetched
    assert submit(pool) == [start(2, "m1")]  # three pieces of 100 s pay for a set-up of 10 s
    assert finished_in(pool, 2, 100.0) == [deliver(1), forget(1)]  # the last is for host 2
    assert ready(pool, 2) == [send(4, 3, host=2, manager="m1")]


def test_concurrent_context_gets_as_many_pieces_as_it_may_run() -> None:
    pool = FakePool(Random(0))
    pool.declare("c", Requirements(cores=1.0, max_concurrency=3))
    pool.register(cpu_node(2.0))
    for _ in range(4):
        submit(pool)
    assert len(ready(pool)) == 3


def test_policy_may_cut_pieces() -> None:
    pool = FakePool(Random(0), policy=PairCuttingPolicy())
    pool.declare("c", Requirements(cores=1.0))
    pool.register(cpu_node())
    submit(pool, num_items=5)
    assert ready(pool) == [send(1, task=0, items=(0, 2))]
    assert finished(pool, 1, 0, 2) == [
        deliver(0, 0, 2), send(2, task=0, items=(2, 4)), send(3, task=0, items=(4, 5)),
    ]  # fmt: skip
    assert lose(pool, "m0") == []
    pool.register(cpu_node())
    assert ready(pool, 2) == [
        send(4, 0, host=2, manager="m1", items=(2, 4)),
        send(5, 0, host=2, manager="m1", items=(4, 5)),
    ]
    assert finished(pool, 4, 2, 4) == [deliver(0, 2, 4)]
    assert finished(pool, 5, 4, 5) == [deliver(0, 4, 5), forget(0)]


def test_idle_host_takes_over_half_of_what_waits_behind_others() -> None:
    pool = FakePool(Random(0), policy=DefaultPolicy(fixed_prefetch=4))
    pool.declare("c", Requirements(cores=1.0))
    pool.register(cpu_node())
    pool.register(cpu_node())
    for _ in range(10):
        submit(pool)
    ready(pool, 1)
    ready(pool, 2)
    for lease in (6, 7, 8, 9, 10):
        finished(pool, lease)
    assert pool.scheduler.next_deadline() == 0.05
    assert pass_time(pool, 0.05) == [revoke(4), revoke(5)]  # of 2, 3, 4 and 5, behind 1
    assert pool.feed(events.LeaseRevoked(lease_id=LeaseId(4))) == [
        send(11, task=3, host=2, manager="m1")
    ]


# --- growth ---------------------------------------------------------------------------------------


def test_every_waiting_piece_may_have_a_host_while_nothing_is_known() -> None:
    pool = new_pool(cpu_node(3.0))
    assert [submit(pool)[0] for _ in range(3)] == [start(n, "m0") for n in (1, 2, 3)]
    assert submit(pool) == []


def test_backlog_that_pays_for_a_setup_starts_one_more_host_and_not_two() -> None:
    pool = measured_pool(1.0, num_nodes=9, setup_s=10.0)
    for _ in range(11):
        assert not [a for a in submit(pool) if isinstance(a, actions.StartHost)]
    assert submit(pool) == [start(2, "m1")]  # ten wait, behind the two at the host
    assert submit(pool) == []  # two hosts will do eleven pieces in less than 10 s


def test_pieces_that_have_waited_as_long_as_a_setup_takes_start_a_host() -> None:
    pool = measured_pool(1.0, num_nodes=2, setup_s=10.0)
    pool.now = 100.0
    pool.let_time_pass(0.0)
    for _ in range(3):
        submit(pool)
    assert pool.scheduler.next_deadline() == 110.0
    assert pass_time(pool, 109.9) == []
    assert pass_time(pool, 110.0) == [start(2, "m1")]


def test_new_node_is_used_at_once_by_what_found_no_room() -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    submit(pool)
    pool.register(cpu_node())
    assert pool.history[-1][2] == [start(2, "m1")]


def test_context_without_work_starts_nothing() -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    ready(pool)
    finished(pool, lease=1)
    assert exited(pool, 1) == []


# --- eviction -------------------------------------------------------------------------------------


def test_idle_host_is_evicted_for_a_context_without_host_and_its_room_kept_for_it() -> None:
    pool = measured_pool(1.0)
    pool.declare("d", Requirements(cores=1.0))
    assert submit(pool, "d") == [evict(1, "m0")]
    assert submit(pool, "c") == []  # it may not take that room
    assert exited(pool, 1) == [start(2, "m0", "d")]


def test_busy_host_is_not_evicted_until_it_is_idle() -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    ready(pool)
    pool.declare("d", Requirements(cores=1.0))
    assert submit(pool, "d") == []
    assert finished(pool, lease=1) == [deliver(0), forget(0), evict(1, "m0")]


def test_context_with_a_host_evicts_only_hosts_idle_for_as_long_as_their_setup() -> None:
    pool = measured_pool(1.0, num_nodes=2, setup_s=10.0)
    pool.declare("d", Requirements(cores=1.0))
    submit(pool, "d")
    ready(pool, 2)
    finished(pool, lease=2)
    for _ in range(3):
        submit(pool, "d")
    assert pool.scheduler.cluster.contexts[ContextKey("d")].num_waiting == 1
    assert pass_time(pool, 9.9) == []
    assert pool.scheduler.next_deadline() == 10.0
    assert pass_time(pool, 10.0) == [evict(1, "m0")]
    assert exited(pool, 1) == [start(3, "m0", "d")]


def test_unmeasured_context_evicts_for_a_second_host_once_its_pieces_have_waited_long() -> None:
    pool = measured_pool(1.0, num_nodes=2, setup_s=10.0)
    pool.declare("d", Requirements(cores=1.0))
    submit(pool, "d")
    ready(pool, 2)
    submit(pool, "d")
    assert pass_time(pool, 9.9) == []
    assert pass_time(pool, 10.0) == [evict(1, "m0")]


def test_two_hosts_are_evicted_for_one_that_needs_both_their_places() -> None:
    pool = new_pool(cpu_node(2.0))
    submit(pool)
    submit(pool)
    ready(pool, 1)
    ready(pool, 2)
    finished(pool, lease=1)
    finished(pool, lease=2)
    pool.declare("d", Requirements(cores=2.0))
    assert submit(pool, "d") == [evict(1, "m0"), evict(2, "m0")]
    assert exited(pool, 2) == []
    assert exited(pool, 1) == [start(3, "m0", "d")]


def test_only_hosts_that_make_room_are_evicted() -> None:
    pool = FakePool(Random(0))
    pool.declare("c", Requirements(cores=1.0, gpus=1))
    pool.register(gpu_node(16, 80))
    for _ in range(2):
        submit(pool)
    ready(pool, 1)
    ready(pool, 2)
    finished(pool, lease=1)
    finished(pool, lease=2)
    pool.declare("large", Requirements(cores=1.0, gpus=1, gpu_memory_bytes=40 * GB))
    assert submit(pool, "large") == [evict(2, "m0")]


def test_promise_that_is_lost_with_its_node_is_made_up_for() -> None:
    pool = measured_pool(1.0)
    pool.declare("d", Requirements(cores=1.0))
    submit(pool, "d")
    assert lose(pool, "m0") == []
    pool.register(cpu_node())
    assert pool.history[-1][2] == [start(2, "m1", "d")]


def test_promised_node_that_is_lost_is_replaced_by_another_eviction() -> None:
    pool = new_pool(cpu_node(), cpu_node())
    submit(pool)
    submit(pool)
    ready(pool, 1)
    ready(pool, 2)
    finished(pool, lease=1)
    finished(pool, lease=2)
    pool.declare("d", Requirements(cores=1.0))
    assert submit(pool, "d") == [evict(1, "m0")]
    assert lose(pool, "m0") == [evict(2, "m1")]


# --- devices --------------------------------------------------------------------------------------


def started_devices(pool: FakePool, key: str) -> list[tuple[str, tuple[str, ...]]]:
    """Submit five tasks and return where hosts were started for them."""
    found = []
    for _ in range(5):
        for action in submit(pool, key):
            assert isinstance(action, actions.StartHost)
            found.append((str(action.manager_id), tuple(map(str, action.device_ids))))
    return found


def gpu_pool(requirements: Requirements, *gpu_gb: int, capability: float = 8.0) -> FakePool:
    pool = FakePool(Random(0))
    pool.declare("c", requirements)
    pool.register(gpu_node(*gpu_gb, capability=capability))
    return pool


def test_context_gets_whole_devices_unless_it_says_how_much_it_needs() -> None:
    pool = gpu_pool(Requirements(cores=1.0, gpus=1), 16, 16)
    assert started_devices(pool, "c") == [("m0", ("GPU-0",)), ("m0", ("GPU-1",))]


def test_contexts_share_a_device_that_has_memory_for_both() -> None:
    pool = gpu_pool(Requirements(cores=1.0, gpus=1, gpu_memory_bytes=8 * GB), 20)
    assert started_devices(pool, "c") == [("m0", ("GPU-0",)), ("m0", ("GPU-0",))]


def test_whole_device_is_not_given_where_part_of_it_is_taken() -> None:
    pool = gpu_pool(Requirements(cores=1.0, gpus=1, gpu_memory_bytes=GB), 16)
    submit(pool)
    pool.declare("whole", Requirements(cores=1.0, gpus=1))
    assert submit(pool, "whole") == []


def test_smallest_device_that_fits_is_taken() -> None:
    pool = gpu_pool(Requirements(cores=1.0, gpus=1, gpu_memory_bytes=10 * GB), 80, 16, 8)
    assert submit(pool) == [start(1, "m0", devices=("GPU-1",))]


def test_several_devices_of_one_node() -> None:
    pool = gpu_pool(Requirements(cores=1.0, gpus=2), 16, 16, 16)
    assert started_devices(pool, "c") == [("m0", ("GPU-0", "GPU-1"))]


def test_device_of_unknown_size_is_given_once() -> None:
    pool = gpu_pool(Requirements(cores=1.0, gpus=1), 0)
    assert started_devices(pool, "c") == [("m0", ("GPU-0",))]


def test_compute_capability_is_respected() -> None:
    pool = gpu_pool(Requirements(cores=1.0, gpus=1, min_compute_capability=8.0), 16, capability=8.0)
    pool.register(gpu_node(16, cores=64.0, capability=7.5))
    assert started_devices(pool, "c") == [("m0", ("GPU-0",))]


@pytest.mark.parametrize(
    ("requirements", "max_hosts", "expected"),
    [
        (Requirements(cores=1.0), None, 4),
        (Requirements(cores=1.5), None, 2),
        (Requirements(cores=1.0, host_memory_bytes=5 * GB), None, 3),
        (Requirements(cores=1.0), 1, 1),
    ],
)
def test_cores_memory_and_max_hosts_are_respected(
    requirements: Requirements, max_hosts: int | None, expected: int
) -> None:
    pool = FakePool(Random(0))
    pool.declare("c", requirements)
    more = {} if max_hosts is None else {"max_hosts": max_hosts}
    pool.register(cpu_node(4.0, memory_bytes=16 * GB, **more))
    assert len(started_devices(pool, "c")) == expected


def test_tenths_of_cores_add_up() -> None:
    pool = FakePool(Random(0))
    pool.declare("c", Requirements(cores=0.1))
    pool.register(cpu_node(0.5))
    assert len(started_devices(pool, "c")) == 5


def test_emptiest_node_is_taken_first() -> None:
    pool = FakePool(Random(0))
    pool.declare("c", Requirements(cores=1.0))
    pool.register(cpu_node(2.0))
    pool.register(cpu_node(3.0))
    assert [where for where, _ in started_devices(pool, "c")] == ["m1", "m0", "m1", "m0", "m1"]


# --- rest -----------------------------------------------------------------------------------------


def test_failed_start_frees_what_was_held_back_for_it() -> None:
    pool = measured_pool(1.0, num_nodes=2, setup_s=1.0)
    assert [submit(pool)[0] for _ in range(3)][:2] == [send(2, 1), send(3, 2)]
    assert pool.scheduler.cluster.contexts[ContextKey("c")].num_starting == 1
    assert finished_in(pool, 2, 1.0) == [deliver(1), forget(1)]
    assert setup_failed(pool, 2)[0] == send(4, task=3)


def test_host_dies_while_another_context_waits_for_its_room() -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    ready(pool)
    pool.declare("d", Requirements(cores=1.0))
    submit(pool, "d")
    assert exited(pool, 1) == [start(2, "m0")]


def test_pieces_revoked_for_a_task_that_was_cancelled_are_dropped() -> None:
    pool = measured_pool(1.0)
    submit(pool)
    submit(pool)
    pool.cancel(TaskId(2))
    assert pool.history[-1][2] == [revoke(3), forget(2)]
    assert pool.feed(events.LeaseRevoked(lease_id=LeaseId(3))) == []
    assert ManagerId("m0") in pool.scheduler.cluster.managers
