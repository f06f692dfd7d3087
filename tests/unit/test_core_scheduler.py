"""Events in, exact actions out: tasks, hosts, set-up failures, deaths, losses, closing nodes."""

from __future__ import annotations

from random import Random

import pytest

from parsl_pcm.core import actions, events
from parsl_pcm.core.actions import FailureReason
from parsl_pcm.core.transitions import (
    HOST_TRANSITIONS,
    HostState,
    InvalidTransitionError,
    step,
)
from parsl_pcm.types import (
    ContextKey,
    LeaseId,
    ManagerId,
    NodeResources,
    Requirements,
    TaskId,
)
from tests.core_words import (
    ONE_CORE,
    deliver,
    dismiss,
    exited,
    failures,
    finished,
    forget,
    hold,
    lose,
    new_pool,
    pass_time,
    quietly,
    ready,
    revoke,
    send,
    setup_failed,
    start,
    stop,
    submit,
    troubles,
)
from tests.fakes import GB, FakePool, PairCuttingPolicy, cpu_node, gpu_node

# --- the straight way -----------------------------------------------------------------------------


def test_task_starts_a_host_runs_and_is_delivered() -> None:
    pool = new_pool(cpu_node())
    assert submit(pool) == [start(1, "m0")]
    assert ready(pool) == [send(1, task=0)]
    assert finished(pool, lease=1) == [deliver(0), forget(0)]


def test_task_waits_for_the_first_node() -> None:
    pool = new_pool()
    assert submit(pool) == []
    pool.register(cpu_node())
    assert pool.history[-1][2] == [start(1, "m0")]


def test_warm_host_is_used_before_a_new_one_is_started() -> None:
    pool = new_pool(cpu_node(2.0))
    submit(pool)
    ready(pool)
    finished(pool, lease=1)
    assert submit(pool) == [send(2, task=1)]


def test_declaring_a_context_again_changes_nothing() -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    assert (
        pool.feed(
            events.ContextDeclared(
                context_key=ContextKey("c"), name="other", requirements=Requirements(cores=2.0)
            )
        )
        == []
    )
    assert pool.scheduler.cluster.contexts[ContextKey("c")].requirements == ONE_CORE


def test_users_exception_is_delivered_and_the_host_goes_on() -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    submit(pool)
    ready(pool)
    assert pool.feed(events.PieceFailed(lease_id=LeaseId(1))) == [
        forget(0),
        actions.DeliverException(task_id=TaskId(0)),
        send(2, task=1),
    ]


def test_lower_priority_number_runs_first_then_the_older_task() -> None:
    pool = new_pool(cpu_node())
    for priority in (1, 0, 0):
        submit(pool, priority=priority)
    assert ready(pool) == [send(1, task=1)]
    assert finished(pool, lease=1)[-2:] == [send(2, task=2), send(3, task=0)]


def test_late_and_repeated_messages_change_nothing() -> None:
    pool = new_pool(cpu_node())
    submit(pool, num_items=4)
    ready(pool)
    assert finished(pool, 1, 0, 2) == [deliver(0, 0, 2)]
    assert finished(pool, 1, 0, 2) == []
    assert finished(pool, 1, 2, 4) == [deliver(0, 2, 4), forget(0)]
    assert finished(pool, 1, 2, 4) == []
    assert pool.feed(events.PieceFailed(lease_id=LeaseId(1))) == []
    assert pool.feed(events.LeaseRevoked(lease_id=LeaseId(1))) == []
    assert ready(pool) == []
    exited(pool, 1)
    assert exited(pool, 1) == []
    assert setup_failed(pool, 1) == []
    lose(pool, "m0")
    for late in (events.ManagerHeard, events.ManagerHeld):
        assert pool.feed(late(manager_id=ManagerId("m0"))) == []
    assert pool.feed(events.TaskCancelled(task_id=TaskId(0))) == []


def test_registering_twice_keeps_the_hosts() -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    again = events.ManagerRegistered(
        manager_id=ManagerId("m0"),
        block_id=pool.scheduler.cluster.managers["m0"].block_id,
        resources=cpu_node(),
    )
    assert pool.feed(again) == []
    assert ready(pool) == [send(1, task=0)]


# --- ranges ---------------------------------------------------------------------------------------


