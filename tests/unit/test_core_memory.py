"""Memory in bytes: what hosts claim, what was measured, and that nothing is given away twice."""

from __future__ import annotations

import msgspec

from parsl_pcm.core import actions, events
from parsl_pcm.core.actions import Action
from parsl_pcm.core.memory import (
    GRAIN_BYTES,
    Claim,
    Held,
    MeasuredMemory,
    claim_asleep,
    claim_awake,
)
from parsl_pcm.core.records import HostRecord
from parsl_pcm.core.rooms import Room
from parsl_pcm.types import HostId, ManagerId, NodeResources, Requirements
from tests.core_words import (
    deliver,
    evict,
    finished,
    forget,
    new_pool,
    ready,
    start,
    submit,
    troubles,
)
from tests.fakes import GB, FakePool, cpu_node, gpu_node

SHARING = Requirements(cores=1.0, gpus=1, gpu_memory_bytes=10 * GB)


def measured(pool: FakePool, host: int, gpu_gb: float = 0, host_gb: float = 0) -> list[Action]:
    return pool.feed(
        events.HostMeasured(
            host_id=HostId(host),
            gpu_memory_bytes=int(gpu_gb * GB),
            host_memory_bytes=int(host_gb * GB),
        )
    )


def room(pool: FakePool, manager: str = "m0") -> Room:
    cluster = pool.scheduler.cluster
    return cluster.capacity.room(cluster.managers[ManagerId(manager)])


def host(pool: FakePool, host_id: int) -> HostRecord:
    return pool.scheduler.cluster.hosts[HostId(host_id)]


def num_hosts(pool: FakePool) -> int:
    return len(pool.scheduler.cluster.hosts)


# --- claims ---------------------------------------------------------------------------------------


def test_claim_is_what_was_declared_or_measured_if_that_is_more() -> None:
    assert claim_awake(SHARING, Held()) == Claim(1.0, 0, 10 * GB, 1)
    assert claim_awake(SHARING, Held(12 * GB, GB)) == Claim(1.0, GB, 12 * GB, 1)
    assert claim_awake(SHARING, Held(8 * GB, GB)) == Claim(1.0, GB, 10 * GB, 1)


def test_undeclared_device_memory_is_all_of_the_device_whatever_is_measured() -> None:
    assert claim_awake(Requirements(cores=1.0, gpus=1), Held(GB, 0)).gpu_memory_bytes is None


def test_sleeping_host_claims_memory_alone() -> None:
    needs = Requirements(cores=1.0, gpus=1, host_memory_bytes=4 * GB)
    assert claim_asleep(needs, Held(GB, 2 * GB)) == Claim(0.0, 4 * GB, GB, 0)


def test_measured_memory_is_kept_by_variant_and_device_and_rounded_up() -> None:
    memory = MeasuredMemory()
    memory.add(0, ["a100"], Held(10 * GB + 1, 0))
    memory.add(0, ["a100", "a100"], Held(9 * GB, GRAIN_BYTES))
    memory.add(1, ["a100"], Held(GRAIN_BYTES, 0))
    memory.add(0, ["t4"], Held(20 * GB, 0))
    most = memory.on(0, "a100")
    assert 10 * GB < most.gpu_memory_bytes < 10 * GB + GRAIN_BYTES
    assert most.host_memory_bytes == GRAIN_BYTES
    assert memory.on(1, "a100") == Held(GRAIN_BYTES, 0)
    assert memory.on_all(0, ["a100", "t4"]).gpu_memory_bytes > 20 * GB
    assert memory.on(0, "h100") == Held()


# --- devices --------------------------------------------------------------------------------------


def test_device_holds_as_many_hosts_as_fit_with_the_reserve() -> None:
    pool = new_pool(gpu_node(41), needs=SHARING)
    submit(pool, num_items=9)
    assert num_hosts(pool) == 4
    pool = new_pool(gpu_node(40), needs=SHARING)  # four of 10 GB would leave nothing of 40
    submit(pool, num_items=9)
    assert num_hosts(pool) == 3


def test_host_that_is_alone_may_have_all_of_its_device() -> None:
    pool = new_pool(gpu_node(10), needs=SHARING)
    assert submit(pool) == [start(1, "m0", devices=("GPU-0",))]


def test_hosts_are_spread_over_equal_devices() -> None:
    pool = new_pool(gpu_node(40, 40), needs=SHARING)
    submit(pool, num_items=3)
    assert [each.device_positions for each in pool.scheduler.cluster.hosts.values()] == [
        (0,), (1,), (0,),
    ]  # fmt: skip


