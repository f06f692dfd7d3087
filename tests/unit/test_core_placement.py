"""Where contexts live: who gets a host, whose host leaves, who sleeps and wakes up."""

from __future__ import annotations

from random import Random

import pytest
from msgspec import structs

from parsl_pcm.core import actions, events
from parsl_pcm.core.actions import Action
from parsl_pcm.types import (
    ContextKey,
    HostId,
    ManagerId,
    NodeResources,
    Requirements,
    TaskId,
)
from tests.core_words import (
    deliver,
    evict,
    exited,
    finished,
    forget,
    new_pool,
    ready,
    revoke,
    revoked,
    send,
    start,
    stop,
    submit,
)
from tests.fakes import GB, FakePool, cpu_node, gpu_node

ONE_CORE = Requirements(cores=1.0)
SLEEPER = Requirements(cores=1.0, gpus=1, gpu_memory_bytes=10 * GB, can_sleep=True)
WHOLE_GPU = Requirements(cores=1.0, gpus=1)


def pool_of(needs: dict[str, Requirements], *nodes: NodeResources) -> FakePool:
    """Return a pool that knows these contexts, with nodes named m0, m1, ..."""
    pool = FakePool(Random(0))
    for name, requirements in needs.items():
        pool.declare(name, requirements)
    for node in nodes:
        pool.register(node)
    return pool


def sleep(host: int, manager: str = "m0") -> Action:
    return actions.SleepHost(manager_id=ManagerId(manager), host_id=HostId(host))


def wake(host: int, manager: str = "m0") -> Action:
    return actions.WakeHost(manager_id=ManagerId(manager), host_id=HostId(host))


def asleep(pool: FakePool, host: int, host_memory_bytes: int = GB) -> list[Action]:
    return pool.feed(
        events.HostAsleep(host_id=HostId(host), sleep_s=1.0, host_memory_bytes=host_memory_bytes)
    )


def awake(pool: FakePool, host: int, wake_s: float = 1.0) -> list[Action]:
    return pool.feed(events.HostAwake(host_id=HostId(host), wake_s=wake_s))


def warm(pool: FakePool, key: str, num_hosts: int) -> list[Action]:
    return pool.feed(events.WarmRequested(context_key=ContextKey(key), num_hosts=num_hosts))


def evict_context(pool: FakePool, key: str) -> list[Action]:
    return pool.feed(events.EvictRequested(context_key=ContextKey(key)))


def wait(pool: FakePool, until: float) -> list[Action]:
    """Let time pass, with signs of life of all managers; return what was decided meanwhile."""
    num_before = len(pool.history)
    while pool.now < until:
        pool.let_time_pass(min(20.0, until - pool.now))
    return [action for _, _, decided in pool.history[num_before:] for action in decided]


def leaving(pool: FakePool) -> list[str]:
    """Return the contexts of hosts that are about to leave."""
    hosts = pool.scheduler.cluster.hosts.values()
    return [host.context.name for host in hosts if host.promised_to is not None]


def serve_one(pool: FakePool, key: str, host: int, lease: int, setup_s: float = 10.0) -> None:
    """Let a context start a host and do a piece of 1 s there."""
    submit(pool, key)
    ready(pool, host, setup_s)
    finished(pool, lease, run_s=1.0)


def busy_pool(num_nodes: int = 1, num_pieces: int = 40) -> FakePool:
    """Return a pool in which hosts of c, loaded in 10 s, have work to do; d is known too."""
    pool = new_pool(*[cpu_node()] * num_nodes)
    pool.declare("d", ONE_CORE)
    for _ in range(num_pieces):
        submit(pool, "c")
    for host in range(1, num_nodes + 1):
        ready(pool, host, 10.0)
    return pool


# --- need -----------------------------------------------------------------------------------------


def test_new_node_goes_to_better_priority_then_to_a_context_without_host_then_to_the_longest_work(
) -> None:  # fmt: skip
    names = ["has host", "short", "long", "urgent"]
    pool = pool_of(dict.fromkeys(names, ONE_CORE), cpu_node())
    submit(pool, "has host", 50)
    submit(pool, "short", 2)
    submit(pool, "long", 30)
    submit(pool, "urgent", 1, priority=-1)
    started = []
    for number in range(1, 4):
        pool.register(cpu_node())
        (action,) = pool.history[-1][2]
        assert isinstance(action, actions.StartHost)
        assert action.manager_id == f"m{number}"
        started.append(action.context_key)
    assert started == ["urgent", "short", "long"]  # both without host; submitted in this order


