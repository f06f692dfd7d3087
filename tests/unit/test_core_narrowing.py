"""Pieces that raise or kill their host: events in, exact actions out."""

from __future__ import annotations

import pytest

from parsl_pcm.core import actions, events
from parsl_pcm.core.actions import Action, FailureReason
from parsl_pcm.core.narrowing import MAX_PARTS, Span, split_killer, split_raised
from parsl_pcm.types import ContextKey, LeaseId, ManagerId, Requirements, TaskId
from tests.core_words import (
    deliver,
    exited,
    failures,
    finished,
    forget,
    lose,
    new_pool,
    quietly,
    raised,
    ready,
    revoke,
    revoked,
    send,
    setup_failed,
    start,
    submit_map,
    take_back,
)
from tests.fakes import FakePool, WholePiecePolicy, cpu_node


def one_host_pool(num_items: int, *, is_tolerant: bool = False, max_attempts: int = 3) -> FakePool:
    """Return a pool whose only host has a whole map, as lease 1."""
    pool = new_pool(cpu_node(), policy=WholePiecePolicy(), max_attempts=max_attempts)
    submit_map(pool, num_items, is_tolerant=is_tolerant)
    assert ready(pool) == [send(1, 0, items=(0, num_items))]
    return pool


def suspects(pool: FakePool) -> list[tuple[int, int, int]]:
    """Return (start, stop, num_kills) of each piece that waits as a suspect."""
    waiting = pool.scheduler.cluster.contexts[ContextKey("c")].suspects.pieces()
    return [(piece.start, piece.stop, piece.num_kills) for piece in waiting]


def item_raised(item: int) -> Action:
    return actions.DeliverItemException(task_id=TaskId(0), item=item)


# --- how a range is split -------------------------------------------------------------------------


def test_what_raised_is_halved() -> None:
    assert split_raised(Span(10, 17), has_progressed=False) == [(10, 13), (13, 17)]
    assert split_raised(Span(10, 12), has_progressed=False) == [(10, 11), (11, 12)]


def test_first_item_left_is_blamed_when_results_came_one_by_one() -> None:
    assert split_raised(Span(10, 17), has_progressed=True) == [(10, 11), (11, 17)]
    assert split_killer(Span(10, 14), has_progressed=True) == [
        (10, 11), (11, 12), (12, 13), (13, 14)
    ]  # fmt: skip


@pytest.mark.parametrize("has_progressed", [False, True])
@pytest.mark.parametrize("max_parts", [1, 2, 3, MAX_PARTS])
@pytest.mark.parametrize("num_items", [1, 2, 15, 16, 17, 100])
def test_parts_of_a_killer_are_as_equal_as_can_be(
    num_items: int, max_parts: int, has_progressed: bool
) -> None:
    parts = split_killer(Span(5, 5 + num_items), has_progressed=has_progressed, max_parts=max_parts)
    assert [item for part in parts for item in range(*part)] == list(range(5, 5 + num_items))
    assert len(parts) == min(num_items, max_parts)
    sizes = [part.stop - part.start for part in parts[has_progressed:]] or [1]
    assert max(sizes) - min(sizes) <= 1


# --- what raises ----------------------------------------------------------------------------------


def test_exception_is_delivered_when_one_item_is_left() -> None:
    pool = one_host_pool(4)
    assert raised(pool, 1) == [send(2, 0, items=(0, 2))]
    assert finished(pool, 2, 0, 2) == [deliver(0, 0, 2), send(3, 0, items=(2, 4))]
    assert raised(pool, 3) == [send(4, 0, items=(2, 3)), send(5, 0, items=(3, 4))]
    assert raised(pool, 4) == [
        revoke(5),
        forget(0),
        actions.DeliverException(task_id=TaskId(0), item=2),
    ]


def test_tolerant_map_goes_on_without_the_item_that_raised_and_finishes() -> None:
    pool = one_host_pool(2, is_tolerant=True)
    assert raised(pool, 1) == [send(2, 0, items=(0, 1))]
    assert raised(pool, 2) == [item_raised(0), send(3, 0, items=(1, 2))]
    assert pool.scheduler.cluster.contexts[ContextKey("c")].num_open_items == 1
    assert raised(pool, 3) == [item_raised(1), forget(0)]


