"""A running piece is given to a free host too where that ends it sooner: exact actions."""

from __future__ import annotations

from parsl_pcm.core.actions import Action
from parsl_pcm.types import ContextKey, Requirements, TaskId
from tests.core_words import (
    abandon,
    deliver,
    exited,
    finished,
    forget,
    lose,
    new_pool,
    pass_time,
    raised,
    ready,
    revoke,
    revoked,
    send,
    start,
    submit,
    submit_map,
    take_back,
)
from tests.fakes import FakePool, WholePiecePolicy, cpu_node

LOOK_S = WholePiecePolicy().rebalance_s
OVERDUE_AT = 4.0
"""Twice as long as the two items of task 1 should take on host 2."""
RACE = send(3, task=1, host=1, manager="m0", items=(0, 2), rival=2)


def two_host_pool(second_items: int = 2) -> FakePool:
    """Return a pool in which host 1 is free again after 2 s, and host 2 has a map since 0 s.

    An item takes 1 s, as far as is known.
    """
    pool = new_pool(cpu_node(), cpu_node(), policy=WholePiecePolicy())
    submit_map(pool, 2)
    submit_map(pool, second_items)
    assert ready(pool, 1) == [send(1, task=0, items=(0, 2))]
    on_host_2 = send(2, task=1, host=2, manager="m1", items=(0, second_items))
    assert ready(pool, 2) == [on_host_2]
    pool.now = 2.0
    assert finished(pool, 1, 0, 2, run_s=2.0) == [deliver(0, 0, 2), forget(0)]
    return pool


def racing_pool() -> FakePool:
    """Return a pool in which host 1 has task 1 too, as lease 3: it is overdue on host 2."""
    pool = two_host_pool()
    assert pass_time(pool, OVERDUE_AT) == [RACE]
    return pool


def num_leases(pool: FakePool) -> int:
    return len(pool.scheduler.cluster.leases)


# --- what is raced --------------------------------------------------------------------------------


def test_overdue_piece_is_raced_and_no_other() -> None:
    pool = two_host_pool()
    assert pass_time(pool, 2.0 + LOOK_S) == []
    assert pass_time(pool, OVERDUE_AT - 0.1) == []
    assert pool.scheduler.next_deadline() == OVERDUE_AT
    assert pass_time(pool, OVERDUE_AT) == [RACE]


def unequal_pool(fast_s: float, slow_s: float, fast_node_s: float | None = None) -> FakePool:
    """Return a pool in which host 1 is free and host 2 has just begun with ten items.

    An item takes ``fast_s`` on host 1, whose node ends after ``fast_node_s``, and ``slow_s`` on
    host 2.
    """
    pool = new_pool(policy=WholePiecePolicy())
    pool.register(cpu_node(), fast_node_s)
    pool.register(cpu_node())
    for _ in range(4):
        submit_map(pool, 10)
    ready(pool, 1)
    ready(pool, 2)
    for lease, item_s in ((1, fast_s), (2, slow_s)):
        finished(pool, lease, 0, 10, run_s=10 * item_s)
    pool.now = 10 * fast_s if fast_node_s else 0.0
    finished(pool, 3, 0, 10, run_s=10 * fast_s)
    assert [lease.host.host_id for lease in pool.scheduler.cluster.leases.values()] == [2]
    return pool


def races_between(fast_s: float, slow_s: float, fast_node_s: float | None = None) -> list[Action]:
    """Return what is decided next in such a pool."""
    pool = unequal_pool(fast_s, slow_s, fast_node_s)
    return pass_time(pool, pool.now + LOOK_S)


def test_piece_is_raced_by_a_host_that_would_end_it_clearly_sooner() -> None:
    race = send(5, task=3, host=1, manager="m0", items=(0, 10), rival=4)
    assert races_between(1.0, 4.0) == [race]
    assert races_between(1.0, 1.5) == [race]
    assert races_between(1.0, 1.2) == []
    assert races_between(4.0, 1.0) == []