def test_room_on_a_large_node_is_shared_by_need_and_not_by_order_of_arrival() -> None:
    pool = pool_of({"c": ONE_CORE, "d": ONE_CORE})
    for _ in range(6):
        submit(pool, "c")
    for _ in range(3):
        submit(pool, "d")
    pool.register(cpu_node(3.0))
    started = [a.context_key for a in pool.history[-1][2] if isinstance(a, actions.StartHost)]
    assert started == ["c", "d", "c"]


def named_node(name: str, num_gpus: int = 1, cores: float = 8.0) -> NodeResources:
    node = gpu_node(*[16] * num_gpus, cores=cores)
    devices = tuple(structs.replace(device, name=name) for device in node.devices)
    return structs.replace(node, devices=devices)


def test_host_starts_on_the_devices_on_which_its_items_are_fastest() -> None:
    pool = pool_of({"c": WHOLE_GPU}, named_node("A2, slow"), named_node("H100, fast"))
    submit(pool, "c")
    submit(pool, "c")
    ready(pool, 1)
    ready(pool, 2)
    finished(pool, 1, run_s=10.0)
    finished(pool, 2, run_s=1.0)
    exited(pool, 1)
    exited(pool, 2)
    assert warm(pool, "c", 1) == [start(3, "m1", devices=("GPU-0",))]


# --- turns ----------------------------------------------------------------------------------------
# A quantum is four times the load of c (10 s, measured) and that of d (5 s, assumed): 60 s.


def test_context_without_host_gets_its_turn_after_a_quantum() -> None:
    pool = busy_pool()
    assert submit(pool, "d") == []
    assert wait(pool, 59.9) == []
    assert wait(pool, 60.1) == []  # c runs a piece to its end
    assert finished(pool, 1) == [deliver(0), forget(0), evict(1, "m0")]
    assert exited(pool, 1) == [start(2, "m0", "d")]


def test_host_that_leaves_gives_back_what_waits_there() -> None:
    pool = busy_pool()
    finished(pool, 1, run_s=1.0)
    submit(pool, "d")
    assert wait(pool, 61.0) == [revoke(3)]
    assert revoked(pool, 3) == []
    assert finished(pool, 2) == [deliver(1), forget(1), evict(1, "m0")]


def test_turn_of_a_context_lasts_a_quantum() -> None:
    pool = busy_pool()
    for _ in range(40):
        submit(pool, "d")
    wait(pool, 61.0)
    finished(pool, 1)
    exited(pool, 1)
    ready(pool, 2, 10.0)  # a quantum is 80 s now that both are measured
    assert wait(pool, 140.0) == []
    assert leaving(pool) == []
    wait(pool, 155.0)
    assert finished(pool, 2)[-1] == evict(2, "m0")
    assert exited(pool, 2) == [start(3, "m0")]


def test_better_priority_does_not_wait_for_its_turn() -> None:
    pool = busy_pool()
    assert submit(pool, "d", priority=-1) == []
    assert finished(pool, 1)[-1] == evict(1, "m0")


def test_worse_priority_waits_ten_times_as_long() -> None:
    pool = busy_pool()
    submit(pool, "d", priority=1)
    wait(pool, 599.0)
    assert leaving(pool) == []
    wait(pool, 606.0)
    assert leaving(pool) == ["c"]


def test_idle_host_is_taken_at_once_but_not_in_turn_for_every_call() -> None:
    pool = new_pool(cpu_node())
    pool.declare("d", ONE_CORE)
    serve_one(pool, "c", host=1, lease=1)
    assert submit(pool, "d") == [evict(1, "m0")]
    exited(pool, 1)
    ready(pool, 2, 10.0)
    finished(pool, 2, run_s=1.0)
    assert submit(pool, "c") == []  # it gave its host away just now
    assert wait(pool, pool.now + 9.9) == []
    assert wait(pool, pool.now + 0.2) == [evict(2, "m0")]  # idle for as long as it loads


def test_host_that_leaves_stays_if_nobody_needs_its_place_any_more() -> None:
    pool = busy_pool()
    submit(pool, "d")
    wait(pool, 61.0)
    assert leaving(pool) == ["c"]
    pool.cancel(TaskId(40))
    assert finished(pool, 1)[:3] == [deliver(0), forget(0), send(2, 1)]


# --- balance --------------------------------------------------------------------------------------


def test_context_without_host_gets_one_of_several_at_once() -> None:
    pool = busy_pool(num_nodes=3)
    submit(pool, "d")
    assert leaving(pool) == ["c"]
    assert evict(1, "m0") in finished(pool, 1)


def test_hosts_that_have_hardly_begun_to_start_are_given_to_who_has_none() -> None:
    pool = new_pool(cpu_node(4.0))
    pool.declare("d", ONE_CORE)
    for _ in range(4):
        submit(pool, "c")
    assert submit(pool, "d") == [evict(1, "m0")]
    assert exited(pool, 1) == [start(5, "m0", "d")]