def test_item_behind_the_results_that_came_is_tried_alone() -> None:
    pool = one_host_pool(10, is_tolerant=True)
    assert finished(pool, 1, 0, 4) == [deliver(0, 0, 4)]
    assert raised(pool, 1) == [send(2, 0, items=(4, 5)), send(3, 0, items=(5, 10))]
    assert raised(pool, 2) == [item_raised(4)]
    assert finished(pool, 3, 5, 10) == [deliver(0, 5, 10), forget(0)]


def test_rest_of_a_piece_that_was_given_back_waits_again() -> None:
    pool = one_host_pool(10)
    finished(pool, 1, 0, 4)
    assert revoked(pool, 1) == [send(2, 0, items=(4, 10))]


def test_exception_of_a_cancelled_map_concerns_nobody() -> None:
    pool = one_host_pool(10)
    pool.cancel(TaskId(0))
    assert raised(pool, 1) == []


# --- what kills its host --------------------------------------------------------------------------


def test_killer_is_split_into_suspects_that_run_alone() -> None:
    pool = one_host_pool(32)
    assert exited(pool, 1) == [start(2, "m0")]
    assert suspects(pool) == [(item, item + 2, 1) for item in range(0, 32, 2)]
    assert ready(pool, 2) == [send(2, 0, host=2, items=(0, 2))]
    assert finished(pool, 2, 0, 2) == [deliver(0, 0, 2), send(3, 0, host=2, items=(2, 4))]
    exited(pool, 2)
    assert suspects(pool)[:3] == [(2, 3, 2), (3, 4, 2), (4, 6, 1)]


def test_item_that_kills_its_host_on_each_attempt_is_given_up_and_no_other() -> None:
    pool = one_host_pool(2, is_tolerant=True)
    exited(pool, 1)
    assert ready(pool, 2) == [send(2, 0, host=2)]
    assert exited(pool, 2) == [start(3, "m0")]
    assert ready(pool, 3) == [send(3, 0, host=3)]
    failure, restart = quietly(exited(pool, 3))
    assert restart == start(4, "m0")
    assert isinstance(failure, actions.FailItem)
    assert (failure.item, failure.reason) == (0, FailureReason.KILLS_HOST)
    assert failure.message.startswith("this item kills its host: each of its 3 attempts")
    assert failure.log_tail == "last words"
    assert ready(pool, 4) == [send(4, 0, host=4, items=(1, 2))]
    assert finished(pool, 4, 1, 2) == [deliver(0, 1, 2), forget(0)]


def test_last_item_that_is_given_up_finishes_the_task() -> None:
    pool = one_host_pool(1, is_tolerant=True, max_attempts=1)
    decided = exited(pool, 1)
    assert isinstance(decided[0], actions.FailItem)
    assert decided[1:] == [forget(0)]


def test_killer_ends_a_map_that_tolerates_nothing_and_is_named() -> None:
    pool = one_host_pool(2, max_attempts=1)
    exited(pool, 1)
    ready(pool, 2)
    assert finished(pool, 2) == [deliver(0), send(3, 0, host=2, items=(1, 2))]
    decided = exited(pool, 2)
    assert decided[0] == forget(0)
    (failure,) = failures(decided)
    assert (failure.item, failure.reason) == (1, FailureReason.KILLS_HOST)


def test_first_item_left_is_suspected_alone_when_results_came_one_by_one() -> None:
    pool = one_host_pool(100)
    finished(pool, 1, 0, 40)
    exited(pool, 1)
    assert suspects(pool)[:2] == [(40, 41, 1), (41, 44, 1)]
    assert suspects(pool)[-1][1] == 100