def test_ranges_are_delivered_as_they_come_and_the_rest_is_put_back_on_loss() -> None:
    pool = new_pool(cpu_node())
    submit(pool, num_items=10)
    assert ready(pool) == [send(1, task=0, items=(0, 10))]
    pool.register(cpu_node())
    assert finished(pool, 1, 0, 4) == [deliver(0, 0, 4)]
    lose(pool, "m0")
    assert ready(pool, 2) == [send(2, 0, host=2, manager="m1", items=(4, 10))]
    assert finished(pool, 1, 4, 10) == []
    assert finished(pool, 2, 4, 10) == [deliver(0, 4, 10), forget(0)]


def test_exception_in_a_later_range_ends_the_task_after_what_was_delivered() -> None:
    pool = new_pool(cpu_node())
    submit(pool, num_items=10)
    ready(pool)
    finished(pool, 1, 0, 4)
    assert pool.feed(events.PieceFailed(lease_id=LeaseId(1))) == [
        forget(0),
        actions.DeliverException(task_id=TaskId(0)),
    ]


# --- cancelling -----------------------------------------------------------------------------------


def test_cancelled_task_that_waits_is_never_sent() -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    submit(pool)
    pool.cancel(TaskId(0))
    assert pool.history[-1][2] == [forget(0)]
    assert ready(pool) == [send(1, task=1)]


def test_cancelled_task_that_runs_is_taken_back_and_its_late_result_dropped() -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    ready(pool)
    pool.cancel(TaskId(0))
    assert pool.history[-1][2] == [revoke(1), forget(0)]
    assert finished(pool, lease=1) == []
    assert submit(pool) == [send(2, task=1)]


def test_cancelling_a_suspect_leaves_nothing_to_isolate() -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    ready(pool)
    assert exited(pool, 1) == [start(2, "m0")]
    pool.cancel(TaskId(0))
    assert pool.history[-1][2] == [forget(0)]
    assert ready(pool, 2) == []
    assert submit(pool) == [send(2, task=1, host=2)]


# --- set-ups that fail ----------------------------------------------------------------------------


def test_failed_setup_is_tried_on_another_node() -> None:
    pool = new_pool(cpu_node(), cpu_node())
    submit(pool)
    assert setup_failed(pool, 1) == [start(2, "m1")]
    assert ready(pool, 2) == [send(1, 0, host=2, manager="m1")]


def test_setup_that_fails_on_two_nodes_fails_all_waiting_tasks_with_the_first_traceback() -> None:
    pool = new_pool(cpu_node(), cpu_node(), cpu_node())
    submit(pool)
    submit(pool)
    submit(pool)
    assert setup_failed(pool, 1, "the first\nValueError: x") == []
    decided = setup_failed(pool, 2, "the second\nValueError: x")
    assert decided[0] == stop(3, "m2")
    assert decided[1::2] == [forget(0), forget(1), forget(2)]
    for failure in failures(decided):
        assert failure.reason is FailureReason.SETUP_FAILED
        assert failure.message == "it raised (1 other node failed to build it too.)"
        assert failure.remote_traceback == "the first\nValueError: x"
        assert failure.log_tail == "log"


def test_setup_that_fails_on_the_only_node_fails_the_task_at_once() -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    (failure,) = failures(setup_failed(pool, 1))
    assert failure.message == "it raised"


def test_setup_whose_host_is_killed_is_tried_again_until_it_is_a_failed_setup() -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    assert exited(pool, 1) == [start(2, "m0")]
    assert exited(pool, 2) == [start(3, "m0")]
    (failure,) = failures(exited(pool, 3))
    assert (failure.reason, failure.message) == (FailureReason.SETUP_FAILED, "killed by SIGKILL")
    assert failure.log_tail == "last words"


def test_deaths_in_setups_are_counted_from_the_last_host_that_was_ready() -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    exited(pool, 1)
    exited(pool, 2)
    ready(pool, 3)
    exited(pool, 3)
    assert exited(pool, 4) == [start(5, "m0")]


def test_task_after_a_failed_setup_tries_again() -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    setup_failed(pool, 1)
    assert submit(pool) == [start(2, "m0")]


def test_context_that_has_worked_only_avoids_the_node_where_it_fails() -> None:
    pool = new_pool(cpu_node(), cpu_node(), cpu_node())
    for _ in range(3):
        submit(pool)
    ready(pool, 1)
    assert quietly(setup_failed(pool, 2)) == []
    assert quietly(setup_failed(pool, 3)) == []
    assert pool.ended == {}
    assert finished(pool, lease=1) == [deliver(0), forget(0), send(2, 1), send(3, 2)]


