"""PCMExecutor through Parsl, with real processes."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import parsl
import pytest
from parsl import DataFlowKernel, bash_app, join_app, python_app

from parsl_pcm import PCMError, PCMExecutor, context
from parsl_pcm.errors import TaskCancelled
from parsl_pcm.eventlog import read_log, replay
from parsl_pcm.status import ContextStatus
from tests.running import (
    HOST,
    INTERCHANGE,
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


# --- tasks ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("executor")
def test_apps_with_and_without_a_context_run_side_by_side():
    @python_app
    def add(a, b=1, *, c=0):
        return a + b + c

    futures = [(add(i, c=1), triple(i)) for i in range(30)]
    assert [(f.result(), g.result()) for f, g in futures] == [(i + 2, 3 * i) for i in range(30)]


@pytest.mark.usefixtures("executor")
def test_futures_are_arguments_of_other_calls():
    assert triple(triple(triple(1))).result() == 27


@pytest.mark.usefixtures("executor")
def test_large_arguments_and_results_travel():
    @python_app
    def swap(data):
        return data[::-1]

    data = os.urandom(1000) * 30_000
    assert swap(data).result() == data[::-1]


@pytest.mark.usefixtures("executor")
def test_join_app_and_bash_app_run(tmp_path: Path):
    @join_app
    def both():
        return [triple(1), triple(2)]

    @bash_app
    def say(word, stdout=None):
        return f"echo {word}"

    assert both().result() == [3, 6]
    assert say("hello", stdout=str(tmp_path / "out")).result() == 0
    assert (tmp_path / "out").read_text() == "hello\n"


@pytest.mark.usefixtures("executor")
def test_many_threads_may_submit():
    results: dict[int, list[int]] = {}

    def submit(thread: int) -> None:
        numbers = range(100 * thread, 100 * thread + 50)
        results[thread] = [future.result() for future in [triple(i) for i in numbers]]

    threads = [threading.Thread(target=submit, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {t: [3 * i for i in range(100 * t, 100 * t + 50)] for t in range(6)}


def test_most_urgent_call_runs_first(tmp_path: Path):
    @python_app
    def note(word, path):
        with open(path, "a") as file:
            file.write(f"{word} ")

    gate, log = str(tmp_path / "gate"), str(tmp_path / "log")
    with running(tmp_path / "run", max_workers_per_node=1, prefetch_capacity=0):
        blocker = wait_for_file(gate)
        futures = [
            note(f"p{priority}", log, parsl_resource_specification={"priority": priority})
            for priority in (0, 5, -5, 9)
        ]
        wait_for(lambda: parsl.dfk().executors["pcm"].outstanding() == 5, "all are submitted")
        Path(gate).touch()
        for future in [blocker, *futures]:
            future.result()
    first, *others = Path(log).read_text().split()
    assert [first, *others] == sorted([first, *others], key=lambda word: -int(word[1:]))


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
        Path(gate).touch()
        assert wanted.result(60) == str(tmp_path / "wanted")
        assert blocker.result(60) == gate
        assert executor.outstanding() == 0
        assert not blocker.cancel()
    assert not (tmp_path / "unwanted").exists()
    assert issubclass(TaskCancelled, PCMError)


# --- what Parsl and people ask ----------------------------------------------------------------


def test_outstanding_and_contexts_tell_what_waits_and_runs(executor: PCMExecutor, tmp_path: Path):
    gate = str(tmp_path / "gate")
    futures = [wait_for_file(gate) for _ in range(6)]

    def num_running() -> int:
        return sum(status.running for status in executor.contexts())

    wait_for(lambda: num_running() == 4, "every host runs a call")
    assert executor.outstanding() == 6
    (status,) = [status for status in executor.contexts() if status.running]
    assert isinstance(status, ContextStatus)
    assert (status.name, status.warm, status.queued) == ("no context", 4, 2)
    (manager,) = executor.connected_managers()
    assert manager["tasks"] >= 4
    assert manager["idle_duration"] == 0
    Path(gate).touch()
    assert [future.result() for future in futures] == [gate] * 6
    assert executor.outstanding() == 0


def test_managers_and_blocks_are_known(executor: PCMExecutor):
    triple(1).result()
    (manager,) = executor.connected_managers()
    assert manager["block_id"] == "0"
    assert manager["active"] is True
    assert manager["draining"] is False
    assert manager["parsl_version"] == parsl.__version__
    assert "tools" in manager["contexts"]
    assert executor.connected_blocks() == ["0"]
    packages = executor.connected_managers_packages()[manager["manager"]]
    assert packages["parsl"] == parsl.__version__
    assert [status.state.name for status in executor.status().values()] == ["RUNNING"]
    assert executor.workers_per_node == 2  # of 4 places: this machine has so many cores


def test_resource_monitor_is_refused(executor: PCMExecutor):
    assert executor.monitor_resources() is False


def test_repr_names_what_was_given(executor: PCMExecutor):
    text = repr(executor)
    assert text.startswith("PCMExecutor(")
    for part in ("label='pcm'", "max_workers_per_node=4", "encrypted=True", "max_attempts=3"):
        assert part in text


def test_only_its_owner_can_read_the_configuration_and_keys(executor: PCMExecutor):
    run_dir = Path(executor.logdir)
    assert (run_dir / "manager.json").stat().st_mode & 0o077 == 0
    assert Path(executor.cert_dir).stat().st_mode & 0o077 == 0
    lines = [" ".join(process.cmdline()) for process in descendants(INTERCHANGE, MANAGER, HOST)]
    assert not [line for line in lines if "key" in line]


# --- scaling ----------------------------------------------------------------------------------


def test_blocks_come_with_the_work_and_go_without_it(tmp_path: Path):
    provider = one_block(init_blocks=0, min_blocks=0, max_blocks=2)
    executor = small_executor(provider=provider, max_workers_per_node=1)
    scaling = {"strategy": "htex_auto_scale", "strategy_period": 0.1, "max_idletime": 0.2}

    def num_active() -> int:
        return sum(manager["active"] for manager in executor.connected_managers())

    gate = str(tmp_path / "gate")
    kernel = DataFlowKernel(config_of(tmp_path / "run", executor, **scaling))
    with kernel:
        assert num_active() == 0
        futures = [
            kernel.submit(wait_for_file.func, app_args=(gate,), app_kwargs={}) for _ in range(4)
        ]
        wait_for(lambda: num_active() == 2, "both blocks are there")
        Path(gate).touch()
        assert [future.result() for future in futures] == [gate] * 4
        wait_for(lambda: num_active() == 0, "both blocks are given back")
        wait_for(lambda: not descendants(MANAGER, HOST), "their processes are gone")
        again = kernel.submit(wait_for_file.func, app_args=(gate,), app_kwargs={})
        assert again.result() == gate


def test_scale_in_holds_the_block_and_hands_its_work_to_the_next(tmp_path: Path):
    gate = str(tmp_path / "gate")
    with running(tmp_path / "run", provider=one_block(min_blocks=0, max_blocks=2)) as executor:
        futures = [wait_for_file(gate) for _ in range(4)]
        wait_for(lambda: sum(c.running for c in executor.contexts()) == 2, "two calls run")
        assert executor.scale_in_facade(1) == ["0"]
        wait_for(lambda: not executor.connected_managers(), "the manager is gone")
        assert executor.outstanding() == 4
        executor.scale_out_facade(1)
        Path(gate).touch()
        assert [future.result() for future in futures] == [gate] * 4
        wait_for(
            lambda: (
                sorted(status.state.name for status in executor.status_facade.values())
                == ["RUNNING", "SCALED_IN"]
            ),
            "Parsl knows what became of the blocks",
        )


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