def test_race_must_save_more_time_than_its_messages_take() -> None:
    assert races_between(0.001, 0.01) == []


def test_piece_is_not_raced_on_a_node_that_ends_before() -> None:
    assert races_between(1.0, 40.0, fast_node_s=30.0) != []
    assert races_between(1.0, 40.0, fast_node_s=24.0) == []


def test_times_of_other_functions_tell_nothing() -> None:
    pool = two_host_pool()
    pool.submit_map(ContextKey("c"), 1000, function_key="a fast one")
    assert finished(pool, 3, 0, 1000, run_s=0.001) == [deliver(2, 0, 1000), forget(2)]
    assert pass_time(pool, 2.0 + LOOK_S) == []
    assert pass_time(pool, OVERDUE_AT) != []


def test_ordinary_task_is_never_raced() -> None:
    pool = new_pool(cpu_node(), cpu_node(), cpu_node(), policy=WholePiecePolicy())
    for host in (1, 2):
        submit_map(pool, 1)
        ready(pool, host)
    submit(pool)
    ready(pool, 3)
    finished(pool, 1, run_s=1.0)
    assert pass_time(pool, 2.0) == [send(4, task=1, rival=2)]
    raised(pool, 4)
    pool.let_time_pass(50.0)
    leases = pool.scheduler.cluster.leases.values()
    assert [(lease.piece.task.task_id, lease.rival) for lease in leases] == [(1, None), (2, None)]


def test_piece_that_would_take_the_free_host_long_is_raced_when_it_has_taken_even_longer() -> None:
    pool = unequal_pool(2.5, 1.0)
    assert pass_time(pool, LOOK_S) == []
    assert pass_time(pool, 20.0) == []  # overdue, and there is no faster host
    assert pool.scheduler.next_deadline() == 40.0
    assert pass_time(pool, 40.0) == [send(5, task=3, items=(0, 10), rival=4)]


def three_host_pool() -> FakePool:
    """Return a pool in which host 1 is free since 9 s; hosts 2 and 3 have two items each.

    Both are overdue: host 2 since 4 s, host 3 since 5 s.
    """
    pool = new_pool(cpu_node(), cpu_node(), cpu_node(), policy=WholePiecePolicy())
    for host in (1, 2, 3):
        submit_map(pool, 2)
        pool.now = float(host == 3)
        ready(pool, host)
    pool.now = 9.0
    finished(pool, 1, 0, 2, run_s=2.0)
    return pool


def test_piece_that_will_end_last_is_raced_first() -> None:
    assert pass_time(three_host_pool(), 9.0 + LOOK_S) == [send(4, task=1, items=(0, 2), rival=2)]


def test_piece_that_nobody_waits_for_is_not_raced() -> None:
    pool = three_host_pool()
    pool.cancel(TaskId(1))
    assert pass_time(pool, 9.0 + LOOK_S) == [send(4, task=2, items=(0, 2), rival=3)]


def test_suspect_is_not_raced_so_that_the_blame_stays_sure() -> None:
    pool = new_pool(cpu_node(), cpu_node(), cpu_node(), policy=WholePiecePolicy())
    for host in (1, 2, 3):
        submit_map(pool, 1)
        ready(pool, host)
    finished(pool, 1, run_s=1.0)
    assert exited(pool, 2) == [send(4, task=1)]
    finished(pool, 3, run_s=1.0)
    pool.let_time_pass(50.0)
    assert num_leases(pool) == 1


# --- how a race ends ------------------------------------------------------------------------------


def test_first_result_wins_and_the_other_is_revoked_and_dropped() -> None:
    pool = racing_pool()
    assert finished(pool, 3, 0, 2) == [deliver(1, 0, 2), revoke(2, host=2, manager="m1"), forget(1)]
    assert num_leases(pool) == 1  # host 2 may be at it still
    assert finished(pool, 2, 0, 2) == []
    assert num_leases(pool) == 0


