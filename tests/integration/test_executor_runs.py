"""Runs of Parsl with an executor of their own: order, scaling, several of them, the event log."""

from __future__ import annotations

import os
from pathlib import Path

import parsl
import pytest
from parsl import python_app
from parsl.dataflow.memoization import BasicMemoizer

from parsl_pcm import PCMError, PCMExecutor, context
from parsl_pcm.eventlog import read_log, replay
from parsl_pcm.status import ContextStatus
from tests.running import (
    HOST,
    MANAGER,
    config_of,
    descendants,
    one_block,
    running,
    small_executor,
    wait_for,
)


@context
def tools():
    return {"factor": 3}


@python_app
def triple(x, tools=tools):
    return x * tools["factor"]


@python_app
def wait_for_file(path):
    import pathlib
    import time

    while not pathlib.Path(path).exists():
        time.sleep(0.01)
    return path


def test_outstanding_and_contexts_tell_what_waits_and_runs(tmp_path: Path):
    gate = str(tmp_path / "gate")
    with running(tmp_path / "run") as executor:
        futures = [wait_for_file(gate) for _ in range(5)]
        wait_for(lambda: sum(c.running for c in executor.contexts()) == 2, "both hosts are used")
        assert executor.outstanding() == 4, "not measured yet: twice the two slots"
        (status,) = executor.contexts()
        assert isinstance(status, ContextStatus)
        assert (status.name, status.warm, status.loading) == ("no context", 2, 0)
        assert (status.running, status.queued) == (2, 3)
        (manager,) = executor.connected_managers()
        assert manager["tasks"] >= 2
        assert manager["idle_duration"] == 0
        Path(gate).touch()
        assert [future.result() for future in futures] == [gate] * 5
        assert executor.outstanding() == 0
        assert executor.contexts()[0].queued == 0


def test_most_urgent_call_runs_first(tmp_path: Path):
    @python_app
    def note(word, path):
        with open(path, "a") as file:
            file.write(f"{word} ")

    gate, log = str(tmp_path / "gate"), str(tmp_path / "log")
    with running(tmp_path / "run", max_workers_per_node=1, prefetch_capacity=0) as executor:
        blocker = wait_for_file(gate)
        wait_for(lambda: [c for c in executor.contexts() if c.running], "the blocker runs")
        futures = [
            note(f"p{priority}", log, parsl_resource_specification={"priority": priority})
            for priority in (0, 5, -5, 9)
        ]
        wait_for(lambda: executor.contexts()[0].queued == 4, "all are submitted")
        Path(gate).touch()
        for future in [blocker, *futures]:
            future.result()
    assert Path(log).read_text().split() == ["p-5", "p0", "p5", "p9"]


def test_cancelled_call_never_runs_and_the_next_one_does(tmp_path: Path):
    def write(path):
        import pathlib

        pathlib.Path(path).touch()
        return path

    gate = str(tmp_path / "gate")
    with running(tmp_path / "run", max_workers_per_node=1) as executor:
        blocker = executor.submit(wait_for_file.func, {}, gate)
        wait_for(lambda: [c for c in executor.contexts() if c.running], "the blocker runs")
        unwanted = executor.submit(write, {}, str(tmp_path / "unwanted"))
        wanted = executor.submit(write, {}, str(tmp_path / "wanted"))
        assert unwanted.cancel()
        assert unwanted.cancelled()
        wait_for(lambda: executor.contexts()[0].queued == 1, "one waits no more")
        Path(gate).touch()
        assert wanted.result(60) == str(tmp_path / "wanted")
        assert blocker.result(60) == gate
        assert executor.outstanding() == 0
        assert not blocker.cancel()
    assert not (tmp_path / "unwanted").exists()


def test_long_calls_after_short_ones_do_not_wait_behind_each_other(tmp_path: Path):
    with running(tmp_path / "run") as executor:
        assert [triple(i).result() for i in range(10)] == [3 * i for i in range(10)]

        @python_app
        def meet(folder, name, tools=tools):
            import pathlib
            import time

            (pathlib.Path(folder) / name).touch()
            while len(list(pathlib.Path(folder).glob("here-*"))) < 2:
                time.sleep(0.01)
            return name

        futures = [meet(str(tmp_path), name) for name in ("here-1", "here-2")]
        assert [future.result(timeout=60) for future in futures] == ["here-1", "here-2"]
        assert executor.contexts()[0].warm == 2


# --- scaling ----------------------------------------------------------------------------------


def test_blocks_come_with_the_work_and_go_without_it(tmp_path: Path):
    provider = one_block(init_blocks=0, min_blocks=0, max_blocks=2)
    executor = small_executor(provider=provider, max_workers_per_node=1)
    scaling = {"strategy": "htex_auto_scale", "strategy_period": 0.1, "max_idletime": 0.2}

    def num_active() -> int:
        return sum(manager["active"] for manager in executor.connected_managers())

    gate = str(tmp_path / "gate")
    with parsl.load(config_of(tmp_path / "run", executor, **scaling)):
        assert num_active() == 0
        futures = [wait_for_file(gate) for _ in range(4)]
        wait_for(lambda: num_active() == 2, "both blocks are there")
        Path(gate).touch()
        assert [future.result() for future in futures] == [gate] * 4
        wait_for(lambda: num_active() == 0, "both blocks are given back")
        wait_for(lambda: not descendants(MANAGER, HOST), "their processes are gone")
        assert wait_for_file(gate).result() == gate
    parsl.clear()


