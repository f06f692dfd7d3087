"""Contexts that fail: on one node, on several, on all; and hosts that die at work."""

from __future__ import annotations

from random import Random

from parsl_pcm.core import actions
from parsl_pcm.core.actions import FailureReason
from parsl_pcm.core.blame import Explanation
from parsl_pcm.core.quarantine import FIRST_S, LONGEST_S, Quarantine, gist
from parsl_pcm.core.records import ContextRecord
from parsl_pcm.types import ContextKey, ManagerId, Requirements, TaskId
from tests.core_words import (
    deliver,
    exited,
    failures,
    finished,
    forget,
    lose,
    new_pool,
    pass_time,
    quietly,
    ready,
    send,
    setup_failed,
    start,
    stop,
    submit,
    troubles,
)
from tests.fakes import FakePool, cpu_node, gpu_node

M0, M1 = ManagerId("m0"), ManagerId("m1")


def why(last_line: str) -> Explanation:
    return Explanation("it raised", f"Traceback\n  line 1\n{last_line}\n")


def context_of(pool: FakePool) -> ContextRecord:
    return pool.scheduler.cluster.contexts[ContextKey("c")]


# --- the list of nodes ----------------------------------------------------------------------------


def test_each_failure_doubles_the_pause_up_to_half_an_hour() -> None:
    quarantine, now, pauses = Quarantine(), 0.0, []
    for _ in range(8):
        until = quarantine.add(M0, why("x"), now)
        assert not quarantine.may_try(M0, until - 0.1)
        assert quarantine.may_try(M0, until)
        pauses.append(until - now)
        now = until
    assert pauses == [30.0, 60.0, 120.0, 240.0, 480.0, 960.0, LONGEST_S, LONGEST_S]


def test_hosts_that_fail_together_are_one_try() -> None:
    quarantine = Quarantine()
    assert [quarantine.add(M0, why("x"), now) for now in (0.0, 1.0, 2.0)] == [FIRST_S] * 3


def test_node_that_is_forgotten_begins_again() -> None:
    quarantine = Quarantine()
    for now in (0.0, 30.0):
        quarantine.add(M0, why("x"), now)
    quarantine.forget(M0)
    assert quarantine.may_try(M0, 31.0)
    assert quarantine.add(M0, why("x"), 31.0) == 31.0 + FIRST_S


def test_failures_are_alike_if_their_last_lines_are() -> None:
    quarantine = Quarantine()
    for number, line in enumerate(["KeyError: 1", "OSError: full", "KeyError: 1"]):
        quarantine.add(ManagerId(f"m{number}"), why(line), 0.0)
    assert quarantine.num_alike() == 2
    assert gist(Explanation("no traceback\nlast words\n")) == "last words"
    assert gist(Explanation("")) == ""


# --- one node -------------------------------------------------------------------------------------


def test_node_that_fails_is_tried_again_when_its_quarantine_ends() -> None:
    pool = new_pool(cpu_node(), cpu_node())
    for _ in range(3):
        submit(pool)
    ready(pool, 1)
    assert setup_failed(pool, 2)[0].message == (
        "context 'c' could not be built on node m1, and is not tried there again for 30 s: "
        "Traceback"
    )
    assert start(3, "m1") not in pass_time(pool, 29.9)
    assert start(3, "m1") in pass_time(pool, 30.0)


def test_the_same_failure_is_told_once_and_others_too() -> None:
    pool = new_pool(cpu_node(), cpu_node())
    for _ in range(9):
        submit(pool)
    ready(pool, 1)
    told = [len(troubles(setup_failed(pool, 2, "ValueError: x")))]
    pool.let_time_pass(30.0)
    told.append(len(troubles(setup_failed(pool, 3, "ValueError: x"))))
    pool.let_time_pass(30.0)
    pool.let_time_pass(30.0)
    told.append(len(troubles(setup_failed(pool, 4, "OSError: full"))))
    assert told == [1, 0, 1]
    assert context_of(pool).trouble.endswith("OSError: full")


def test_node_on_which_it_is_built_after_all_is_forgiven() -> None:
    pool = new_pool(cpu_node(), cpu_node())
    for _ in range(3):
        submit(pool)
    ready(pool, 1)
    setup_failed(pool, 2)
    pass_time(pool, 30.0)
    assert M1 in context_of(pool).quarantine
    ready(pool, 3)
    assert M1 not in context_of(pool).quarantine


def test_first_node_that_fails_is_not_told_while_another_is_tried() -> None:
    pool = new_pool(cpu_node(), cpu_node())
    submit(pool)
    assert setup_failed(pool, 1) == [start(2, "m1")]


def test_bad_node_on_which_hosts_are_killed_while_they_build_is_left_alone() -> None:
    pool = new_pool(cpu_node(), cpu_node())
    for _ in range(9):
        submit(pool)
    ready(pool, 1)
    for host in (2, 3):
        assert exited(pool, host) == [start(host + 1, "m1")]
        context_of(pool).num_setup_deaths = 0  # as if a host had become ready elsewhere
    assert quietly(exited(pool, 4)) == []
    assert not context_of(pool).may_try(pool.scheduler.cluster.managers[M1], pool.now)