def test_hosts_that_have_been_starting_for_long_are_not_ended() -> None:
    pool = new_pool(cpu_node(4.0))
    pool.declare("d", ONE_CORE)
    for _ in range(4):
        submit(pool, "c")
    wait(pool, 2.0)
    assert submit(pool, "d") == []
    assert wait(pool, 9.0) == []
    assert ready(pool, 1, 9.0) == [send(1, task=0)]


def test_context_that_ends_much_later_gets_hosts_of_one_that_ends_sooner() -> None:
    pool = new_pool(*[cpu_node()] * 4)
    pool.declare("d", ONE_CORE)
    for key in ("c", "c", "c", "d"):
        submit(pool, key)
    for host in (1, 2, 3, 4):
        ready(pool, host, 10.0)
    for lease in (1, 2, 3, 4):
        finished(pool, lease, run_s=1.0)
    pool.submit_map(ContextKey("c"), 100)
    pool.submit_map(ContextKey("d"), 200)
    assert leaving(pool) == ["c"]  # 50 s and 105 s from now, not 33 s and 200 s


def test_context_that_ends_a_little_later_gets_no_host_of_another() -> None:
    pool = new_pool(cpu_node(), cpu_node(), cpu_node())
    pool.declare("d", ONE_CORE)
    for key in ("c", "c", "d"):
        submit(pool, key)
    for host in (1, 2, 3):
        ready(pool, host, 10.0)
    for lease in (1, 2, 3):
        finished(pool, lease, run_s=1.0)
    pool.submit_map(ContextKey("c"), 200)
    pool.submit_map(ContextKey("d"), 120)
    assert leaving(pool) == []
    wait(pool, 30.0)
    assert leaving(pool) == []


# --- gangs ----------------------------------------------------------------------------------------


def test_all_devices_of_a_gang_are_reclaimed_together_and_kept_for_it() -> None:
    pool = pool_of(
        {"small": WHOLE_GPU, "gang": Requirements(cores=1.0, gpus=2), "other": WHOLE_GPU},
        gpu_node(16, 16),
    )
    for _ in range(20):
        submit(pool, "small")
    ready(pool, 1)
    ready(pool, 2)
    submit(pool, "gang")
    wait(pool, 61.0)
    assert all(host.is_leaving for host in pool.scheduler.cluster.hosts.values())
    assert finished(pool, 1)[-1] == evict(1, "m0")
    submit(pool, "other")
    assert exited(pool, 1) == []  # nobody else gets this device
    assert finished(pool, 2)[-1] == evict(2, "m0")
    assert exited(pool, 2) == [start(3, "m0", "gang", ("GPU-0", "GPU-1"))]


@pytest.mark.parametrize("num_gpus", [2, 3, 4])
def test_gangs_that_wait_for_the_same_devices_all_get_them(num_gpus: int) -> None:
    gang = Requirements(cores=1.0, gpus=2)
    pool = pool_of({"g": gang, "h": gang, "small": WHOLE_GPU}, gpu_node(*[16] * num_gpus))
    for _ in range(10):
        for name in ("small", "g", "h"):
            submit(pool, name)
    for _ in range(3000):
        if len(pool.ended) == 30:
            break
        pool.go_on()
        pool.let_time_pass(1.0)
    assert len(pool.ended) == 30


# --- eviction -------------------------------------------------------------------------------------


def test_host_that_is_cheap_to_load_again_or_long_unused_is_evicted_first() -> None:
    pool = pool_of(dict.fromkeys(["dear", "cheap", "new"], ONE_CORE), cpu_node(2.0))
    serve_one(pool, "dear", host=1, lease=1, setup_s=100.0)
    pool.now = 10.0
    serve_one(pool, "cheap", host=2, lease=2, setup_s=5.0)
    pool.now = 20.0
    assert submit(pool, "new") == [evict(2, "m0")]  # 100 s / 20 s against 5 s / 10 s


def test_host_is_kept_warm_for_as_long_as_its_context_wants() -> None:
    needs = {"kept": Requirements(cores=1.0, keep_warm_s=300.0), "new": ONE_CORE}
    pool = pool_of(needs, cpu_node())
    serve_one(pool, "kept", host=1, lease=1)
    submit(pool, "new")
    for _ in range(29):
        assert wait(pool, pool.now + 10.0) == []
    assert wait(pool, 301.0) == [evict(1, "m0")]


# --- sleep ----------------------------------------------------------------------------------------


def sleepy_pool(**more: int) -> FakePool:
    """Return a pool with an idle host of c, which can sleep, on a GPU that holds no other."""
    pool = pool_of({"c": SLEEPER, "d": SLEEPER}, gpu_node(16, **more))
    serve_one(pool, "c", host=1, lease=1)
    return pool


