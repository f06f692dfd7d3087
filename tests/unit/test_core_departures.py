"""Events in, exact actions out: nodes that the site takes back, or whose walltime ends."""

from __future__ import annotations

from random import Random

import pytest

from parsl_pcm.core import events
from parsl_pcm.core.actions import Action, FailureReason
from parsl_pcm.core.policy import DefaultPolicy
from parsl_pcm.types import ContextKey, HostId, LeaseId, ManagerId, Requirements, TaskId
from tests.core_words import (
    abandon,
    deliver,
    dismiss,
    exited,
    failures,
    forget,
    hold,
    lose,
    new_pool,
    pass_time,
    ready,
    revoke,
    send,
    setup_failed,
    start,
    stop,
    submit,
    take_back,
)
from tests.fakes import FakePool, PairCuttingPolicy, cpu_node


def finished_in(
    pool: FakePool, lease: int, run_s: float, items: tuple[int, int] = (0, 1)
) -> list[Action]:
    return pool.feed(
        events.PieceFinished(lease_id=LeaseId(lease), start=items[0], stop=items[1], run_s=run_s)
    )


def measured_pool(service_s: float, *, setup_s: float = 10.0, num_nodes: int = 1) -> FakePool:
    """Return a pool with one idle host on m0, whose context's times are known."""
    pool = new_pool(*[cpu_node()] * num_nodes)
    submit(pool)
    ready(pool, 1, setup_s)
    finished_in(pool, 1, service_s)
    return pool


def num_kills(pool: FakePool) -> list[int]:
    context = pool.scheduler.cluster.contexts[ContextKey("c")]
    pieces = [*context.suspects.pieces(), *context.backlog.pieces()]
    return [piece.num_kills for piece in pieces]


# --- exact notice ---------------------------------------------------------------------------------


def test_piece_that_ends_in_time_stays_and_is_delivered() -> None:
    pool = measured_pool(service_s=8.0)
    submit(pool)
    pool.now = 3.0  # 5 s are left of it
    assert take_back(pool, "m0", 5.0) == []
    assert finished_in(pool, 2, 8.0) == [deliver(1), forget(1), stop(1, "m0"), dismiss("m0")]


def test_piece_that_ends_too_late_runs_elsewhere_at_once() -> None:
    pool = measured_pool(service_s=8.0, num_nodes=2)
    submit(pool)
    pool.now = 3.0
    assert take_back(pool, "m0", 4.9) == [
        abandon(2), stop(1, "m0"), dismiss("m0"), start(2, "m1"),
    ]  # fmt: skip
    assert finished_in(pool, 2, 8.0) == []  # nobody waits for that one any more
    assert ready(pool, 2) == [send(3, task=1, host=2, manager="m1")]


def test_piece_of_unknown_duration_is_waited_for_until_the_end() -> None:
    pool = new_pool(cpu_node(), cpu_node())
    submit(pool)
    ready(pool)
    assert take_back(pool, "m0", 30.0) == []
    assert pass_time(pool, 29.9) == []
    assert pass_time(pool, 30.0) == [
        abandon(1), stop(1, "m0"), dismiss("m0"), start(2, "m1"),
    ]  # fmt: skip


def test_piece_of_unknown_duration_runs_on_a_free_warm_host_at_once() -> None:
    pool = new_pool(cpu_node(), cpu_node())
    submit(pool)
    submit(pool)
    ready(pool)
    pool.feed(events.TaskCancelled(task_id=TaskId(1)))
    ready(pool, 2)  # which has nothing to do
    assert take_back(pool, "m0", 60.0) == [
        abandon(1), stop(1, "m0"), dismiss("m0"), send(2, task=0, host=2, manager="m1"),
    ]  # fmt: skip


def test_notice_shortly_before_the_end_of_the_walltime_is_about_that_end() -> None:
    pool = new_pool()
    pool.register(cpu_node(), remaining_s=50.0)
    submit(pool)
    ready(pool)
    pool.now = 10.0
    assert take_back(pool, "m0", None) == []
    assert pass_time(pool, 49.0) == []
    assert pass_time(pool, 50.0) == [abandon(1), stop(1, "m0"), dismiss("m0")]


