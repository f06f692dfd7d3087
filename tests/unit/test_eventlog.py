from __future__ import annotations

from pathlib import Path
from random import Random
from typing import get_args

import msgspec
import pytest

from parsl_pcm.core import actions, events
from parsl_pcm.core.memory import Held
from parsl_pcm.eventlog import (
    FORMAT_VERSION,
    EventLog,
    EventLogError,
    LogHeader,
    LogRecord,
    build_scheduler,
    read_log,
    replay,
)
from parsl_pcm.types import HostId, ManagerId, Requirements, TaskId
from parsl_pcm.version import VERSION
from tests.fakes import GB, FakePool, cpu_node, gpu_node

HEADER = LogHeader(
    label="pcm",
    started_wall_s=1_700_000_000.0,
    max_attempts=3,
    heartbeat_threshold_s=60.0,
    fixed_prefetch=None,
    notice_s=10.0,
    possible_nodes=(),
)


def run_with_faults() -> list[tuple[float, events.Event, list[actions.Action]]]:
    """Return the history of a run with awkward times, losses and failures."""
    pool = FakePool(Random(1))
    context = pool.declare("c", Requirements(cores=1.0))
    broken = pool.declare("broken", Requirements(cores=1.0, gpus=1))
    pool.broken.add(broken)
    first = pool.register(cpu_node(2.0), remaining_s=1e6, drain_s=1e6)
    pool.register(gpu_node(16))
    for index in range(20):
        pool.submit(broken if index == 3 else context, num_items=1 + index % 3)
        pool.let_time_pass(0.1 / 3)
        pool.settle()
    for _ in range(5):
        pool.submit(context)
    pool.take_back(first, None)
    pool.settle()
    pool.take_back(pool.register(cpu_node(), remaining_s=77.7), 1 / 3)
    pool.lose(first)
    pool.finish()
    return pool.history


def run_with_several_contexts() -> list[tuple[float, events.Event, list[actions.Action]]]:
    """Return the history of contexts that are warmed, measured, put to sleep, woken and dropped."""
    pool = FakePool(Random(1))
    needs = Requirements(gpus=1, cores=0.0, gpu_memory_bytes=10 * GB, can_sleep=True)
    first = pool.declare("first", needs)
    second = pool.declare("second", needs, Requirements(cores=1.0))
    pool.held[first] = Held(9 * GB, GB)
    node = pool.register(gpu_node(16))
    pool.feed(events.WarmRequested(context_key=first, num_hosts=1))
    pool.settle()
    pool.measure(node, node.hosts[HostId(1)], Held(12 * GB, 2 * GB))
    for index in range(6):
        pool.submit(second if index % 2 else first, num_items=1 + index)
        pool.settle()
        pool.let_time_pass(20.0)
    pool.sleepless.add(second)
    pool.submit(first)
    pool.settle()
    pool.feed(events.EvictRequested(context_key=first))
    pool.finish()
    return pool.history


def written_log(path: Path, header: LogHeader = HEADER) -> Path:
    with EventLog(path, header) as log:
        for now, event, decided in run_with_faults():
            log.append(now, event, decided)
    return path


def test_log_is_read_as_it_was_written(tmp_path: Path) -> None:
    header, records = read_log(written_log(tmp_path / "events.jsonl"))
    assert header == HEADER
    assert (header.format_version, header.pcm_version) == (FORMAT_VERSION, VERSION)
    assert [(r.now, r.event, r.actions) for r in records] == run_with_faults()


def test_replay_reproduces_the_actions(tmp_path: Path) -> None:
    assert replay(written_log(tmp_path / "events.jsonl")) is None


def test_replay_reproduces_a_run_with_several_contexts(tmp_path: Path) -> None:
    history = run_with_several_contexts()
    seen = {type(each) for _, event, decided in history for each in (event, *decided)}
    for kind in (events.HostMeasured, events.HostAsleep, events.HostAwake, events.SleepFailed):
        assert kind in seen
    for order in (actions.SleepHost, actions.WakeHost, actions.StopHost, actions.TellTrouble):
        assert order in seen
    with EventLog(tmp_path / "events.jsonl", HEADER) as log:
        for now, event, decided in history:
            log.append(now, event, decided)
    assert [tuple(r.actions) for r in read_log(tmp_path / "events.jsonl").records] == [
        tuple(decided) for _, _, decided in history
    ]
    assert replay(tmp_path / "events.jsonl") is None


