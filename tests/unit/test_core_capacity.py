"""Which way of a context is used where, and where there is room for it."""

from __future__ import annotations

from random import Random

import pytest

from parsl_pcm.core import actions
from parsl_pcm.core.capacity import Capacity, Place, could_hold
from parsl_pcm.core.cluster import Cluster
from parsl_pcm.core.memory import Held
from parsl_pcm.core.records import ContextRecord, HostRecord, ManagerRecord
from parsl_pcm.core.rooms import fit, returned, taken, ways_on, whole_room
from parsl_pcm.types import (
    BlockId,
    ContextKey,
    Device,
    DeviceId,
    HostId,
    ManagerId,
    NodeResources,
    Requirements,
    TaskId,
    Variant,
)
from tests.core_words import deliver, failures, finished, ready, start, submit
from tests.fakes import GB, FakePool, cpu_node, gpu_node


def context(*ways: Requirements) -> ContextRecord:
    """Return a context that can be built in these ways."""
    variants = tuple(
        Variant(name=f"v{number}", requirements=way) for number, way in enumerate(ways[1:], 1)
    )
    return ContextRecord(ContextKey("c"), "c", ways[0], variants)


def node(*names: str, cores: float = 8.0, memory_gb: int = 64) -> NodeResources:
    """Return a node with GPUs of 40 GB of these names; those of a T4 have 16 GB."""
    devices = tuple(
        Device(
            device_id=DeviceId(f"GPU-{index}"),
            kind="cuda",
            name=name,
            memory_bytes=(16 if "T4" in name else 40) * GB,
            compute_capability=7.5 if "T4" in name else 8.0,
        )
        for index, name in enumerate(names)
    )
    return NodeResources(cores=cores, memory_bytes=memory_gb * GB, devices=devices)


def gpu(memory_gb: float | None = None, gpus: int = 1, **more: object) -> Requirements:
    memory_bytes = None if memory_gb is None else int(memory_gb * GB)
    return Requirements(cores=1.0, gpus=gpus, gpu_memory_bytes=memory_bytes, **more)


CPU_WAY = Requirements(cores=1.0)
AMPERE = gpu(20, min_compute_capability=8.0)


def used(resources: NodeResources, *ways: Requirements) -> dict[int, list[int]]:
    """Return the ways that are used on a node, each with its devices."""
    return {way: list(positions) for way, positions in ways_on(whole_room(resources), ways)}


# --- ways -----------------------------------------------------------------------------------------


def test_device_belongs_to_the_first_way_that_it_matches() -> None:
    ways = AMPERE, gpu(10), CPU_WAY
    assert used(node("A100", "T4", "A100"), *ways) == {0: [0, 2], 1: [1]}
    assert used(node("T4"), *ways) == {1: [0]}
    assert used(node(), *ways) == {2: []}


def test_way_without_devices_takes_the_whole_node_from_those_behind_it() -> None:
    assert used(node("A100"), CPU_WAY, AMPERE) == {0: []}
    assert used(node("A100", cores=0.5), CPU_WAY, Requirements(cores=0.5, gpus=1)) == {1: [0]}


def test_way_that_needs_more_devices_than_match_leaves_them_to_the_next() -> None:
    ways = gpu(20, gpus=2), gpu(10)
    assert used(node("A100"), *ways) == {1: [0]}
    assert used(node("A100", "A100", "T4"), *ways) == {0: [0, 1], 1: [2]}


def test_way_that_needs_more_than_the_node_has_in_all_is_not_used_there() -> None:
    large = Requirements(cores=1.0, gpus=1, host_memory_bytes=100 * GB)
    assert used(node("A100"), large, CPU_WAY) == {1: []}
    assert used(node("A100", memory_gb=200), large, CPU_WAY) == {0: [0]}


@pytest.mark.parametrize(
    ("name", "is_right"),
    [("NVIDIA A100-SXM4-40GB", True), ("NVIDIA L4", True), ("Tesla T4", False), ("", True)],
)
def test_types_of_devices_are_parts_of_their_names(name: str, is_right: bool) -> None:
    assert used(node(name), gpu(gpu_types=("a100", "l4"))) == ({0: [0]} if is_right else {})


