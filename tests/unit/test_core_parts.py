"""The small parts of the core: queues, loads, timers."""

from __future__ import annotations

from itertools import pairwise

import pytest

from parsl_pcm.core.backlog import Backlog
from parsl_pcm.core.capacity import Capacity
from parsl_pcm.core.loads import HostLoads
from parsl_pcm.core.records import (
    ContextRecord,
    HostRecord,
    LeaseRecord,
    ManagerRecord,
    PieceRecord,
    TaskRecord,
)
from parsl_pcm.core.timers import TimerKind, Timers
from parsl_pcm.core.transitions import TaskState
from parsl_pcm.types import (
    BlockId,
    ContextKey,
    HostId,
    LeaseId,
    ManagerId,
    NodeResources,
    Requirements,
    TaskId,
)

CONTEXT = ContextRecord(ContextKey("c"), "c", Requirements(cores=1.0))


def new_task(task_id: int, priority: int = 0) -> TaskRecord:
    return TaskRecord(TaskId(task_id), CONTEXT, 10, priority)


def new_manager(manager_id: str, memory_bytes: int) -> ManagerRecord:
    resources = NodeResources(cores=1.0, memory_bytes=memory_bytes)
    return ManagerRecord(ManagerId(manager_id), BlockId("0"), resources, 0.0)


def new_host(host_id: int) -> HostRecord:
    return HostRecord(HostId(host_id), CONTEXT, new_manager("m", 0), ())


def load(host: HostRecord, num_leases: int) -> None:
    piece = PieceRecord(new_task(0), 0, 1)
    host.leases = {LeaseId(n): LeaseRecord(LeaseId(n), piece, host, 0) for n in range(num_leases)}


def test_backlog_orders_by_priority_then_task_then_item() -> None:
    backlog = Backlog()
    places = [(0, 1, 5), (0, 1, 0), (1, 0, 0), (-1, 9, 0)]
    for priority, task_id, start in places:
        backlog.push(PieceRecord(new_task(task_id, priority), start, 10))
    in_order = [backlog.pop() for _ in places]
    assert [(p.task.priority, p.task.task_id, p.start) for p in in_order] == sorted(places)
    with pytest.raises(IndexError):
        backlog.pop()


def test_backlog_drops_the_pieces_of_a_task_that_ended() -> None:
    backlog = Backlog()
    ended, other = new_task(0), new_task(1)
    for piece in (PieceRecord(ended, 0, 5), PieceRecord(ended, 5, 10), PieceRecord(other, 0, 10)):
        backlog.push(piece)
    ended.state = TaskState.CANCELLED
    backlog.forget(ended)
    assert len(backlog) == 1
    assert [piece.task for piece in backlog.pieces()] == [other]
    assert backlog.pop().task is other
    assert len(backlog) == 0


def test_rest_of_the_first_piece_waits_in_its_place() -> None:
    backlog = Backlog()
    task = new_task(0)
    for start in (0, 10):
        backlog.push(PieceRecord(task, start, start + 10))
    first = backlog.replace_first(PieceRecord(task, 4, 10))
    assert first.start == 0
    assert (len(backlog), backlog.num_items) == (2, 16)
    assert [(piece.start, piece.stop) for piece in backlog.pieces()] == [(4, 10), (10, 20)]
    assert [backlog.pop().start, backlog.pop().start] == [4, 10]
    assert (len(backlog), backlog.num_items) == (0, 0)


def test_loads_tell_the_least_and_the_most_loaded_host() -> None:
    loads = HostLoads()
    assert loads.least_loaded() is None
    assert loads.most_loaded() is None
    hosts = [new_host(n) for n in range(3)]
    for host, num_leases in zip(hosts, (2, 0, 1), strict=True):
        load(host, num_leases)
        loads.put(host)
    assert (loads.least_loaded(), loads.most_loaded()) == (hosts[1], hosts[0])
    load(hosts[1], 5)
    loads.put(hosts[1])
    assert (loads.least_loaded(), loads.most_loaded()) == (hosts[2], hosts[1])
    loads.discard(hosts[1])
    loads.discard(hosts[1])
    assert (loads.least_loaded(), loads.most_loaded()) == (hosts[2], hosts[0])
    load(hosts[0], 0)
    loads.put(hosts[0])
    assert (loads.least_loaded(), loads.most_loaded()) == (hosts[0], hosts[2])
    assert len(loads) == 2


def test_loads_prefer_the_host_that_has_waited_longest() -> None:
    loads = HostLoads()
    hosts = [new_host(n) for n in range(2)]
    for host in hosts:
        loads.put(host)
    loads.put(hosts[0])
    assert loads.least_loaded() is hosts[1]


def test_timers_give_what_is_due_in_order_and_once() -> None:
    timers = Timers()
    assert timers.next() is None
    timers.set(TimerKind.GROWTH, "b", 2.0)
    timers.set(TimerKind.GROWTH, "a", 1.0)
    timers.set(TimerKind.REBALANCE, "a", 1.0)
    timers.set(TimerKind.GROWTH, "a", 0.5)  # planned already
    assert timers.next() == 1.0
    due = timers.pop_due(2.0)
    assert [(t.kind, t.subject) for t in due] == [
        (TimerKind.GROWTH, "a"),
        (TimerKind.REBALANCE, "a"),
        (TimerKind.GROWTH, "b"),
    ]
    assert all(one.when <= other.when for one, other in pairwise(due))
    assert timers.pop_due(2.0) == []
    timers.set(TimerKind.GROWTH, "a", 3.0)
    assert timers.next() == 3.0


def test_nodes_that_differ_by_a_few_kb_are_of_one_kind_and_lose_nothing() -> None:
    capacity = Capacity()
    for number in range(10):
        capacity.add(new_manager(f"m{number}", 16_000_000_000 - 1024 * number))
    assert len(capacity.kinds()) == 1
    assert capacity.could_ever_fit(
        ContextRecord(
            ContextKey("c"), "c", Requirements(cores=1.0, host_memory_bytes=16_000_000_000)
        )
    )


def test_timer_that_is_moved_or_cancelled_is_not_due_at_its_old_time() -> None:
    timers = Timers()
    timers.set(TimerKind.END, "a", 1.0)
    timers.move(TimerKind.END, "a", 2.0)
    timers.set(TimerKind.END, "b", 1.5)
    timers.cancel(TimerKind.END, "b")
    timers.cancel(TimerKind.END, "never set")
    assert timers.next() == 2.0
    assert timers.pop_due(1.9) == []
    timers.move(TimerKind.END, "a", 1.0)
    assert [t.subject for t in timers.pop_due(1.9)] == ["a"]
    assert timers.next() is None
    assert timers.pop_due(9.0) == []