def test_slow_host_may_win_all_the_same() -> None:
    pool = racing_pool()
    assert finished(pool, 2, 0, 2) == [deliver(1, 0, 2), revoke(3), forget(1)]
    assert revoked(pool, 3) == []
    assert num_leases(pool) == 0


def test_results_one_by_one_are_delivered_by_whoever_is_ahead() -> None:
    pool = racing_pool()
    assert finished(pool, 3, 0, 1) == [deliver(1, 0, 1)]
    assert finished(pool, 2, 0, 2) == [deliver(1, 1, 2), revoke(3), forget(1)]
    assert finished(pool, 3, 1, 2) == []


def test_what_the_other_has_delivered_is_not_delivered_again() -> None:
    pool = racing_pool()
    assert finished(pool, 3, 0, 1) == [deliver(1, 0, 1)]
    assert finished(pool, 2, 0, 1) == []
    assert finished(pool, 2, 1, 2) == [deliver(1, 1, 2), revoke(3), forget(1)]


def test_loss_of_either_host_requeues_nothing() -> None:
    for manager, winner in (("m0", 2), ("m1", 3)):
        pool = racing_pool()
        assert lose(pool, manager) == []
        assert deliver(1, 0, 2) in finished(pool, winner, 0, 2)


def test_loss_of_both_hosts_requeues_the_rest() -> None:
    pool = racing_pool()
    finished(pool, 3, 0, 1)
    pool.register(cpu_node())
    assert lose(pool, "m0") == []
    assert lose(pool, "m1") == [start(3, "m2")]
    assert ready(pool, 3) == [send(4, task=1, host=3, manager="m2", items=(1, 2))]


def test_death_of_one_of_two_hosts_is_held_against_nothing() -> None:
    pool = racing_pool()
    assert exited(pool, 1) == []
    assert finished(pool, 2, 0, 2) == [deliver(1, 0, 2), forget(1)]


def test_exception_counts_when_the_other_host_raised_too() -> None:
    pool = racing_pool()
    assert raised(pool, 3) == []
    assert raised(pool, 2)[0] == send(4, task=1, host=1, items=(0, 1))


def test_exception_in_an_item_that_the_other_host_managed_blames_nothing() -> None:
    pool = racing_pool()
    finished(pool, 3, 0, 1)
    lose(pool, "m0")
    assert raised(pool, 2) == [send(4, task=1, host=2, manager="m1", items=(1, 2))]


def test_piece_is_raced_once() -> None:
    pool = racing_pool()
    assert raised(pool, 3) == []
    pool.let_time_pass(50.0)
    assert num_leases(pool) == 1


def test_cancelled_map_takes_both_back() -> None:
    pool = racing_pool()
    pool.cancel(TaskId(1))
    assert pool.history[-1][2] == [revoke(2, host=2, manager="m1"), revoke(3), forget(1)]
    assert finished(pool, 3, 0, 2) == []
    assert revoked(pool, 2) == []
    assert num_leases(pool) == 0


def test_node_that_is_taken_back_gives_its_part_of_a_race_up() -> None:
    pool = racing_pool()
    take_back(pool, "m1", 0.0)
    assert abandon(2, host=2, manager="m1") in pass_time(pool, pool.now)
    assert num_leases(pool) == 1
    assert finished(pool, 3, 0, 2) == [deliver(1, 0, 2), forget(1)]


def test_host_with_several_places_races_in_a_free_one() -> None:
    crowd = Requirements(cores=1.0, max_concurrency=2)
    pool = new_pool(cpu_node(), cpu_node(), policy=WholePiecePolicy(), needs=crowd)
    for _ in range(4):
        submit_map(pool, 2)
    ready(pool, 1)
    ready(pool, 2)
    pool.now = 2.0
    finished(pool, 1, 0, 2, run_s=2.0)
    pass_time(pool, OVERDUE_AT)
    races = [lease for lease in pool.scheduler.cluster.leases.values() if lease.rival]
    assert {lease.host.load for lease in races} == {2}
    assert len(races) == 2