def test_one_killer_among_thousands_costs_few_hosts_and_one_item() -> None:
    pool = new_pool(cpu_node(), policy=WholePiecePolicy())
    task_id = pool.submit_map(ContextKey("c"), 4096, is_tolerant=True, poison=[1234])
    pool.finish()
    num_deaths = sum(isinstance(event, events.HostExited) for _, event, _ in pool.history)
    assert num_deaths == 4  # in 4096, 256 and 16 items, and alone: then it had three attempts
    assert pool.failed_items[task_id] == {1234}
    assert len(pool.delivered[task_id]) == 4095


def test_pieces_that_ran_beside_one_another_are_tried_whole_before_they_are_split() -> None:
    crowd = Requirements(cores=1.0, max_concurrency=16)
    pool = new_pool(cpu_node(), policy=WholePiecePolicy(), needs=crowd)
    for _ in range(16):
        submit_map(pool, 100)
    ready(pool)
    assert exited(pool, 1) == [start(2, "m0")]
    assert suspects(pool) == [(0, 100, 1)] * 16
    ready(pool, 2)
    exited(pool, 2)
    assert len(suspects(pool)) == 15 + MAX_PARTS


def test_parts_are_forgiven_when_the_node_goes_too() -> None:
    pool = one_host_pool(32)
    pool.register(cpu_node())
    exited(pool, 1)
    pool.now += 1.0
    lose(pool, "m0")
    assert suspects(pool) == [(item, item + 2, 0) for item in range(0, 32, 2)]


def test_parts_of_parts_are_forgiven_too() -> None:
    pool = one_host_pool(32)
    exited(pool, 1)
    ready(pool, 2)
    exited(pool, 2)
    assert [kills for *_, kills in suspects(pool)] == [2, 2, *[1] * 15]
    lose(pool, "m0")
    assert {kills for *_, kills in suspects(pool)} == {0}


def test_deaths_on_a_node_that_is_taken_back_split_nothing() -> None:
    pool = one_host_pool(32)
    pool.register(cpu_node())
    take_back(pool, "m0", None)
    exited(pool, 1)
    assert suspects(pool) == []
    assert ready(pool, 2) == [send(2, 0, host=2, manager="m1", items=(0, 32))]


def test_context_that_cannot_be_built_ends_a_tolerant_map() -> None:
    pool = new_pool(cpu_node())
    submit_map(pool, 10, is_tolerant=True)
    decided = setup_failed(pool, 1)
    (failure,) = failures(decided)
    assert (failure.item, failure.reason) == (None, FailureReason.SETUP_FAILED)


@pytest.mark.parametrize("is_tolerant", [False, True])
def test_map_whose_results_may_be_those_of_other_items_is_over(is_tolerant: bool) -> None:
    pool = one_host_pool(8, is_tolerant=is_tolerant)
    finished(pool, 1, 0, 3)
    event = events.PieceFailed(lease_id=LeaseId(1), is_misaligned=True)
    assert pool.feed(event) == [forget(0), actions.DeliverException(task_id=TaskId(0))]
    assert pool.feed(event) == []


def two_hosts_pool() -> FakePool:
    """Return a pool whose node starts hosts 1 and 2 for a map."""
    pool = new_pool(cpu_node(cores=2), policy=WholePiecePolicy(), max_attempts=3)
    submit_map(pool, 8)
    assert sorted(pool.scheduler.cluster.hosts) == [1, 2]
    return pool


def test_a_node_on_which_a_host_got_ready_after_all_gets_others() -> None:
    pool = two_hosts_pool()
    for host in (1, 3, 4):  # killed while they build; 2 is still at it
        exited(pool, host)
    ready(pool, 2)
    exited(pool, 2)
    assert pool.scheduler.cluster.hosts, "the piece of host 2 waits for another"


def test_work_whose_last_host_died_fails_if_no_node_can_build_another() -> None:
    pool = two_hosts_pool()
    ready(pool, 1)
    setup_failed(pool, 2)
    assert exited(pool, 1) == []  # the node is tried again after 30 s, then after 60 s more
    pool.bad_nodes.add(ManagerId("m0"))
    pool.finish()
    assert pool.ended == {TaskId(0): "setup_failed"}
    assert 90.0 <= pool.now <= 120.0