def test_overdue_piece_is_given_until_the_end() -> None:
    pool = measured_pool(service_s=8.0)
    submit(pool)
    pool.now = 20.0
    assert take_back(pool, "m0", 5.0) == []
    assert pass_time(pool, 24.9) == []
    assert pass_time(pool, 25.0) == [abandon(2), stop(1, "m0"), dismiss("m0")]


def test_queued_pieces_are_asked_back_and_run_elsewhere() -> None:
    pool = measured_pool(service_s=1.0, setup_s=100.0, num_nodes=2)
    submit(pool)
    submit(pool)
    assert take_back(pool, "m0", 60.0) == [revoke(3)]
    assert pool.feed(events.LeaseRevoked(lease_id=LeaseId(3))) == [start(2, "m1")]


def test_time_of_a_piece_counts_from_when_the_piece_before_it_ended() -> None:
    pool = measured_pool(service_s=8.0)
    submit(pool)
    submit(pool)
    pool.now = 8.0
    finished_in(pool, 2, 8.0)  # now lease 3 runs, and not for 8 s already
    assert take_back(pool, "m0", 7.9) == [abandon(3), stop(1, "m0"), dismiss("m0")]


def test_items_that_are_done_shorten_what_is_left_of_a_piece() -> None:
    pool = measured_pool(service_s=1.0)
    submit(pool, num_items=10)
    pool.now = 4.0
    finished_in(pool, 2, 4.0, items=(0, 4))
    assert take_back(pool, "m0", 6.0) == []
    assert take_back(pool, "m0", 5.9) == [abandon(2), stop(1, "m0"), dismiss("m0")]
    pool.register(cpu_node())
    assert ready(pool, 2) == [send(3, 1, host=2, manager="m1", items=(4, 10))]


def test_idle_node_leaves_at_once() -> None:
    pool = measured_pool(service_s=1.0)
    assert take_back(pool, "m0", 60.0) == [stop(1, "m0"), dismiss("m0")]
    assert submit(pool) == []
    again = events.ManagerClosing(manager_id=ManagerId("m0"), remaining_s=30.0)
    assert pool.feed(again) == []
    assert pass_time(pool, 30.0) == []  # it is dismissed once


def test_starting_host_is_stopped_and_started_elsewhere() -> None:
    pool = new_pool(cpu_node(), cpu_node())
    submit(pool)
    assert take_back(pool, "m0", 60.0) == [stop(1, "m0"), dismiss("m0"), start(2, "m1")]


def test_held_node_may_be_taken_back_too() -> None:
    pool = measured_pool(service_s=8.0)
    submit(pool)
    hold(pool, "m0")
    assert take_back(pool, "m0", 1.0) == [abandon(2), stop(1, "m0"), dismiss("m0")]


def test_notice_for_an_unknown_node_changes_nothing() -> None:
    pool = measured_pool(service_s=8.0)
    lose(pool, "m0")
    late = events.ManagerClosing(manager_id=ManagerId("m0"), remaining_s=1.0)
    assert pool.feed(late) == []
    assert pass_time(pool, 1.0) == []


# --- notice without a number ----------------------------------------------------------------------


def test_vague_notice_waits_for_an_exact_one() -> None:
    pool = measured_pool(service_s=8.0)
    submit(pool)
    assert take_back(pool, "m0", None) == []
    assert pool.scheduler.next_deadline() == 1.0
    pool.now = 0.5
    assert take_back(pool, "m0", 30.0) == []
    assert take_back(pool, "m0", None) == []  # nothing new
    assert pass_time(pool, 1.0) == []
    assert pass_time(pool, 30.4) == []
    assert pass_time(pool, 30.5) == [abandon(2), stop(1, "m0"), dismiss("m0")]