def test_what_is_free_does_not_decide_which_way_is_used() -> None:
    two_ways = context(AMPERE, gpu(1))
    room = whole_room(node("A100"))
    place = fit(room, two_ways)
    assert place is not None
    assert place.variant == 0
    assert fit(taken(room, place.claim, (0,)), two_ways) is None  # 20 of 40 GB, and the reserve


# --- the scheduler and ways -----------------------------------------------------------------------


def test_each_node_builds_its_own_variant_and_results_tell_which() -> None:
    pool = FakePool(Random(0))
    pool.declare("c", AMPERE, gpu(10, max_concurrency=2), CPU_WAY)
    for resources in (node("T4", cores=1.0), node("A100", cores=1.0)):
        pool.register(resources)
    assert submit(pool) == [start(1, "m1", devices=("GPU-0",))]
    assert submit(pool) == [start(2, "m0", devices=("GPU-0",), variant=1)]
    ready(pool, 2)
    assert finished(pool, 1)[0] == deliver(0, variant=1)
    hosts = pool.scheduler.cluster.hosts
    assert hosts[HostId(2)].requirements.max_concurrency == 2
    assert [host.device_kind for host in hosts.values()] == ["A100", "T4 (v1)"]


def test_context_fails_only_if_none_of_its_ways_fits_any_node() -> None:
    pool = FakePool(Random(0))
    pool.declare("c", gpu(80), gpu(gpus=4))
    pool.register(node("A100"))
    (failure,) = failures(submit(pool))
    assert "needs 1 GPU(s) with 80.0 GB each, 1 core(s), or 4 GPU(s), 1 core(s) ('v1'), but" in (
        failure.message
    )
    assert "1 GPU(s) of up to 40.0 GB" in failure.message
    pool.declare("d", gpu(80), CPU_WAY)
    assert submit(pool, "d") == [start(1, "m0", "d", variant=1)]


def test_gang_gets_devices_of_one_node() -> None:
    pool = FakePool(Random(0))
    pool.declare("c", gpu(gpus=2))
    pool.register(node("A100"))
    pool.register(node("A100"))
    task_id = TaskId(0)
    assert [type(action) for action in submit(pool)] == [actions.ForgetTask, actions.FailTask]
    assert pool.ended[task_id] == "does_not_fit"
    pool.register(node("A100", "A100", "A100"))
    assert submit(pool) == [start(1, "m2", devices=("GPU-0", "GPU-1"))]


# --- room -----------------------------------------------------------------------------------------


def cluster_of(*nodes: NodeResources) -> Cluster:
    cluster = Cluster()
    for number, resources in enumerate(nodes):
        manager = ManagerRecord(ManagerId(f"m{number}"), BlockId("0"), resources, 0.0)
        cluster.add_manager(manager)
    return cluster


def placed(cluster: Cluster, what: ContextRecord) -> HostRecord:
    place = cluster.capacity.find(what)
    assert place is not None
    return cluster.add_host(what, place)


def where(place: Place | None) -> str | None:
    return None if place is None else place.manager.manager_id


def test_emptiest_node_is_taken_unless_a_rank_says_otherwise() -> None:
    capacity = cluster_of(node("T4"), node("A100")).capacity
    small = context(gpu(1))
    assert where(capacity.find(small)) == "m1"
    assert where(capacity.find(small, rank={"T4": 1.0, "A100": 2.0}.__getitem__)) == "m0"
    assert where(capacity.find(small, lambda m: m.manager_id != "m1")) == "m0"
    assert where(capacity.find(context(gpu(99)), rank=lambda kind: 0.0)) is None


def test_rank_is_asked_with_the_kind_that_the_host_will_have() -> None:
    capacity, kinds = cluster_of(node("T4"), node("A100", "A100")).capacity, []
    two_ways = context(gpu(20, gpus=2), gpu(1))
    capacity.find(two_ways, rank=lambda kind: kinds.append(kind) or 0.0)
    assert sorted(kinds) == ["A100, A100", "T4 (v1)"]