def test_replay_tells_the_first_difference(tmp_path: Path) -> None:
    path = written_log(tmp_path / "events.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    wrong = msgspec.json.decode(lines[4], type=LogRecord)
    wrong = msgspec.structs.replace(wrong, actions=[actions.ForgetTask(task_id=TaskId(77))])
    lines[4] = msgspec.json.encode(wrong) + b"\n"
    path.write_bytes(b"".join(lines))
    difference = replay(path)
    assert difference is not None
    assert difference.line == 5
    assert difference.record == wrong
    assert difference.replayed == run_with_faults()[3][2]


def test_replay_uses_the_settings_of_the_run(tmp_path: Path) -> None:
    header = msgspec.structs.replace(HEADER, max_attempts=1, fixed_prefetch=7)
    pool = FakePool(Random(0))
    pool.scheduler = build_scheduler(header)
    context = pool.declare("c", Requirements(cores=1.0))
    manager = pool.register(cpu_node())
    tasks = [pool.submit(context) for _ in range(9)]
    pool.feed(events.HostReady(host_id=HostId(1), setup_s=1.0))
    assert pool.scheduler.cluster.hosts[HostId(1)].load == 8
    pool.feed(events.HostExited(host_id=HostId(1), description="died"))
    assert pool.ended == {tasks[0]: "kills_host"}
    with EventLog(tmp_path / "events.jsonl", header) as log:
        for now, event, decided in pool.history:
            log.append(now, event, decided)
    assert replay(tmp_path / "events.jsonl") is None
    assert manager.manager_id == ManagerId("m0")


def test_header_holds_what_the_site_may_bring_and_the_notice_it_gives(tmp_path: Path) -> None:
    header = msgspec.structs.replace(HEADER, notice_s=3.0, possible_nodes=(gpu_node(16),))
    with EventLog(tmp_path / "events.jsonl", header):
        pass
    assert read_log(tmp_path / "events.jsonl").header == header
    pool = FakePool(Random(0))
    pool.scheduler = build_scheduler(header)
    context = pool.declare("c", Requirements(cores=1.0, gpus=2))
    task = pool.submit(context)
    assert pool.ended == {task: "does_not_fit"}
    manager = pool.register(gpu_node(16))
    pool.submit(pool.declare("d", Requirements(cores=1.0, gpus=1)))
    pool.feed(events.HostReady(host_id=HostId(1), setup_s=1.0))
    pool.take_back(manager, None)
    assert pool.scheduler.cluster.managers[manager.manager_id].ends_at == 3.0


def test_line_that_a_crash_cut_short_is_left_out(tmp_path: Path) -> None:
    path = written_log(tmp_path / "events.jsonl")
    num_records = len(list(read_log(path).records))
    path.write_bytes(path.read_bytes()[:-5])
    assert len(list(read_log(path).records)) == num_records - 1
    assert replay(path) is None


def test_log_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog(path, HEADER) as log:
        assert list(read_log(path).records) == []
        log.append(0.5, events.ManagerHeard(manager_id=ManagerId("m")), [])
        log.flush()
        assert [record.now for record in read_log(path).records] == [0.5]


def test_log_is_never_overwritten(tmp_path: Path) -> None:
    path = written_log(tmp_path / "events.jsonl")
    with pytest.raises(FileExistsError):
        EventLog(path, HEADER)


def test_log_of_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"format_version": 99, "pcm_version": "9.9.0", "color": "red"}\n')
    with pytest.raises(EventLogError, match=r"of format 99, written by parsl_pcm 9\.9\.0; this is"):
        read_log(path)


@pytest.mark.parametrize("content", ["", "half a li", "not JSON\n", '{"other": 1}\n'])
def test_file_that_is_no_log_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(content)
    with pytest.raises(EventLogError, match="does not begin with the header of an event log"):
        read_log(path)


def test_damaged_line_is_named(tmp_path: Path) -> None:
    path = written_log(tmp_path / "events.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = b'{"now": "soon"}\n'
    path.write_bytes(b"".join(lines))
    with pytest.raises(EventLogError, match=r"line 3 of .* is damaged"):
        list(read_log(path).records)


def test_no_event_or_action_carries_what_may_be_secret() -> None:
    kinds = [*get_args(events.Event), *get_args(actions.Action)]
    assert len(kinds) == 36
    fields = {name for kind in kinds for name in kind.__struct_fields__}
    assert not fields & {"env", "recipes", "function", "arguments", "result", "payload"}