@pytest.mark.parametrize(
    ("service_s", "decided"),
    [(10.0, []), (10.1, [abandon(2), stop(1, "m0"), dismiss("m0")])],
)
def test_vague_notice_that_stays_vague_means_the_usual_notice(
    service_s: float, decided: list[Action]
) -> None:
    pool = measured_pool(service_s)
    submit(pool)
    take_back(pool, "m0", None)
    assert pass_time(pool, 0.99) == []
    assert pass_time(pool, 1.0) == decided


def test_vague_notice_ends_at_the_usual_time() -> None:
    pool = measured_pool(service_s=1.0)
    submit(pool)
    take_back(pool, "m0", None)
    pass_time(pool, 1.0)
    assert pass_time(pool, 9.9) == []
    assert pass_time(pool, 10.0) == [abandon(2), stop(1, "m0"), dismiss("m0")]


def test_later_notice_replaces_an_earlier_one_in_both_directions() -> None:
    pool = measured_pool(service_s=1.0)
    submit(pool)
    take_back(pool, "m0", 60.0)
    take_back(pool, "m0", 5.0)
    assert pool.scheduler.next_deadline() == 5.0
    take_back(pool, "m0", 20.0)
    assert pass_time(pool, 5.0) == []
    assert pass_time(pool, 20.0) == [abandon(2), stop(1, "m0"), dismiss("m0")]


# --- deaths on nodes that are taken back ----------------------------------------------------------


def test_host_killed_by_the_site_is_not_held_against_its_piece() -> None:
    pool = measured_pool(service_s=8.0, num_nodes=2)
    submit(pool)
    take_back(pool, "m0", 60.0)
    assert exited(pool, 1) == [dismiss("m0"), start(2, "m1")]
    assert num_kills(pool) == [0]


@pytest.mark.parametrize("how", [lambda p: take_back(p, "m0", 5.0), lambda p: lose(p, "m0")])
def test_death_of_a_host_just_before_its_node_is_forgiven(how: object) -> None:
    assert callable(how)
    pool = new_pool(cpu_node(2.0), max_attempts=2)
    submit(pool)
    submit(pool)
    ready(pool, 1)
    ready(pool, 2)
    exited(pool, 1)
    exited(pool, 2)
    assert num_kills(pool) == [1, 1]
    pool.now = 2.0
    how(pool)
    assert num_kills(pool) == [0, 0]


def test_death_of_a_host_long_before_its_node_is_not_forgiven() -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    ready(pool, 1)
    exited(pool, 1)
    pool.now = 2.1
    take_back(pool, "m0", 5.0)
    assert num_kills(pool) == [1]


def test_deaths_in_setups_on_nodes_that_are_taken_back_fail_nothing() -> None:
    pool = new_pool(max_attempts=2)
    submit(pool)
    for number in range(4):
        pool.register(cpu_node())
        assert failures(exited(pool, 2 * number + 1)) == []
        lose(pool, f"m{number}")
    assert pool.ended == {}


def test_host_that_dies_on_a_node_that_drains_lets_it_leave() -> None:
    pool = new_pool()
    pool.register(cpu_node(), drain_s=50.0)
    submit(pool)
    ready(pool)
    pass_time(pool, 50.0)
    assert exited(pool, 1) == [dismiss("m0", "drained")]


# --- walltime -------------------------------------------------------------------------------------


def timed_pool(
    service_s: float,
    walltime_s: float,
    policy: DefaultPolicy | None = None,
) -> FakePool:
    """Return a pool whose context's times are known, at time 0 with one fresh node, m1."""
    pool = FakePool(Random(0), policy=policy or DefaultPolicy())
    pool.declare("c", Requirements(cores=1.0))
    pool.register(cpu_node())
    submit(pool)
    ready(pool, 1, setup_s=10.0)
    finished_in(pool, 1, service_s)
    lose(pool, "m0")
    pool.register(cpu_node(), walltime_s)
    return pool


def test_no_host_is_started_that_could_not_do_one_item_before_the_end() -> None:
    pool = timed_pool(service_s=80.0, walltime_s=100.0)
    pool.now = 5.1  # 89.9 s are left without the last five
    assert submit(pool) == []
    pool.register(cpu_node(), 100.0)
    assert pool.history[-1][2] == [start(2, "m2")]