def test_node_that_could_not_hold_the_context_is_no_second_chance() -> None:
    pool = new_pool(cpu_node(), gpu_node(16))
    pool.declare("gpu", Requirements(cores=1.0, gpus=1))
    assert submit(pool, "gpu") == [start(1, "m1", "gpu", ("GPU-0",))]
    (failure,) = failures(setup_failed(pool, 1))
    assert failure.reason is FailureReason.SETUP_FAILED


def test_loss_of_the_last_untried_node_fails_what_waits_for_it() -> None:
    pool = new_pool(cpu_node(), cpu_node())
    pool.declare("busy", ONE_CORE)
    submit(pool, "busy")
    ready(pool, 1)
    submit(pool)
    assert quietly(setup_failed(pool, 2)) == []
    (failure,) = failures(lose(pool, "m0"))
    assert failure.task_id == TaskId(1)


# --- deaths ---------------------------------------------------------------------------------------


def test_death_blames_what_ran_and_not_what_was_queued() -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    submit(pool)
    submit(pool)
    ready(pool)
    finished(pool, lease=1)  # from now on the time of a piece is known, and one is prefetched
    assert exited(pool, 1) == [start(2, "m0")]
    context = pool.scheduler.cluster.contexts[ContextKey("c")]
    assert [piece.task.task_id for piece in context.suspects.pieces()] == [1]
    assert [piece.task.task_id for piece in context.backlog.pieces()] == [2]


def test_suspect_runs_alone() -> None:
    pool = new_pool(cpu_node())
    for _ in range(3):
        submit(pool)
    ready(pool)
    finished(pool, lease=1)
    exited(pool, 1)
    assert ready(pool, 2) == [send(4, task=1, host=2)]
    assert submit(pool) == []
    assert finished(pool, lease=4) == [
        deliver(1), forget(1), send(5, task=2, host=2), send(6, task=3, host=2),
    ]  # fmt: skip


def test_suspect_waits_until_a_busy_host_is_free_and_gets_it_for_itself() -> None:
    pool = new_pool(cpu_node(), cpu_node())
    submit(pool)
    submit(pool)
    ready(pool, 1)
    ready(pool, 2)
    assert exited(pool, 2) == [start(3, "m1")]
    assert submit(pool) == []
    assert finished(pool, lease=1) == [deliver(0), forget(0), send(3, task=1)]
    assert ready(pool, 3) == [send(4, task=2, host=3, manager="m1")]


def test_piece_that_kills_its_host_each_time_is_given_up() -> None:
    pool = new_pool(cpu_node(), max_attempts=2)
    submit(pool)
    ready(pool, 1)
    assert exited(pool, 1) == [start(2, "m0")]
    ready(pool, 2)
    forgotten, failure = exited(pool, 2)
    assert forgotten == forget(0)
    assert isinstance(failure, actions.FailTask)
    assert failure.reason is FailureReason.KILLS_HOST
    assert failure.message.startswith(
        "this task kills its host: each of its 2 attempts ended with the death of the process "
        "that ran it, the last one: killed by SIGKILL."
    )
    assert failure.log_tail == "last words"


def test_progress_clears_a_suspect() -> None:
    pool = new_pool(cpu_node(), max_attempts=2)
    submit(pool, num_items=2)
    ready(pool, 1)
    exited(pool, 1)
    ready(pool, 2)
    finished(pool, 2, 0, 1)
    assert exited(pool, 2) == [start(3, "m0")]


def test_two_pieces_of_one_task_that_die_together_fail_it_once() -> None:
    pool = FakePool(Random(0), max_attempts=1, policy=PairCuttingPolicy())
    pool.declare("c", Requirements(cores=1.0, max_concurrency=2))
    pool.register(cpu_node())
    submit(pool, num_items=4)
    assert ready(pool) == [send(1, 0, items=(0, 2)), send(2, 0, items=(2, 4))]
    forgotten, failure = exited(pool, 1)
    assert forgotten == forget(0)
    assert isinstance(failure, actions.FailTask)
    assert failure.message.startswith(
        "this task (items 0 to 1) kills its host: its only attempt ended with the death of the "
        "process that ran it: killed by SIGKILL."
    )