def test_victims_are_the_first_of_one_node_that_make_room_and_no_more() -> None:
    cluster = cluster_of(node("A100", "A100"), node("A100"))
    hosts = [placed(cluster, context(gpu(30))) for _ in range(3)]
    gang, small = context(gpu(12, gpus=2)), context(gpu(12))
    on_m0 = [host for host in hosts if host.manager.manager_id == "m0"]
    assert set(cluster.capacity.find_victims(hosts, gang)) == set(on_m0)
    assert cluster.capacity.find_victims(reversed(on_m0), small) == [on_m0[-1]]
    assert cluster.capacity.find_victims(on_m0[:1], gang) == []


def test_sleeping_host_fits_back_when_its_own_devices_have_room() -> None:
    cluster = cluster_of(node("A100", "A100"))
    what = context(gpu(25, can_sleep=True))
    sleeper = placed(cluster, what)
    cluster.host_ready(sleeper, 0.0)
    cluster.host_dozing(sleeper)
    assert cluster.host_asleep(sleeper, Held(GB, 5 * GB)) is None
    assert sleeper.claim.cores == 0.0
    assert cluster.capacity.fits_back(sleeper)
    other = placed(cluster, context(gpu()))
    assert set(other.device_positions).isdisjoint(sleeper.device_positions)
    sharing = placed(cluster, context(gpu(12)))
    assert sharing.device_positions == sleeper.device_positions
    assert cluster.capacity.fits_back(sleeper)
    another = placed(cluster, context(gpu(12)))
    assert not cluster.capacity.fits_back(sleeper)
    cluster.remove_host(another, 0.0)
    cluster.host_waking(sleeper)
    assert sleeper.claim == sleeper.awake_claim


@pytest.mark.parametrize(("rest_gb", "is_room"), [(2, True), (3, False)])
def test_host_that_wants_a_device_to_itself_goes_where_little_is_left_of_a_sleeper(
    rest_gb: int, is_room: bool
) -> None:
    cluster = cluster_of(node("A100"))
    sleeper = placed(cluster, context(gpu(can_sleep=True)))
    cluster.host_ready(sleeper, 0.0)
    cluster.host_dozing(sleeper)
    cluster.host_asleep(sleeper, Held(rest_gb * GB, GB))
    whole = context(gpu())
    assert (cluster.capacity.find(whole) is not None) == is_room
    if is_room:
        placed(cluster, whole)
        assert not cluster.capacity.is_overdrawn(sleeper)
        assert not cluster.capacity.fits_back(sleeper)
        assert cluster.capacity.find(context(gpu(1))) is None
        assert cluster.capacity.find(whole) is None


def test_claims_that_are_returned_leave_the_room_as_it_was() -> None:
    room = whole_room(gpu_node(40, 40))
    for what in (context(gpu()), context(gpu(7, gpus=2)), context(CPU_WAY)):
        place = fit(room, what)
        assert place is not None
        spot = place.claim, place.device_positions
        assert returned(taken(room, *spot), *spot) == room


def test_host_fits_no_more_where_more_memory_was_measured_than_there_is() -> None:
    what = context(gpu(10))
    whole = whole_room(node("A100"))
    room = taken(whole, fit(whole, context(gpu(20))).claim, (0,))
    assert fit(room, what) is not None
    what.memory.add(0, ["A100"], Held(gpu_memory_bytes=30 * GB))
    assert fit(room, what) is None
    assert fit(whole, what).claim.gpu_memory_bytes >= 30 * GB


def test_what_a_node_could_hold_does_not_depend_on_what_it_holds() -> None:
    cluster = cluster_of(cpu_node())
    host = placed(cluster, context(CPU_WAY))
    assert cluster.capacity.find(context(CPU_WAY)) is None
    assert could_hold(host.manager, context(CPU_WAY))
    assert not could_hold(host.manager, context(gpu()))


def test_nothing_is_impossible_while_no_node_is_known() -> None:
    assert Capacity().could_ever_fit(context(gpu(99)))
    assert not Capacity([node("A100")]).could_ever_fit(context(gpu(99)))
    assert Capacity([node("A100")]).could_ever_fit(context(gpu(99), gpu(9)))
