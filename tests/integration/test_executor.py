"""PCMExecutor through Parsl, with real processes."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import parsl
import pytest
from parsl import bash_app, join_app, python_app

from parsl_pcm import PCMExecutor, context
from tests.running import (
    HOST,
    INTERCHANGE,
    MANAGER,
    command_lines,
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


# --- what Parsl and people ask ----------------------------------------------------------------


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
    assert executor.workers_per_node == 4


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
    lines = command_lines(INTERCHANGE, MANAGER, HOST)
    assert len(lines) >= 2
    assert not [line for line in lines if "key" in line]