def test_lost_node_blames_nobody_and_puts_pieces_back_at_their_place() -> None:
    pool = new_pool(cpu_node(), max_attempts=1)
    for _ in range(3):
        submit(pool)
    ready(pool)
    finished(pool, lease=1)
    assert lose(pool, "m0") == []
    pool.register(cpu_node())
    assert ready(pool, 2)[0] == send(4, task=1, host=2, manager="m1")


# --- closing nodes --------------------------------------------------------------------------------


def test_held_node_finishes_what_runs_and_gets_nothing_new() -> None:
    pool = new_pool(cpu_node())
    for _ in range(3):
        submit(pool)
    ready(pool)
    finished(pool, lease=1)
    assert hold(pool, "m0") == [revoke(3)]
    assert pool.feed(events.LeaseRevoked(lease_id=LeaseId(3))) == []
    assert finished(pool, lease=2) == [deliver(1), forget(1), stop(1, "m0")]
    assert submit(pool) == []


def test_pieces_do_not_wait_for_hosts_that_start_on_a_held_node() -> None:
    pool = new_pool(cpu_node(), cpu_node())
    assert submit(pool) == [start(1, "m0")]
    assert hold(pool, "m0") == [stop(1, "m0"), start(2, "m1")]


def test_idle_host_of_a_held_node_is_ended() -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    ready(pool)
    finished(pool, lease=1)
    assert hold(pool, "m0") == [stop(1, "m0")]


def test_draining_node_is_dismissed_when_its_last_piece_is_done() -> None:
    pool = new_pool()
    pool.register(cpu_node(), drain_s=50.0)
    submit(pool)
    ready(pool)
    assert pass_time(pool, 49.9) == []
    assert pool.scheduler.next_deadline() == 50.0
    assert pass_time(pool, 50.0) == []
    assert submit(pool) == []
    assert finished(pool, lease=1) == [
        deliver(0), forget(0), stop(1, "m0"), dismiss("m0", "drained"),
    ]  # fmt: skip


def test_empty_draining_node_is_dismissed_at_once() -> None:
    pool = new_pool()
    pool.register(cpu_node(), drain_s=50.0)
    assert pass_time(pool, 50.0) == [dismiss("m0", "drained")]


def test_silent_node_is_lost_after_the_threshold() -> None:
    pool = new_pool(cpu_node(), cpu_node())
    submit(pool)
    pool.now = 59.0
    pool.feed(events.ManagerHeard(manager_id=ManagerId("m1")))
    assert pass_time(pool, 60.0) == [
        dismiss("m0", "not heard for 60 s", is_lost=True), start(2, "m1"),
    ]  # fmt: skip
    assert pool.scheduler.next_deadline() == 65.0  # growth; then m1's heartbeat at 119
    assert pass_time(pool, 118.9) == []
    assert pass_time(pool, 119.0) == [dismiss("m1", "not heard for 60 s", is_lost=True)]


def test_one_look_serves_the_heartbeats_of_all_nodes() -> None:
    pool = new_pool(*[cpu_node()] * 50)
    for second in range(40):
        pool.now = float(second)
        pool.feed(events.ManagerHeard(manager_id=ManagerId(f"m{second}")))
    assert pass_time(pool, 60.0) == [
        dismiss(f"m{silent}", "not heard for 60 s", is_lost=True) for silent in (*range(40, 50), 0)
    ]
    assert pool.scheduler.next_deadline() == 61.0


def test_no_deadline_is_in_the_past_after_it_was_handled() -> None:
    pool = new_pool(cpu_node())
    for now in (59.99999999999999, 60.0, 60.00000000000001):
        pool.now = now - 59.9
        pool.feed(events.ManagerHeard(manager_id=ManagerId("m0")))
        pool.now = now
        pool.feed(events.TimePassed())
        deadline = pool.scheduler.next_deadline()
        assert deadline is None or deadline > now


# --- transitions ----------------------------------------------------------------------------------


def test_step_that_no_table_allows_is_an_error() -> None:
    with pytest.raises(InvalidTransitionError, match="GONE cannot be followed by"):
        step(HOST_TRANSITIONS, HostState.GONE, HostState.READY)