def test_idle_host_sleeps_to_make_room_and_wakes_up_when_there_is_room_again() -> None:
    pool = sleepy_pool()
    assert submit(pool, "d") == [sleep(1)]
    assert asleep(pool, 1) == [start(2, "m0", "d", ("GPU-0",))]
    ready(pool, 2)
    finished(pool, 2, run_s=1.0)
    wait(pool, 20.0)
    assert submit(pool, "c") == [sleep(2)]
    assert asleep(pool, 2) == [wake(1)]
    assert awake(pool, 1) == [send(3, task=2)]


def test_room_is_made_where_the_newcomer_sleeps() -> None:
    pool = pool_of({"c": SLEEPER, "d": SLEEPER, "other": SLEEPER}, gpu_node(16))
    serve_one(pool, "c", host=1, lease=1)
    submit(pool, "d")
    asleep(pool, 1)
    ready(pool, 2)
    finished(pool, 2, run_s=1.0)
    pool.register(gpu_node(16))
    serve_one(pool, "other", host=3, lease=3, setup_s=0.1)
    wait(pool, 20.0)
    assert submit(pool, "c") == [sleep(2)]  # not host 3, though it is worth less
    assert asleep(pool, 2) == [wake(1)]


def test_sleeping_host_that_cannot_wake_before_a_new_one_starts_is_not_waited_for() -> None:
    pool = sleepy_pool()
    submit(pool, "d")
    asleep(pool, 1)
    pool.register(gpu_node(16))
    assert submit(pool, "c") == [start(3, "m1", devices=("GPU-0",))]


def test_host_is_ended_where_main_memory_does_not_hold_it_asleep() -> None:
    needs = structs.replace(SLEEPER, host_memory_bytes=40 * GB)
    pool = pool_of({"c": needs, "d": needs}, gpu_node(16))
    serve_one(pool, "c", host=1, lease=1)
    assert submit(pool, "d") == [evict(1, "m0")]


def test_sleeping_host_is_ended_where_its_main_memory_is_needed() -> None:
    pool = sleepy_pool()
    submit(pool, "d")
    asleep(pool, 1, host_memory_bytes=30 * GB)
    ready(pool, 2)
    pool.declare("large", Requirements(cores=1.0, host_memory_bytes=50 * GB))
    assert submit(pool, "large") == [evict(1, "m0")]
    assert exited(pool, 1) == [start(3, "m0", "large")]


# --- what people want -----------------------------------------------------------------------------


def test_warm_hosts_are_started_as_far_as_there_is_room() -> None:
    pool = new_pool(cpu_node(2.0))
    assert warm(pool, "c", 3) == [start(1, "m0"), start(2, "m0")]
    pool.register(cpu_node(2.0))
    assert pool.history[-1][2] == [start(3, "m1")]


def test_warm_host_that_dies_is_replaced() -> None:
    pool = new_pool(cpu_node())
    warm(pool, "c", 1)
    ready(pool, 1)
    assert start(2, "m0") in exited(pool, 1)


def test_host_that_is_held_warm_goes_last_and_comes_back() -> None:
    pool = pool_of(dict.fromkeys(["held", "idle", "new"], ONE_CORE), cpu_node(2.0))
    warm(pool, "held", 1)
    ready(pool, 1)
    serve_one(pool, "idle", host=2, lease=1)
    wait(pool, 100.0)
    assert submit(pool, "new") == [evict(2, "m0")]
    exited(pool, 2)
    ready(pool, 3)
    assert submit(pool, "idle") == [evict(1, "m0")]
    exited(pool, 1)
    ready(pool, 4)
    finished(pool, 3)
    assert wait(pool, 300.0) == [evict(4, "m0")]
    assert exited(pool, 4) == [start(5, "m0", "held")]


def test_two_contexts_that_shall_be_warm_do_not_take_turns_without_work() -> None:
    pool = pool_of({"c": ONE_CORE, "d": ONE_CORE}, cpu_node())
    warm(pool, "c", 1)
    ready(pool, 1)
    assert warm(pool, "d", 1) == []
    assert [a for until in range(10, 2000, 50) for a in wait(pool, until)] == []


def test_evicted_context_ends_its_idle_hosts_now_and_the_others_when_they_are_idle() -> None:
    pool = new_pool(cpu_node(2.0))
    submit(pool)
    submit(pool)
    ready(pool, 1)
    ready(pool, 2)
    finished(pool, 1)
    assert evict_context(pool, "c") == [evict(1, "m0")]
    assert finished(pool, 2) == [deliver(1), forget(1), stop(2, "m0")]


def test_evicted_context_that_sleeps_is_ended() -> None:
    pool = sleepy_pool()
    submit(pool, "d")
    asleep(pool, 1)
    assert evict_context(pool, "c") == [evict(1, "m0")]
