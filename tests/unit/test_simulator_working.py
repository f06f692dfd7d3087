"""Pieces at hosts in virtual time."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

import pytest

from parsl_pcm.core import events
from parsl_pcm.core.actions import SendPiece, StartHost
from parsl_pcm.eventlog import LogRecord
from parsl_pcm.simulator.engine.files import Files
from parsl_pcm.simulator.engine.parts import (
    Model,
    Node,
    Tally,
    TaskTruth,
    Way,
    cpu_model,
    each,
    new_host,
)
from parsl_pcm.simulator.engine.pool import VirtualPool
from parsl_pcm.simulator.engine.staging import Staging
from parsl_pcm.simulator.engine.timeline import Timeline
from parsl_pcm.simulator.engine.working import Working, World
from parsl_pcm.simulator.scenario import Keeps
from parsl_pcm.types import (
    ContextKey,
    HostId,
    LeaseId,
    ManagerId,
    NodeResources,
    Requirements,
    TaskId,
)

NODE = NodeResources(cores=1.0, memory_bytes=8 * 10**9)


def test_tasks_of_more_effort_take_so_many_times_as_long_per_item_but_not_per_piece() -> None:
    way = Way(requirements=Requirements(cores=1.0), piece_time=each(1.0, 3.0))
    for effort, call_s in [(0.0, 3.0), (1.0, 4.0), (2.5, 5.5)]:
        pool = VirtualPool([Node(NODE)], [Model("a", (way,))])
        pool.submit_calls("a", 10, effort=effort)
        assert pool.run() == pytest.approx(10 * call_s, abs=0.05)


def test_items_on_a_node_twice_as_fast_take_half_as_long() -> None:
    pool = VirtualPool([Node(NODE, speed=2.0)], [cpu_model("a", 1.0, 5.0)])
    pool.submit_calls("a", 10)
    assert pool.run() == pytest.approx(10.0, abs=0.05)


def test_call_of_many_items_is_one_piece_that_nobody_cuts() -> None:
    seen: list[LogRecord] = []
    pool = VirtualPool([Node(NODE)], [cpu_model("a", 1.0, 5.0)], observe=seen.append)
    pool.submit_calls("a", 3, call_items=20)
    assert pool.run() == pytest.approx(65.0, abs=0.05)
    assert pool.tallies["a"].num_items == 60
    assert sum(isinstance(each.event, events.PieceFinished) for each in seen) == 3
    assert list(pool.call_items.values()) == [20, 20, 20]


def test_apps_that_yield_are_heard_of_item_by_item() -> None:
    seen: list[LogRecord] = []
    way = Way(requirements=Requirements(cores=1.0), piece_time=each(1.0))
    node = Node(NODE, is_yielding=True)
    pool = VirtualPool([node], [Model("a", (way,))], observe=seen.append)
    pool.submit_map("a", 20)
    pool.run()
    reported = [each.event for each in seen if isinstance(each.event, events.PieceFinished)]
    assert [event.stop - event.start for event in reported] == [1] * 20
    assert [event.run_s for event in reported] == pytest.approx([1.0] * 20)


def test_items_that_were_heard_of_before_a_node_vanished_are_not_repeated() -> None:
    way = Way(requirements=Requirements(cores=1.0), piece_time=each(10.0))
    nodes = [Node(NODE, is_yielding=True, leaves_at=75.0), Node(NODE, joins_at=80.0)]
    pool = VirtualPool(nodes, [Model("a", (way,))])
    pool.submit_map("a", 10)
    assert pool.run() == pytest.approx(80.0 + 30.0, abs=0.2)


def test_host_runs_as_many_pieces_at_once_as_it_may() -> None:
    way = Way(
        requirements=Requirements(cores=1.0, max_concurrency=4),
        piece_time=lambda num_items, _now, num_running: num_items * (4.0 + num_running),
    )
    pool = VirtualPool([Node(NODE)], [Model("a", (way,))])
    pool.submit_calls("a", 4)
    assert pool.run() == pytest.approx(8.0, abs=0.1)


class Bench:
    """One host whose items take a second, and messages half of one."""

    def __init__(self) -> None:
        self.time = Timeline()
        self.said: list[tuple[float, events.Event]] = []
        self.num_pieces = 0
        world = World(time=self.time, random=Random(1), latency_s=0.5, say=self.say)
        self.working = Working(world, Files(self.time, Staging(self.time)))
        order = StartHost(
            manager_id=ManagerId("m"),
            host_id=HostId(1),
            context_key=ContextKey("a"),
            device_ids=(),
        )
        model = cpu_model("a", 1.0, 5.0)
        self.host = new_host(ManagerId("m"), Node(NODE), order, model)

    def say(self, event: events.Event) -> None:
        self.said.append((self.time.now, event))

    def send(self, num_items: int, arrives_at: float) -> LeaseId:
        self.num_pieces += 1
        piece = SendPiece(
            manager_id=ManagerId("m"),
            host_id=HostId(1),
            lease_id=LeaseId(self.num_pieces),
            task_id=TaskId(1),
            start=0,
            stop=num_items,
        )
        self.working.take(self.host, piece, TaskTruth(Tally()), arrives_at)
        return piece.lease_id

    def revoke(self, lease_id: LeaseId, at: float) -> None:
        self.time.at(at, lambda: self.working.give_back(self.host, lease_id))

    def run(self) -> list[tuple[float, LeaseId, bool]]:
        """Return when the host was heard of each piece, and whether it had done it."""
        while self.time.next_at() < math.inf:
            self.time.step()
        return [
            (when, event.lease_id, isinstance(event, events.PieceFinished))
            for when, event in self.said
            if isinstance(event, events.PieceFinished | events.LeaseRevoked)
        ]


def test_piece_that_waits_begins_when_the_one_before_it_ends() -> None:
    bench = Bench()
    bench.send(4, 1.0)
    bench.send(2, 1.0)
    assert bench.run() == [(5.5, 1, True), (7.5, 2, True)]


def test_piece_that_arrives_when_the_one_before_it_has_ended_begins_then() -> None:
    bench = Bench()
    bench.send(4, 1.0)
    bench.send(2, 5.25)  # on its way when the first one ends
    assert bench.run() == [(5.5, 1, True), (7.75, 2, True)]


@pytest.mark.parametrize(("at", "is_done"), [(4.99, False), (5.0, True), (5.01, True)])
def test_piece_can_be_asked_back_until_it_begins(at: float, is_done: bool) -> None:
    bench = Bench()
    bench.send(4, 1.0)
    second = bench.send(2, 1.0)
    bench.revoke(second, at)
    told_at = 7.5 if is_done else at + 0.5
    assert (told_at, second, is_done) in bench.run()


def test_time_at_work_counts_what_is_built_for_each_piece_too() -> None:
    model = replace(cpu_model("a", 1.0, 5.0), keeps=Keeps.FILES)
    pool = VirtualPool([Node(NODE)], [model])
    pool.submit_calls("a", 3)
    pool.run()
    (host,) = pool.hosts.values()
    assert host.busy_s == pytest.approx(18.0)