def test_small_devices_are_used_before_large_ones() -> None:
    pool = new_pool(gpu_node(80, 16), needs=SHARING)
    submit(pool, num_items=2)
    assert [each.device_positions for each in pool.scheduler.cluster.hosts.values()] == [(1,), (0,)]


def test_later_hosts_reckon_with_what_earlier_ones_were_measured_to_hold() -> None:
    pool = new_pool(gpu_node(41), needs=SHARING)
    submit(pool)
    pool.feed(events.HostReady(host_id=HostId(1), setup_s=1.0, gpu_memory_bytes=15 * GB))
    submit(pool, num_items=9)
    assert num_hosts(pool) == 2  # a third of 15 GB does not fit
    assert all(host(pool, n).claim.gpu_memory_bytes > 15 * GB for n in (1, 2))


def test_what_was_measured_on_one_kind_of_device_says_nothing_of_others() -> None:
    pool = new_pool(gpu_node(41), needs=SHARING)
    submit(pool)
    pool.feed(events.HostReady(host_id=HostId(1), setup_s=1.0, gpu_memory_bytes=30 * GB))
    (device,) = gpu_node(41).devices
    another = (msgspec.structs.replace(device, name="another"),)
    pool.register(NodeResources(cores=8.0, memory_bytes=64 * GB, devices=another))
    submit(pool, num_items=9)
    assert [each.manager.manager_id for each in pool.scheduler.cluster.hosts.values()] == [
        "m0", "m1", "m1", "m1", "m1",
    ]  # fmt: skip


def pool_of_two() -> FakePool:
    """Return a pool of one node of 16 GB in which c lives in host 1 and d in host 2; d works."""
    pool = new_pool(cpu_node(cores=8.0, memory_bytes=16 * GB))
    pool.declare("d", Requirements(cores=1.0))
    for number, key in enumerate("cd", start=1):
        submit(pool, key)
        ready(pool, number)
    finished(pool, 1)
    return pool


def test_host_without_work_is_ended_where_more_is_held_than_there_is() -> None:
    pool = pool_of_two()
    assert measured(pool, 1, host_gb=9) == []
    told, ended = measured(pool, 2, host_gb=9)
    assert isinstance(told, actions.TellTrouble)
    assert ended == evict(1, "m0")
    assert measured(pool, 2, host_gb=10) == []  # what is about to end counts no more


def test_host_with_work_is_ended_when_it_has_done_that_where_more_is_held_than_there_is() -> None:
    pool = pool_of_two()
    submit(pool, "c")
    measured(pool, 1, host_gb=9)
    assert [type(action) for action in measured(pool, 2, host_gb=9)] == [actions.TellTrouble]
    assert finished(pool, 2) == [deliver(1), forget(1), evict(2, "m0")]
    assert finished(pool, 3) == [deliver(2), forget(2)]


def test_measurement_beyond_the_device_is_recorded_told_once_and_ends_no_work() -> None:
    pool = new_pool(gpu_node(41), needs=SHARING)
    submit(pool, num_items=4)
    for number in range(1, 5):
        ready(pool, number)
    assert measured(pool, 1, gpu_gb=10.5) == []
    (told,) = troubles(measured(pool, 2, gpu_gb=14))
    assert told.startswith(
        "hosts on node m0 hold more memory than it has for them: one of context 'c' holds 14.0 GB "
        "on each of its devices and 0.0 GB of main memory. No other host is placed there, and "
        "such as have no work are ended."
    )
    assert measured(pool, 3, gpu_gb=15) == []
    assert room(pool).devices[0].free_bytes < 0
    assert num_hosts(pool) == 4


def test_measurement_never_makes_a_context_impossible() -> None:
    pool = new_pool(cpu_node(memory_bytes=16 * GB))
    submit(pool)
    ready(pool)
    measured(pool, 1, host_gb=15.999)
    pool.feed(events.HostExited(host_id=HostId(1), description="killed"))
    assert num_hosts(pool) == 1
    pool.register(cpu_node(memory_bytes=8 * GB))
    submit(pool)
    assert host(pool, 3).manager.manager_id == "m1"


def test_measured_memory_of_nodes_bounds_their_hosts_though_none_was_declared() -> None:
    pool = new_pool(cpu_node(cores=8.0, memory_bytes=16 * GB))
    submit(pool)
    ready(pool)
    measured(pool, 1, host_gb=5)
    submit(pool, num_items=20)
    assert num_hosts(pool) == 3


def test_late_measurement_of_a_host_that_is_gone_changes_nothing() -> None:
    assert measured(new_pool(gpu_node(41)), 7, gpu_gb=1) == []