def test_host_is_started_where_it_can_do_one_item_before_the_end() -> None:
    pool = timed_pool(service_s=80.0, walltime_s=100.0)
    pool.now = 4.9
    assert submit(pool) == [start(2, "m1")]


def test_what_was_never_measured_starts_while_there_is_time_at_all() -> None:
    pool = new_pool()
    pool.register(cpu_node(), 100.0)
    pool.now = 94.9
    assert submit(pool) == [start(1, "m0")]
    pool.declare("d", Requirements(cores=1.0))
    pool.register(cpu_node(), 5.0)
    assert submit(pool, "d") == []


def test_no_piece_is_sent_that_would_end_too_late_and_its_host_is_ended() -> None:
    pool = timed_pool(service_s=40.0, walltime_s=100.0)
    submit(pool)
    pool.now = 10.0
    assert ready(pool, 2) == [send(2, task=1, host=2, manager="m1")]
    pool.now = 50.0
    assert finished_in(pool, 2, 40.0) == [deliver(1), forget(1)]
    pool.now = 55.1  # 39.9 s are left
    assert submit(pool) == [stop(2, "m1")]
    assert pool.scheduler.cluster.contexts[ContextKey("c")].num_waiting == 1


def test_piece_does_not_wait_behind_another_that_leaves_no_time_for_it() -> None:
    pool = timed_pool(service_s=40.0, walltime_s=100.0)
    submit(pool)
    pool.now = 10.0
    ready(pool, 2)
    pool.now = 14.0
    assert submit(pool) == [send(3, task=2, host=2, manager="m1")]  # it would end at 90
    pool = timed_pool(service_s=40.0, walltime_s=94.0)
    submit(pool)
    pool.now = 10.0
    ready(pool, 2)
    pool.register(cpu_node())
    assert submit(pool) == [start(3, "m2")]  # it would end at 90, and 89 is too late


def test_piece_is_cut_to_the_items_for_which_there_is_time() -> None:
    pool = timed_pool(service_s=10.0, walltime_s=100.0)
    submit(pool, num_items=20)
    pool.now = 10.0
    assert ready(pool, 2) == [send(2, task=1, host=2, manager="m1", items=(0, 8))]


def test_host_put_aside_is_looked_at_again_when_its_piece_has_ended() -> None:
    pool = timed_pool(service_s=40.0, walltime_s=94.0)
    submit(pool)
    pool.now = 10.0
    ready(pool, 2)
    assert submit(pool) == []
    pool.now = 12.0
    assert finished_in(pool, 2, 2.0) == [
        deliver(1), forget(1), send(3, task=2, host=2, manager="m1"),
    ]  # fmt: skip


def test_node_without_time_for_anything_that_waits_is_dismissed() -> None:
    pool = timed_pool(service_s=80.0, walltime_s=100.0)
    pool.now = 10.0
    submit(pool)
    assert pass_time(pool, 10.0) == [dismiss("m1", "drained")]


def test_node_with_time_for_some_of_what_waits_stays() -> None:
    pool = timed_pool(service_s=80.0, walltime_s=100.0)
    pool.now = 10.0
    submit(pool)
    pool.declare("d", Requirements(cores=1.0))
    assert submit(pool, "d") == [start(2, "m1", "d")]
    assert pass_time(pool, 10.0) == []


def test_node_that_lacks_more_than_time_stays() -> None:
    pool = new_pool()
    pool.register(cpu_node(2.0))
    pool.register(cpu_node(), 100.0)
    pool.declare("large", Requirements(cores=2.0))
    for _ in range(2):
        submit(pool, "large")
    assert pass_time(pool, 30.0) == []


def test_idle_node_leaves_shortly_before_its_end() -> None:
    pool = new_pool()
    pool.register(cpu_node(), 50.0)
    assert pass_time(pool, 44.9) == []
    assert pass_time(pool, 45.0) == [dismiss("m0")]