def states_of_blocks(executor: PCMExecutor) -> dict[str, str]:
    return {block: status.state.name for block, status in executor.status_facade.items()}


def test_scale_in_hands_the_work_of_a_block_to_the_next(tmp_path: Path):
    gate = str(tmp_path / "gate")
    settings = {"strategy": "simple"}
    provider = one_block(min_blocks=0, max_blocks=1)
    with running(tmp_path / "run", provider=provider, parsl_settings=settings) as executor:
        futures = [wait_for_file(gate) for _ in range(2)]
        wait_for(lambda: sum(c.running for c in executor.contexts()) == 2, "both calls run")
        assert executor.scale_in_facade(1) == ["0"]
        wait_for(
            lambda: [m["block_id"] for m in executor.connected_managers()] == ["1"],
            "Parsl's strategy has replaced the block",
        )
        assert executor.outstanding() == 2
        Path(gate).touch()
        assert [future.result() for future in futures] == [gate] * 2
        wait_for(lambda: states_of_blocks(executor) == {"0": "SCALED_IN", "1": "RUNNING"}, "status")


# --- more than one ----------------------------------------------------------------------------


def test_connection_without_encryption_works(tmp_path: Path):
    with running(tmp_path / "run", encrypted=False) as executor:
        assert triple(2).result() == 6
        assert executor.cert_dir is None


def test_two_executors_and_two_kernels_after_each_other(tmp_path: Path):
    @python_app(executors=["left"])
    def where_left():
        return os.environ["PARSL_WORKER_POOL_ID"]

    @python_app(executors=["right"])
    def where_right():
        return os.environ["PARSL_WORKER_POOL_ID"]

    for run in ("first", "second"):
        left, right = small_executor(label="left"), small_executor(label="right")
        with parsl.load(config_of(tmp_path / run, left, right)):
            found = [where_left().result(), where_right().result()]
            managers = [executor.connected_managers()[0] for executor in (left, right)]
            assert found == [manager["manager"] for manager in managers]
        parsl.clear()


def test_executor_that_is_not_loaded_says_so():
    with pytest.raises(PCMError, match=r"'pcm' is not running: load it with parsl\.load"):
        small_executor().submit(len, {}, "abc")


# --- contexts and memory from run to run ------------------------------------------------------


def test_clean_up_runs_at_eviction_and_at_the_end(tmp_path: Path):
    @context
    def marked(name, folder):
        import pathlib

        yield name
        (pathlib.Path(folder) / name).touch()

    @python_app
    def use(x):
        return x

    with running(tmp_path / "run", max_workers_per_node=1):
        assert use(marked("first", str(tmp_path))).result() == "first"
        assert not (tmp_path / "first").exists()
        assert use(marked("second", str(tmp_path))).result() == "second"
        assert (tmp_path / "first").exists()
        assert not (tmp_path / "second").exists()
    assert (tmp_path / "second").exists()


def test_checkpoint_is_used_until_the_code_of_the_context_changes(tmp_path: Path):
    checkpoints: list[str] = []

    def run_with(recipe) -> str:
        memoizer = BasicMemoizer(checkpoint_mode="task_exit", checkpoint_files=checkpoints.copy())
        log = tmp_path / "log"
        log.write_text("")

        @python_app(cache=True)
        def logged(path, value=recipe):
            with open(path, "a") as file:
                file.write("ran")
            return value

        run_dir = tmp_path / f"run{len(checkpoints)}"
        with running(run_dir, parsl_settings={"memoizer": memoizer}):
            result = logged(str(log)).result()
        checkpoints.append(str(next(run_dir.glob("*/checkpoint"))))
        return f"{result} {log.read_text()}"

    @context
    def value():
        return 1

    before = value

    @context
    def value():
        return 2

    assert run_with(before) == "1 ran"
    assert run_with(before) == "1 "
    assert run_with(value) == "2 ran"


# --- the event log ----------------------------------------------------------------------------


def test_real_run_replays_to_the_same_actions(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    @python_app
    def fail(x):
        raise ValueError(x)

    @python_app
    def die_once(flag):
        import pathlib

        if not pathlib.Path(flag).exists():
            pathlib.Path(flag).touch()
            os._exit(3)
        return "alive"

    with running(tmp_path / "run", print_summary=True) as executor:
        futures = [triple(i) for i in range(200)]
        failed = fail(1)
        survivor = die_once(str(tmp_path / "flag"))
        assert [future.result() for future in futures] == [3 * i for i in range(200)]
        assert isinstance(failed.exception(), ValueError)
        assert survivor.result() == "alive"
    log = Path(executor.logdir) / "events.jsonl"
    kinds = [type(record.event).__name__ for record in read_log(log).records]
    assert kinds.count("TaskSubmitted") == 202
    assert kinds.count("PieceFinished") == 201
    assert kinds.count("PieceFailed") == 1
    assert kinds.count("HostExited") >= 1
    assert replay(log) is None
    summary = capsys.readouterr().err
    assert "202 submitted" in summary
    assert str(log) in summary