@pytest.mark.parametrize(
    ("requirements", "told"),
    [
        (Requirements(cores=99.0), "needs 99 core(s), but"),
        (
            Requirements(cores=1.0, gpus=2, gpu_memory_bytes=40 * GB, host_memory_bytes=GB),
            "needs 2 GPU(s) with 40.0 GB each, 1.0 GB of main memory, 1 core(s), but",
        ),
        (
            Requirements(cores=1.0, gpus=1, min_compute_capability=9.0),
            "needs 1 GPU(s), compute capability 9.0 or higher, 1 core(s), but",
        ),
    ],
)
def test_context_that_fits_nowhere_fails_with_what_the_largest_node_has(
    requirements: Requirements, told: str
) -> None:
    pool = new_pool(cpu_node(), gpu_node(16))
    pool.declare("large", requirements)
    (failure,) = failures(submit(pool, "large"))
    assert failure.reason is FailureReason.DOES_NOT_FIT
    assert told in failure.message
    assert (
        "no node so far has had that: the largest node has 1 GPU(s) of up to 16.0 GB and compute "
        "capability 8, 64.0 GB of main memory and 8 core(s) for hosts." in failure.message
    )


def test_context_that_fitted_a_node_that_is_gone_waits_for_another() -> None:
    pool = new_pool(gpu_node(16), cpu_node())
    pool.declare("gpu", Requirements(cores=1.0, gpus=1))
    submit(pool, "gpu")
    assert lose(pool, "m0") == []
    assert submit(pool, "gpu") == []
    pool.register(gpu_node(16))
    assert start(2, "m2", "gpu", ("GPU-0",)) in pool.history[-1][2]


# --- nodes that may come --------------------------------------------------------------------------


def pool_of_possible(*nodes: NodeResources) -> FakePool:
    pool = FakePool(Random(0), possible_nodes=nodes)
    pool.declare("gpu", Requirements(cores=1.0, gpus=1, gpu_memory_bytes=20 * GB))
    return pool


def test_what_fits_no_node_that_may_come_fails_at_once_and_says_what_is_offered() -> None:
    unknown = NodeResources(cores=2.0**20, memory_bytes=2**60)
    pool = pool_of_possible(gpu_node(16), gpu_node(16), gpu_node(8, 8, capability=99.0), unknown)
    (failure,) = failures(submit(pool, "gpu"))
    assert failure.reason is FailureReason.DOES_NOT_FIT
    assert failure.message == (
        "context 'gpu' needs 1 GPU(s) with 20.0 GB each, 1 core(s), but no node that the provider "
        "may bring has that: it offers 1 GPU(s) 'gpu' of 16.0 GB and compute capability 8, 64.0 GB "
        "of main memory, 8 core(s); 2 GPU(s) 'gpu' of 8.0 GB, 64.0 GB of main memory, 8 core(s); "
        "no GPU. Ask the site for nodes that have it (the provider of the executor), or lower the "
        "requirements in @context or .options()."
    )


def test_long_list_of_offers_is_cut() -> None:
    pool = pool_of_possible(*(gpu_node(size) for size in range(1, 10)))
    (failure,) = failures(submit(pool, "gpu"))
    assert "'gpu' of 6.0 GB" in failure.message
    assert "'gpu' of 7.0 GB" not in failure.message
    assert "; and 3 more. Ask" in failure.message


def test_what_fits_a_node_that_may_come_waits_for_it() -> None:
    pool = pool_of_possible(gpu_node(16), gpu_node(24))
    assert submit(pool, "gpu") == []
    pool.register(gpu_node(16))
    assert troubles(pool.history[-1][2]) == [
        "context 'gpu' waits for a node with 1 GPU(s) with 20.0 GB each, 1 core(s): the largest so "
        "far has 1 GPU(s) of up to 16.0 GB and compute capability 8, 64.0 GB of main memory and 8 "
        "core(s) for hosts. The provider of the executor may bring a larger one."
    ]
    pool.register(gpu_node(16))
    assert pool.history[-1][2] == []  # that was told
    pool.register(gpu_node(24))
    assert pool.history[-1][2] == [start(1, "m2", "gpu", ("GPU-0",))]


def test_what_fits_a_node_that_nobody_expected_runs_there() -> None:
    pool = pool_of_possible(gpu_node(16))
    pool.register(gpu_node(80))
    assert submit(pool, "gpu") == [start(1, "m0", "gpu", ("GPU-0",))]