def test_piece_that_takes_longer_than_expected_runs_elsewhere_at_the_end() -> None:
    pool = timed_pool(service_s=10.0, walltime_s=50.0)
    submit(pool)
    pool.now = 10.0
    ready(pool, 2)
    assert pass_time(pool, 45.0) == []
    assert pass_time(pool, 50.0) == [abandon(2, 2, "m1"), stop(2, "m1"), dismiss("m1")]


def test_work_longer_than_any_walltime_starts_where_most_of_it_is_left() -> None:
    pool = timed_pool(service_s=500.0, walltime_s=105.0)
    pool.now = 51.0
    assert submit(pool) == []
    assert pass_time(pool, 51.0) == [dismiss("m1", "drained")]
    pool.register(cpu_node(), 105.0)
    assert pool.history[-1][2] == [start(2, "m2")]
    pool.now = 140.0  # however long the set-up took: the host was built for it
    assert ready(pool, 2) == [send(2, task=1, host=2, manager="m2")]


def test_work_longer_than_one_walltime_waits_for_the_longer_one() -> None:
    pool = timed_pool(service_s=500.0, walltime_s=1000.0)
    pool.register(cpu_node(), 105.0)
    assert submit(pool) == [start(2, "m1")]
    assert submit(pool) == []
    lose(pool, "m1")
    assert pool.history[-1][2] == [start(3, "m2")]  # now it is the longest


def test_used_host_takes_no_work_longer_than_any_walltime_near_the_end() -> None:
    pool = timed_pool(service_s=500.0, walltime_s=105.0)
    submit(pool)
    ready(pool, 2)
    pool.now = 60.0
    assert finished_in(pool, 2, 60.0)[:2] == [deliver(1), forget(1)]
    assert submit(pool) == [stop(2, "m1")]


def test_notice_ends_a_node_before_its_walltime() -> None:
    pool = timed_pool(service_s=40.0, walltime_s=1000.0)
    submit(pool)
    ready(pool, 2)
    take_back(pool, "m1", 50.0)
    assert pass_time(pool, 50.0) == [abandon(2, 2, "m1"), stop(2, "m1"), dismiss("m1")]


def test_manager_that_registers_again_has_a_new_end() -> None:
    pool = new_pool()
    pool.register(cpu_node(), 100.0)
    lose(pool, "m0")
    again = events.ManagerRegistered(
        manager_id=ManagerId("m0"), block_id="0", resources=cpu_node(), remaining_s=500.0
    )
    pool.leave_at.clear()
    pool.feed(again)
    assert pool.feed(events.TimePassed()) == []
    pool.now = 300.0
    pool.feed(events.TimePassed())
    assert ManagerId("m0") not in pool.scheduler.cluster.managers  # unheard, not out of time
    assert pool.history[-1][2][0] == dismiss("m0", "not heard for 300 s", is_lost=True)


def test_pieces_cut_by_the_policy_fit_too() -> None:
    pool = timed_pool(service_s=40.0, walltime_s=100.0, policy=PairCuttingPolicy())
    submit(pool, num_items=3)
    pool.now = 10.0
    assert ready(pool, 2) == [send(2, task=1, host=2, manager="m1", items=(0, 2))]


def test_suspect_is_not_sent_to_a_node_without_time_for_it() -> None:
    pool = timed_pool(service_s=40.0, walltime_s=100.0)
    submit(pool)
    ready(pool, 2)
    pool.now = 1.0
    assert exited(pool, 2) == [start(3, "m1")]
    pool.now = 60.0
    assert ready(pool, 3) == [stop(3, "m1")]
    assert TaskId(1) not in pool.ended
    assert HostId(3) in pool.scheduler.cluster.hosts


def test_failed_setups_on_nodes_that_left_leave_a_chance() -> None:
    pool = new_pool(cpu_node(), cpu_node())
    submit(pool)
    assert setup_failed(pool, 1) == [start(2, "m1")]
    take_back(pool, "m0", 5.0)
    (failure,) = failures(setup_failed(pool, 2))
    assert failure.reason is FailureReason.SETUP_FAILED
