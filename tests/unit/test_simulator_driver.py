"""The central process in virtual time: its log, its stream of orders, and the end of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from parsl_pcm.core import actions, events
from parsl_pcm.core.policy import DefaultPolicy
from parsl_pcm.eventlog import EventLog, LogHeader, LogRecord, read_log, replay
from parsl_pcm.simulator.engine.driver import MAX_WAKES_IN_VAIN, Post
from parsl_pcm.simulator.engine.managers import LATENCY_S
from parsl_pcm.simulator.engine.parts import GB, Model, Node, Way, cpu_model, each, gpus
from parsl_pcm.simulator.engine.pool import NEVER_SILENT_S, VirtualPool
from parsl_pcm.simulator.engine.timeline import Timeline
from parsl_pcm.types import HostId, LeaseId, ManagerId, NodeResources, Requirements, TaskId

NODE = NodeResources(cores=1.0, memory_bytes=8 * 10**9)
HEADER = LogHeader(
    label="simulated",
    started_wall_s=0.0,
    max_attempts=3,
    heartbeat_threshold_s=NEVER_SILENT_S,
    fixed_prefetch=2,
    notice_s=10.0,
    possible_nodes=(NODE,),
)


def test_log_of_a_run_is_replayed_to_the_same_decisions(tmp_path: Path) -> None:
    nodes = [Node(NODE, leaves_at=20.0), Node(NODE, joins_at=3.0), Node(NODE, walltime_s=30.0)]
    seen: list[LogRecord] = []
    with EventLog(tmp_path / "log", HEADER) as log:
        pool = VirtualPool(
            nodes, [cpu_model("a", 1.0, 5.0)], header=HEADER, log=log, observe=seen.append
        )
        pool.submit_map("a", 50)
        pool.submit_calls("a", 10, at=2.0, every_s=0.7)
        pool.run()
    assert pool.is_done
    assert list(read_log(tmp_path / "log").records) == seen
    assert len(seen) == pool.num_events
    assert replay(tmp_path / "log") is None


def test_settings_of_the_header_are_those_of_the_scheduler() -> None:
    pool = VirtualPool([Node(NODE)], [cpu_model("a", 1.0, 5.0)], header=HEADER)
    pool.submit_calls("a", 10)
    pool.run_until(5.1)
    (host,) = pool.scheduler.cluster.hosts.values()
    assert len(host.leases) == 3


def finished_at(**settings: float) -> list[float]:
    """Return when the first call on each of four nodes was done."""
    seen: list[LogRecord] = []
    pool = VirtualPool(
        [Node(NODE) for _ in range(4)],
        [cpu_model("a", 1.0, 5.0)],
        policy=DefaultPolicy(fixed_prefetch=0),
        observe=seen.append,
        **settings,  # type: ignore[arg-type]
    )
    pool.submit_calls("a", 4)
    pool.run()
    return [each.now for each in seen if isinstance(each.event, events.PieceFinished)]


def test_pieces_leave_the_central_process_one_after_the_other() -> None:
    assert finished_at() == pytest.approx([6.0 + 3 * LATENCY_S] * 4)
    first = 6.0 + 3 * LATENCY_S
    expected = [first + number * 0.5 for number in (1, 2, 3, 4)]
    assert finished_at(dispatch_s=0.5) == pytest.approx(expected)


def test_order_never_overtakes_a_piece_that_was_sent_before() -> None:
    arrived: list[tuple[float, actions.Action]] = []

    class Managers:
        def obey(self, orders: list[actions.Action]) -> None:
            arrived.extend((time.now, order) for order in orders)

        def take(self, order: actions.SendPiece, at: float) -> None:
            arrived.append((at, order))

    time = Timeline()
    post = Post(time, Managers(), latency_s=0.25, dispatch_s=1.0)  # type: ignore[arg-type]
    piece = actions.SendPiece(
        manager_id=ManagerId("m"),
        host_id=HostId(1),
        lease_id=LeaseId(1),
        task_id=TaskId(1),
        start=0,
        stop=1,
    )
    stop = actions.StopHost(manager_id=ManagerId("m"), host_id=HostId(1))
    for _ in range(2):
        post.send_piece(piece)
    post.send([stop])
    time.step()
    assert arrived == [(1.25, piece), (2.25, piece), (2.25, stop)]


def test_messages_take_as_long_as_is_said() -> None:
    assert finished_at(latency_s=0.25) == pytest.approx([6.75] * 4)


def test_run_stops_at_its_time_and_goes_on_from_there() -> None:
    pool = VirtualPool([Node(NODE)], [cpu_model("a", 1.0, 5.0)])
    pool.submit_calls("a", 10)
    pool.run(stop_s=8.0)
    assert (pool.now, pool.is_done) == (8.0, False)
    assert 0 < pool.tallies["a"].num_items < 10
    pool.run()
    assert pool.is_done
    assert pool.tallies["a"].num_items == 10


def test_run_waits_for_work_that_is_planned() -> None:
    pool = VirtualPool([Node(NODE)], [cpu_model("a", 1.0, 5.0)])
    pool.submit_calls("a", 1)
    pool.submit_calls("a", 1, at=50.0)
    assert pool.run() >= 51.0


def test_run_ends_with_the_last_task_whatever_else_is_planned() -> None:
    pool = VirtualPool([Node(NODE, leaves_at=1e6)], [cpu_model("a", 1.0, 5.0)])
    pool.submit_calls("a", 1)
    pool.run()
    assert pool.now < 10.0


def test_scheduler_that_looks_for_ever_at_what_never_changes_does_not_keep_a_run_going() -> None:
    pool = VirtualPool([], [cpu_model("a", 1.0, 5.0)], possible_nodes=[NODE])
    pool.submit_calls("a")
    pool.scheduler.next_deadline = lambda: pool.now + 1.0  # type: ignore[method-assign]
    pool.run()
    assert not pool.is_done
    assert pool.num_events <= MAX_WAKES_IN_VAIN + 10


def test_run_whose_nodes_can_do_nothing_ends_when_the_last_thing_happened() -> None:
    way = Way(requirements=Requirements(gpus=1), piece_time=each(1.0))
    gpu_node = gpus(24 * GB)
    pool = VirtualPool([Node(NODE, joins_at=7.0)], [Model("a", (way,))], possible_nodes=[gpu_node])
    pool.submit_calls("a")
    pool.run()
    assert not pool.is_done
    assert pool.now == pytest.approx(7.0, abs=10.0)


def test_hook_for_work_is_called_after_each_submission() -> None:
    pool = VirtualPool([Node(NODE)], [cpu_model("a", 1.0, 5.0)])
    came_at: list[float] = []
    pool.on_work = lambda: came_at.append(pool.now)
    pool.submit_calls("a", 3, at=2.0)
    pool.submit_map("a", 3, at=4.0)
    pool.run()
    assert came_at == [2.0, 4.0]
