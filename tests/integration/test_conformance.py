"""A live run and a simulated one of the same shape come to the same decisions in the same order.

The simulated run has the nodes, contexts and settings of the live one, as its log tells them, and
work of the same shape. The shapes are such that timing does not matter: set-ups wait until all
calls are known, calls end in the order that the test says, and no piece waits in a host
(``prefetch_capacity=0``), so that nothing depends on what was measured. What is compared is in
``tests/stories.py``: all decisions, but not when they were made. Where pieces do wait in hosts,
deliveries and pieces that are sent overtake each other by chance: then each kind is compared by
itself. Where a map is cut depends on measured speeds: ranges that follow on each other are joined.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from parsl import python_app

from parsl_pcm import PCMExecutor, context, pcm_map
from parsl_pcm.core import actions, events
from parsl_pcm.errors import ContextDoesNotFit, ContextSetupFailed, TaskKillsHost
from parsl_pcm.eventlog import LogRecord, read_log
from parsl_pcm.simulator.engine.parts import Model, Node, Way, each
from parsl_pcm.simulator.engine.pool import NEVER_SILENT_S, VirtualPool
from parsl_pcm.types import ManagerId, TaskId
from tests.running import MANAGER, PATIENCE_S, descendants, one_block, running, wait_for
from tests.stories import Decision, joined, of_kind, story, tasks_of

SETUP_S = 5.0
LONG_S = 600.0
"""Longer than any test lasts."""


@context
def desk(name, gate=None):
    """It is there as soon as the gate is."""
    import pathlib
    import time

    while gate is not None and not pathlib.Path(gate).exists():
        time.sleep(0.01)
    return name


@context
def broken():
    raise RuntimeError("no desk")


@context(gpus=64, gpu_type="a GPU that nobody has")
def impossible():
    return "a desk on the moon"


@python_app
def work(i, at):
    return i


@python_app
def wait(gate, at):
    """Work until the gate is there."""
    import pathlib
    import time

    while not pathlib.Path(gate).exists():
        time.sleep(0.01)


@python_app
def kill(at):
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


@python_app
def doubled(items, at):
    return [2 * item for item in items]


@dataclass
class Twin:
    """A pool in virtual time like that of a live run.

    ``nodes`` says of each node of the live run, in order, what is special about it, and ``bad``
    which contexts, counted from 1 in the order in which they came, cannot be built. Nodes send no
    heartbeats, and none is missed. An item takes a second. Hosts die half a second after they got a
    piece of a task in ``poison``.
    """

    log: Path
    nodes: Sequence[dict[str, Any]] = ({},)
    bad: Sequence[int] = ()
    poison: Sequence[int] = ()
    records: list[LogRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        header, records = read_log(self.log)
        happened = [record.event for record in records]
        registered = [e for e in happened if isinstance(e, events.ManagerRegistered)]
        declared = [e for e in happened if isinstance(e, events.ContextDeclared)]
        assert len(registered) == len(self.nodes)
        self.pool = VirtualPool(
            [Node(e.resources, **more) for e, more in zip(registered, self.nodes, strict=True)],
            [self._model(number, event) for number, event in enumerate(declared, start=1)],
            header=structs.replace(header, heartbeat_threshold_s=NEVER_SILENT_S),
            observe=self._observe,
        )

    def _model(self, number: int, event: events.ContextDeclared) -> Model:
        way = Way(requirements=event.requirements, piece_time=each(1.0), setup_s=SETUP_S)
        return Model(str(number), (way,), is_bad=number in self.bad)

    def _observe(self, record: LogRecord) -> None:
        self.records.append(record)
        for action in record.actions:
            if isinstance(action, actions.SendPiece) and action.task_id in self.poison:
                host = self.pool.hosts[action.host_id]
                self.pool.at(record.now + 0.5, partial(self.pool.kill, host))

    def story(self) -> list[Decision]:
        """Let everything happen, and return what was decided."""
        self.pool.run()
        return story(self.records)


def log_of(executor: PCMExecutor) -> Path:
    return Path(executor.logdir) / "events.jsonl"


def live_story(executor: PCMExecutor) -> list[Decision]:
    return story(read_log(log_of(executor)).records)


def wait_for_pieces(executor: PCMExecutor, *, num_queued: int = 0, num_running: int = 0) -> None:
    """Wait until so many pieces wait and run, of all contexts together."""

    def are_there() -> bool:
        rows = executor.contexts()
        counted = sum(row.queued for row in rows), sum(row.running for row in rows)
        return counted == (num_queued, num_running)

    wait_for(are_there, f"{num_queued} pieces wait and {num_running} run")


# --- one place --------------------------------------------------------------------------------

PRIORITIES = [0, 5, -5, 9, 0, -5, 3, 0]
UNWANTED = 5
"""Of these calls, counted from 1: one is cancelled."""


@pytest.mark.parametrize("prefetch", [0, None], ids=["no prefetch", "prefetch"])
def test_calls_of_one_place_run_by_priority_and_age(tmp_path: Path, prefetch: int | None) -> None:
    gate = tmp_path / "gate"
    with running(tmp_path, max_workers_per_node=1, prefetch_capacity=prefetch) as executor:
        wait_for(executor.connected_managers, "the node is there")
        at = desk("a", str(gate))
        futures = [
            executor.submit(work.func, {"priority": priority}, i, at)
            for i, priority in enumerate(PRIORITIES)
        ]
        assert futures[UNWANTED - 1].cancel()
        wait_for_pieces(executor, num_queued=len(PRIORITIES) - 1)
        gate.touch()
        for future in futures:
            assert future.cancelled() or future.result(PATIENCE_S) in range(len(PRIORITIES))
    twin = Twin(log_of(executor))
    for priority in PRIORITIES:
        twin.pool.submit_calls("1", priority=priority)
    cancelled = events.TaskCancelled(task_id=TaskId(UNWANTED))
    twin.pool.at(1.0, partial(twin.pool.feed, cancelled))
    live, simulated = live_story(executor), twin.story()
    if prefetch == 0:
        assert live == simulated
    for kind in (actions.StartHost, actions.SendPiece, actions.DeliverRange, actions.ForgetTask):
        assert of_kind(live, kind) == of_kind(simulated, kind)
    assert tasks_of(live, actions.SendPiece) == [3, 6, 1, 8, 7, 2, 4]


def test_contexts_follow_on_each_other_in_one_place(tmp_path: Path) -> None:
    with running(tmp_path, max_workers_per_node=1, prefetch_capacity=0) as executor:
        wait_for(executor.connected_managers, "the node is there")
        for name in "abab":
            for future in [executor.submit(work.func, {}, i, desk(name)) for i in range(3)]:
                future.result(PATIENCE_S)
        executor.evict(desk("b"))
        executor.submit(work.func, {}, 0, desk("a")).result(PATIENCE_S)
    twin = Twin(log_of(executor))
    for number, name in enumerate("1212"):
        twin.pool.submit_calls(name, 3, at=100.0 * number)
    twin.pool.evict("2", at=400.0)
    twin.pool.submit_calls("1", at=500.0)
    live = live_story(executor)
    assert live == twin.story()
    started = [about["context_key"] for _, about in of_kind(live, actions.StartHost)]
    assert started == [1, 2, 1, 2, 1]


def test_map_in_one_place_is_done_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    with running(tmp_path, max_workers_per_node=1) as executor:
        wait_for(executor.connected_managers, "the node is there")
        run = pcm_map(doubled, range(3000), at=desk("a"), progress=False)
        assert run.result(PATIENCE_S) == [2 * item for item in range(3000)]
    twin = Twin(log_of(executor))
    for record in read_log(log_of(executor)).records:
        if isinstance(record.event, events.TaskSubmitted):
            twin.pool.submit_map("1", record.event.num_items)
    live, simulated = live_story(executor), twin.story()
    for kind in (actions.SendPiece, actions.DeliverRange):
        assert joined(of_kind(live, kind)) == joined(of_kind(simulated, kind))
    assert of_kind(live, actions.ForgetTask) == of_kind(simulated, actions.ForgetTask)


# --- two places -------------------------------------------------------------------------------


def test_calls_of_two_places_end_in_the_order_that_the_test_says(tmp_path: Path) -> None:
    seconds = [3.0, 2.0, 2.0, 3.0, 1.0, 3.0]
    order = [2, 1, 3, 5, 4, 6]
    """In which calls of so many seconds, counted from 1, end in two places."""
    at = desk("a", str(tmp_path / "gate"))
    gates = {number: tmp_path / f"gate {number}" for number in order}
    with running(tmp_path, max_workers_per_node=2, prefetch_capacity=0) as executor:
        wait_for(executor.connected_managers, "the node is there")
        futures = {
            number: executor.submit(wait.func, {}, str(gates[number]), at)
            for number in sorted(order)
        }
        wait_for_pieces(executor, num_queued=6)
        (tmp_path / "gate").touch()
        wait_for_pieces(executor, num_running=2, num_queued=4)
        for number in order:
            gates[number].touch()
            futures[number].result(PATIENCE_S)
    twin = Twin(log_of(executor))
    for effort in seconds:
        twin.pool.submit_calls("1", effort=effort)
    live = live_story(executor)
    assert live == twin.story()
    assert tasks_of(live, actions.DeliverRange) == order


# --- trouble ----------------------------------------------------------------------------------


def test_call_that_kills_and_recipes_that_are_bad_cost_no_other_call(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with running(tmp_path, max_workers_per_node=1, prefetch_capacity=0, max_attempts=2) as executor:
        wait_for(executor.connected_managers, "the node is there")
        at = desk("a", str(gate))
        futures = [
            executor.submit(work.func, {}, 1, at),
            executor.submit(kill.func, {}, at),
            executor.submit(work.func, {}, 3, at),
            executor.submit(work.func, {}, 4, at),
        ]
        wait_for_pieces(executor, num_queued=4)
        gate.touch()
        assert isinstance(futures[1].exception(PATIENCE_S), TaskKillsHost)
        assert [futures[i].result(PATIENCE_S) for i in (0, 2, 3)] == [1, 3, 4]
        for recipe, error in ((broken, ContextSetupFailed), (impossible, ContextDoesNotFit)):
            assert isinstance(
                executor.submit(work.func, {}, 5, recipe).exception(PATIENCE_S), error
            )
        assert executor.submit(work.func, {}, 7, at).result(PATIENCE_S) == 7
    twin = Twin(log_of(executor), bad=[2], poison=[2])
    twin.pool.submit_calls("1", 4)
    for number, name in enumerate("231", start=1):
        twin.pool.submit_calls(name, at=100.0 * number)
    live = live_story(executor)
    assert live == twin.story()
    assert len(of_kind(live, actions.FailTask)) == 3


# --- nodes that leave -------------------------------------------------------------------------


def start_three_calls(executor: PCMExecutor, gate: Path) -> list[Any]:
    """Make three calls on a node that is there; return when the first runs, till the gate opens."""
    wait_for(executor.connected_managers, "the node is there")
    calls = [executor.submit(wait.func, {}, str(gate), desk("a"))]
    calls += [executor.submit(work.func, {}, i, desk("a")) for i in range(2)]
    wait_for_pieces(executor, num_queued=2, num_running=1)
    return calls


def get_another_node(executor: PCMExecutor) -> None:
    wait_for(lambda: not executor.connected_managers(), "the node is gone")
    executor.scale_out_facade(1)


def test_calls_of_a_lost_node_start_again_on_the_next(tmp_path: Path) -> None:
    gate, provider = tmp_path / "gate", one_block(min_blocks=0, max_blocks=2)
    with running(
        tmp_path, max_workers_per_node=1, prefetch_capacity=0, provider=provider
    ) as executor:
        calls = start_three_calls(executor, gate)
        (manager,) = descendants(MANAGER)
        manager.kill()
        get_another_node(executor)
        gate.touch()
        for call in calls:
            call.result(PATIENCE_S)
    twin = Twin(log_of(executor), [{"leaves_at": SETUP_S + 0.5}, {"joins_at": 2 * SETUP_S}])
    twin.pool.submit_calls("1", 3)
    live = live_story(executor)
    assert live == twin.story()
    assert tasks_of(live, actions.SendPiece) == [1, 1, 2, 3]


def test_node_that_is_taken_back_finishes_what_runs(tmp_path: Path) -> None:
    gate, provider = tmp_path / "gate", one_block(min_blocks=0, max_blocks=2)
    with running(
        tmp_path, max_workers_per_node=1, prefetch_capacity=0, provider=provider, notice_s=LONG_S
    ) as executor:
        calls = start_three_calls(executor, gate)
        (manager,) = descendants(MANAGER)
        os.kill(manager.pid, signal.SIGTERM)
        wait_for(
            lambda: all(each["draining"] for each in executor.connected_managers()),
            "the notice has come",
        )
        gate.touch()
        get_another_node(executor)
        for call in calls:
            call.result(PATIENCE_S)
    twin = Twin(log_of(executor), [{}, {"joins_at": 2 * SETUP_S}])
    twin.pool.submit_calls("1", 3)
    close = partial(twin.pool.close, ManagerId("node-0"), LONG_S)
    twin.pool.at(SETUP_S + 0.5, close)
    live = live_story(executor)
    assert live == twin.story()
    assert len(of_kind(live, actions.DismissManager)) == 1
    assert tasks_of(live, actions.SendPiece) == [1, 2, 3]