# --- several nodes --------------------------------------------------------------------------------


def pool_with_failures(*last_lines: str, num_nodes: int = 6) -> FakePool:
    """Return a pool in which a context that waits has failed on as many nodes, in these ways."""
    pool = new_pool(*[cpu_node()] * num_nodes)
    submit(pool)
    for host, line in enumerate(last_lines, start=1):
        setup_failed(pool, host, line)
    return pool


def test_two_nodes_that_fail_in_different_ways_leave_a_chance() -> None:
    pool = pool_with_failures("OSError: full", "KeyError: 1")
    assert pool.ended == {}
    assert ready(pool, 3) == [send(1, 0, host=3, manager="m2")]


def test_two_nodes_that_fail_in_the_same_way_tell_of_the_recipe() -> None:
    assert pool_with_failures("KeyError: 1", "KeyError: 1").ended == {TaskId(0): "setup_failed"}


def test_three_nodes_that_fail_in_whatever_ways_tell_of_the_recipe() -> None:
    pool = pool_with_failures("OSError: full", "KeyError: 1", "ValueError: x")
    (failure,) = failures(pool.history[-1][2])
    assert failure.reason is FailureReason.SETUP_FAILED
    assert failure.message == "it raised (2 other nodes failed to build it too.)"
    assert failure.remote_traceback == "OSError: full"


def test_two_bad_nodes_among_many_do_not_condemn_a_recipe_that_others_still_build() -> None:
    pool = new_pool(*[cpu_node()] * 6)
    for _ in range(6):
        submit(pool)
    assert setup_failed(pool, 1, "OSError: bad node") == []
    assert setup_failed(pool, 2, "OSError: bad node") == []
    assert ready(pool, 3) == [send(1, 0, host=3, manager="m2")]
    assert pool.ended == {}


def test_recipe_that_fails_on_most_nodes_is_bad_and_its_other_hosts_are_ended() -> None:
    pool = new_pool(*[cpu_node()] * 6)
    for _ in range(6):
        submit(pool)
    for host in (1, 2, 3):
        assert setup_failed(pool, host) == []
    decided = setup_failed(pool, 4)
    assert decided[:2] == [stop(5, "m4"), stop(6, "m5")]
    assert len(failures(decided)) == 6


def test_other_contexts_go_on_when_a_recipe_is_bad() -> None:
    pool = new_pool(*[cpu_node(2.0)] * 3)
    good = pool.declare("good", context_of(pool).requirements)
    pool.broken.add(ContextKey("c"))
    tasks = [pool.submit(key) for key in (ContextKey("c"), good) * 3]
    pool.finish()
    assert [pool.ended[task] for task in tasks] == ["setup_failed", "finished"] * 3


def test_context_that_has_worked_waits_for_the_end_of_the_last_quarantine() -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    ready(pool)
    exited(pool, 1)
    assert troubles(setup_failed(pool, 2))
    pool.finish()
    assert pool.ended == {TaskId(0): "finished"}


def test_call_of_a_context_whose_only_node_failed_again_and_again_fails_soon() -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    ready(pool)
    assert finished(pool, 1) == [deliver(0), forget(0)]
    exited(pool, 1)
    pool.bad_nodes.add(M0)
    task_id = pool.submit(ContextKey("c"))
    began_at = pool.now
    pool.finish()
    assert pool.ended[task_id] == "setup_failed"
    assert pool.now - began_at <= 150.0
    pool.bad_nodes.clear()
    again = pool.submit(ContextKey("c"))
    pool.finish()
    assert pool.ended[again] == "finished"


# --- deaths at work -------------------------------------------------------------------------------


def test_every_third_death_of_a_host_at_work_is_told_with_its_last_words() -> None:
    pool = new_pool(cpu_node(), max_attempts=1)
    told = []
    for host in range(1, 7):
        submit(pool)
        ready(pool, host)
        told += [d for d in exited(pool, host) if isinstance(d, actions.TellTrouble)]
    assert [trouble.message.split(" have")[0] for trouble in told] == [
        "3 hosts of context 'c'",
        "6 hosts of context 'c'",
    ]
    assert "killed by SIGKILL" in told[0].message
    assert told[0].log_tail == "last words"


def test_death_shortly_before_its_node_is_lost_does_not_count() -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    ready(pool)
    exited(pool, 1)
    assert context_of(pool).num_deaths == 1
    lose(pool, "m0")
    assert context_of(pool).num_deaths == 0


def test_ways_to_build_are_all_named_when_none_fits() -> None:
    pool = FakePool(Random(0))
    types = Requirements(cores=1.0, gpus=1, gpu_types=("h100", "h200"))
    pool.declare("large", types, Requirements(cores=99.0))
    pool.register(gpu_node(16))
    (failure,) = failures(submit(pool, "large"))
    assert failure.reason is FailureReason.DOES_NOT_FIT
    assert (
        "needs 1 GPU(s), of type h100 or h200, 1 core(s), or 99 core(s) ('v1'), but"
        in failure.message
    )
