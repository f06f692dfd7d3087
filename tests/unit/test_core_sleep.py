"""Contexts that sleep, wake up, and do not; hosts that are kept warm or evicted."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from parsl_pcm.core import actions, events
from parsl_pcm.core.actions import Action
from parsl_pcm.core.records import ContextRecord, HostRecord
from parsl_pcm.core.transitions import HostState
from parsl_pcm.types import ContextKey, HostId, ManagerId, Requirements
from tests.core_words import (
    deliver,
    dismiss,
    evict,
    exited,
    finished,
    forget,
    hold,
    lose,
    pass_time,
    quietly,
    ready,
    send,
    setup_failed,
    start,
    stop,
    submit,
    take_back,
    troubles,
)
from tests.fakes import GB, FakePool, gpu_node

LATER = 1000.0
"""When a context that gave way at 0.0 may come back, however soon the other one is called again."""
SLEEPING = Requirements(cores=1.0, gpus=1, gpu_memory_bytes=30 * GB, can_sleep=True)


def sleep(host: int, manager: str = "m0") -> Action:
    return actions.SleepHost(manager_id=ManagerId(manager), host_id=HostId(host))


def wake(host: int, manager: str = "m0") -> Action:
    return actions.WakeHost(manager_id=ManagerId(manager), host_id=HostId(host))


def asleep(pool: FakePool, host: int, sleep_s: float = 1.0, host_gb: int = 4) -> list[Action]:
    return pool.feed(
        events.HostAsleep(
            host_id=HostId(host),
            sleep_s=sleep_s,
            gpu_memory_bytes=GB,
            host_memory_bytes=host_gb * GB,
        )
    )


def awake(pool: FakePool, host: int, wake_s: float = 2.0) -> list[Action]:
    return pool.feed(events.HostAwake(host_id=HostId(host), wake_s=wake_s))


def sleep_failed(pool: FakePool, host: int) -> list[Action]:
    return pool.feed(events.SleepFailed(host_id=HostId(host), message="RuntimeError: no"))


def warm(pool: FakePool, key: str, num_hosts: int) -> list[Action]:
    return pool.feed(events.WarmRequested(context_key=ContextKey(key), num_hosts=num_hosts))


def cool(pool: FakePool, key: str) -> list[Action]:
    return pool.feed(events.EvictRequested(context_key=ContextKey(key)))


def record(pool: FakePool, key: str) -> ContextRecord:
    return pool.scheduler.cluster.contexts[ContextKey(key)]


def host(pool: FakePool, host_id: int) -> HostRecord:
    return pool.scheduler.cluster.hosts[HostId(host_id)]


def new_pool(needs: Requirements = SLEEPING, num_nodes: int = 1) -> FakePool:
    """Return a pool whose devices hold one context of "a" and "b" each."""
    pool = FakePool(Random(0))
    for key in ("a", "b"):
        pool.declare(key, needs)
    for _ in range(num_nodes):
        pool.register(gpu_node(40, memory_bytes=16 * GB))
    return pool


def pool_with_a_asleep(needs: Requirements = SLEEPING) -> FakePool:
    """Return a pool in which host 1 of "a" sleeps and host 2 of "b" works on task 1."""
    pool = new_pool(needs)
    submit(pool, "a")
    ready(pool, 1)
    finished(pool, 1)
    assert submit(pool, "b") == [sleep(1)]
    assert asleep(pool, 1) == [start(2, "m0", "b", ("GPU-0",))]
    assert ready(pool, 2) == [send(2, task=1, host=2)]
    return pool


# --- asleep and awake -----------------------------------------------------------------------------


@pytest.mark.parametrize("gpu_memory_bytes", [30 * GB, None])
def test_idle_host_sleeps_for_another_context_and_wakes_up_for_its_own(
    gpu_memory_bytes: int | None,
) -> None:
    needs = msgspec.structs.replace(SLEEPING, gpu_memory_bytes=gpu_memory_bytes)
    pool = pool_with_a_asleep(needs)
    assert host(pool, 1).state is HostState.ASLEEP
    assert record(pool, "a").num_loads == 1
    pool.now = LATER
    assert submit(pool, "a") == []
    assert finished(pool, 2) == [deliver(1), forget(1), sleep(2)]
    assert asleep(pool, 2) == [wake(1)]
    assert awake(pool, 1) == [send(3, task=2)]
    assert record(pool, "a").num_loads == 1
    assert record(pool, "a").wake_s.value == 2.0
    assert record(pool, "b").sleep_s.value == 1.0


def test_place_of_a_context_that_sleeps_is_taken_as_soon_as_it_may_be_and_not_a_load_later() -> (
    None
):
    pool = pool_with_a_asleep()
    pool.now = LATER
    submit(pool, "a")
    finished(pool, 2)
    asleep(pool, 2)
    awake(pool, 1, wake_s=2.0)
    finished(pool, 3)
    pool.feed(events.ManagerHeard(manager_id=ManagerId("m0")))
    pass_time(pool, pool.now)
    assert submit(pool, "b") == []  # "a" has only just woken up
    decided = quietly(pass_time(pool, pool.now + 2.5))
    assert [type(action) for action in decided] == [actions.SleepHost]  # a load takes 10 s


def test_sleeping_host_claims_what_it_was_measured_to_hold_and_no_core() -> None:
    pool = pool_with_a_asleep()
    claim = host(pool, 1).claim
    assert claim.cores == 0.0
    assert claim.num_hosts == 0
    assert GB <= (claim.gpu_memory_bytes or 0) < 1.1 * GB
    assert 4 * GB <= claim.host_memory_bytes < 4.1 * GB
    assert list(record(pool, "a").asleep) == [HostId(1)]
    assert not record(pool, "a").hosts


def test_host_does_not_sleep_where_node_memory_lacks() -> None:
    large = Requirements(
        cores=1.0, gpus=1, gpu_memory_bytes=30 * GB, host_memory_bytes=9 * GB, can_sleep=True
    )
    pool = new_pool(large)
    submit(pool, "a")
    ready(pool, 1)
    finished(pool, 1)
    assert submit(pool, "b") == [evict(1, "m0")]


def test_late_words_of_a_host_that_was_ended_meanwhile_change_nothing() -> None:
    pool = new_pool()
    submit(pool, "a")
    ready(pool, 1)
    finished(pool, 1)
    submit(pool, "b")
    assert stop(1, "m0") in hold(pool, "m0")
    assert asleep(pool, 1) == []
    assert sleep_failed(pool, 1) == []
    assert awake(pool, 1) == []
    assert host(pool, 1).state is HostState.STOPPING


@pytest.mark.parametrize("host_id", [1, 7])
def test_words_about_sleep_that_fit_no_host_change_nothing(host_id: int) -> None:
    pool = new_pool()
    submit(pool, "a")
    ready(pool, 1)
    assert [*asleep(pool, host_id), *awake(pool, host_id), *sleep_failed(pool, host_id)] == []


# --- what goes wrong ------------------------------------------------------------------------------


def test_context_that_cannot_sleep_is_ended_told_once_and_never_put_to_sleep_again() -> None:
    pool = new_pool()
    submit(pool, "a")
    ready(pool, 1)
    finished(pool, 1)
    submit(pool, "b")
    decided = sleep_failed(pool, 1)
    assert quietly(decided) == [stop(1, "m0")]
    assert troubles(decided) == [
        "context 'a' could not be put to sleep: RuntimeError: no. Its hosts are ended instead from "
        "now on. Check the method sleep() of what it builds."
    ]
    assert exited(pool, 1) == [start(2, "m0", "b", ("GPU-0",))]
    assert not record(pool, "a").sleeps
    ready(pool, 2)
    pool.now = LATER
    submit(pool, "a")
    assert sleep(2) in finished(pool, 2)  # the other context still does
    assert asleep(pool, 2) == [start(3, "m0", "a", ("GPU-0",))]
    ready(pool, 3)
    pool.now = 2 * LATER
    submit(pool, "b")
    assert evict(3, "m0") in finished(pool, 3)


def test_host_that_dies_while_it_falls_asleep_is_no_trouble_for_its_node() -> None:
    pool = new_pool()
    submit(pool, "a")
    ready(pool, 1)
    finished(pool, 1)
    submit(pool, "b")
    decided = exited(pool, 1)
    assert quietly(decided) == [start(2, "m0", "b", ("GPU-0",))]
    assert "could not be put to sleep: killed by SIGKILL" in troubles(decided)[0]
    assert not record(pool, "a").quarantine


def test_context_that_does_not_wake_up_is_told_and_built_again_there() -> None:
    pool = pool_with_a_asleep()
    pool.now = LATER
    submit(pool, "a")
    finished(pool, 2)
    assert asleep(pool, 2) == [wake(1)]
    decided = exited(pool, 1)
    assert quietly(decided) == [start(3, "m0", "a", ("GPU-0",))]
    (told,) = [action for action in decided if isinstance(action, actions.TellTrouble)]
    assert told.message.startswith("context 'a' did not wake up: killed by SIGKILL.")
    assert told.log_tail == "last words"
    assert not record(pool, "a").sleeps
    assert ready(pool, 3) == [send(3, task=2, host=3)]


def test_death_of_a_host_that_sleeps_costs_another_load_and_nothing_else() -> None:
    pool = pool_with_a_asleep()
    assert exited(pool, 1) == []
    assert record(pool, "a").sleeps
    pool.now = LATER
    submit(pool, "a")
    assert finished(pool, 2)[-1] == sleep(2)
    assert asleep(pool, 2) == [start(3, "m0", "a", ("GPU-0",))]


# --- nodes that leave -----------------------------------------------------------------------------


def test_node_that_is_held_ends_hosts_that_sleep() -> None:
    pool = pool_with_a_asleep()
    assert hold(pool, "m0") == [stop(1, "m0")]
    assert not record(pool, "a").asleep
    assert finished(pool, 2) == [deliver(1), forget(1), stop(2, "m0")]


def test_node_that_is_taken_back_is_dismissed_though_hosts_sleep_there() -> None:
    pool = pool_with_a_asleep()
    assert take_back(pool, "m0", 100.0) == [stop(1, "m0")]
    assert finished(pool, 2) == [deliver(1), forget(1), stop(2, "m0"), dismiss("m0")]


def test_node_that_is_lost_takes_its_sleeping_hosts_along() -> None:
    pool = pool_with_a_asleep()
    submit(pool, "a")
    lose(pool, "m0")
    assert not record(pool, "a").asleep
    pool.register(gpu_node(40))
    assert isinstance(pool.history[-1][2][0], actions.StartHost)


# --- warm and evict -------------------------------------------------------------------------------


def test_hosts_are_kept_warm_without_work_as_far_as_there_is_room() -> None:
    pool = new_pool(num_nodes=2)
    assert warm(pool, "a", 3) == [
        start(1, "m0", "a", ("GPU-0",)),
        start(2, "m1", "a", ("GPU-0",)),
    ]
    assert warm(pool, "a", 3) == []
    pool.register(gpu_node(40))
    assert pool.history[-1][2] == [start(3, "m2", "a", ("GPU-0",))]


def test_host_that_shall_be_warm_is_replaced_when_it_or_its_node_dies() -> None:
    pool = new_pool(num_nodes=2)
    warm(pool, "a", 1)
    ready(pool, 1)
    assert exited(pool, 1) == [start(2, "m1", "a", ("GPU-0",))]
    ready(pool, 2)
    assert lose(pool, "m1") == [start(3, "m0", "a", ("GPU-0",))]


def test_host_that_shall_be_warm_is_tried_again_when_a_quarantine_ends() -> None:
    pool = new_pool()
    warm(pool, "a", 1)
    ready(pool, 1)
    assert exited(pool, 1) == [start(2, "m0", "a", ("GPU-0",))]
    assert quietly(setup_failed(pool, 2)) == []
    assert pass_time(pool, 29.9) == []
    assert pass_time(pool, 30.0) == [start(3, "m0", "a", ("GPU-0",))]


def test_context_that_cannot_be_built_is_told_and_kept_warm_no_more() -> None:
    pool = new_pool()
    pool.broken.add(ContextKey("a"))
    warm(pool, "a", 1)
    pool.settle()
    assert [trouble.message for trouble in pool.told] == [
        "context 'a' cannot be built, and is kept warm no more: set-up failed on m0 "
        "(Traceback of m0)"
    ]
    assert record(pool, "a").num_warm == 0


def test_evicted_context_ends_and_is_built_again_when_it_is_called() -> None:
    pool = new_pool()
    warm(pool, "a", 1)
    ready(pool, 1)
    assert cool(pool, "a") == [evict(1, "m0")]
    assert exited(pool, 1) == []
    assert record(pool, "a").num_warm == 0
    assert submit(pool, "a") == [start(2, "m0", "a", ("GPU-0",))]


def test_eviction_waits_for_what_runs_and_ends_what_sleeps() -> None:
    pool = pool_with_a_asleep()
    assert cool(pool, "b") == []
    assert finished(pool, 2) == [deliver(1), forget(1), stop(2, "m0")]
    assert cool(pool, "a") == [evict(1, "m0")]


def test_unknown_context_is_neither_warmed_nor_evicted() -> None:
    assert [*warm(new_pool(), "nobody", 1), *cool(new_pool(), "nobody")] == []


# --- counts ---------------------------------------------------------------------------------------


def test_pieces_that_find_a_warm_host_are_hits() -> None:
    pool = new_pool()
    submit(pool, "a")
    ready(pool, 1)
    assert record(pool, "a").num_hits == 0  # it waited for the load
    pool.now = 5.0
    finished(pool, 1)
    submit(pool, "a")
    assert (record(pool, "a").num_hits, record(pool, "a").num_loads) == (1, 1)


def test_context_waits_from_its_first_piece_that_waits() -> None:
    pool = new_pool()
    assert record(pool, "a").waiting_since is None
    pool.now = 3.0
    submit(pool, "a")
    pool.now = 4.0
    submit(pool, "a")
    assert record(pool, "a").waiting_since == 3.0
    ready(pool, 1)
    finished(pool, 1)
    assert record(pool, "a").waiting_since is None
