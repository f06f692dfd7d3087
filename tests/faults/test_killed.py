"""Hosts, managers and the interchange killed at every moment of their life."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from parsl import python_app

from parsl_pcm import context
from parsl_pcm.errors import ContextSetupFailed, InterchangeLost, TaskKillsHost
from tests.running import (
    HOST,
    INTERCHANGE,
    MANAGER,
    descendants,
    fails_with,
    running,
    wait_for,
    wait_until_gone,
)


@context
def slow_to_build(flag, gate):
    """Leaves its process number, and waits for the gate."""
    import os
    import pathlib
    import time

    with open(flag, "a") as file:
        file.write(f"{os.getpid()} ")
    while not pathlib.Path(gate).exists():
        time.sleep(0.01)
    yield os.getpid()


@python_app
def use(built):
    return built


@python_app
def wait_for_file(path, started=None):
    import os
    import pathlib
    import time

    if started:
        with open(started, "a") as file:
            file.write(f"{os.getpid()} ")
    while not pathlib.Path(path).exists():
        time.sleep(0.01)
    return path


def pids_in(path: Path) -> list[int]:
    return [int(word) for word in path.read_text().split()] if path.exists() else []


# --- hosts ------------------------------------------------------------------------------------


def test_host_killed_while_it_starts_is_replaced(tmp_path: Path):
    flag, gate = tmp_path / "flag", tmp_path / "gate"
    with running(tmp_path / "run"):
        future = use(slow_to_build(str(flag), str(gate)))
        (first,) = wait_for(lambda: pids_in(flag), "the set-up has begun")
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: len(pids_in(flag)) == 2, "another set-up has begun")
        gate.touch()
        assert future.result(timeout=60) == pids_in(flag)[1]


def test_set_up_whose_hosts_are_always_killed_is_given_up_with_the_cause(tmp_path: Path):
    @context
    def hungry(flag):
        with open(flag, "a") as file:
            file.write("attempt ")
        print("loading 300 GB")  # noqa: T201 - goes to the log of the host
        os.kill(os.getpid(), signal.SIGKILL)

    with running(tmp_path / "run"):
        future = use(hungry(str(tmp_path / "flag")))
        text = fails_with(future, ContextSetupFailed)
        assert (tmp_path / "flag").read_text().split() == ["attempt"] * 3
        words = ["'hungry'", "SIGKILL", "out of memory", "loading 300 GB"]
        assert [word for word in words if word not in text] == []
        assert use(1).result(timeout=60) == 1


def test_host_killed_while_idle_is_replaced_when_it_is_needed(tmp_path: Path):
    (tmp_path / "gate").touch()
    recipe = slow_to_build(str(tmp_path / "flag"), str(tmp_path / "gate"))
    with running(tmp_path / "run") as executor:
        first = use(recipe).result(timeout=60)
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: executor.contexts()[0].warm == 0, "its death is noticed")
        assert use(recipe).result(timeout=60) != first


def test_host_killed_while_it_runs_loses_nothing(tmp_path: Path):
    started, gate = tmp_path / "started", tmp_path / "gate"
    with running(tmp_path / "run", max_workers_per_node=1):
        futures = [wait_for_file(str(gate), str(started)) for _ in range(5)]
        (pid,) = wait_for(lambda: pids_in(started), "the first call runs")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: len(pids_in(started)) == 2, "it runs again")
        gate.touch()
        assert [future.result(timeout=60) for future in futures] == [str(gate)] * 5


def test_task_that_kills_its_hosts_is_named_and_those_behind_it_succeed(tmp_path: Path):
    @python_app
    def deadly():
        os.kill(os.getpid(), signal.SIGKILL)

    with running(tmp_path / "run", max_workers_per_node=1, max_attempts=2):
        (tmp_path / "gate").touch()
        before = [wait_for_file(str(tmp_path / "gate")) for _ in range(10)]
        culprit = deadly()
        behind = [wait_for_file(str(tmp_path / "gate")) for _ in range(10)]
        text = fails_with(culprit, TaskKillsHost)
        assert "2" in text
        assert "SIGKILL" in text
        assert {f.result(timeout=60) for f in before + behind} == {str(tmp_path / "gate")}


# --- managers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_work_of_a_manager_that_goes_is_done_elsewhere(signum: signal.Signals, tmp_path: Path):
    started, gate = tmp_path / "started", tmp_path / "gate"
    with running(tmp_path / "run", notice_s=1.0) as executor:
        futures = [wait_for_file(str(gate), str(started)) for _ in range(6)]
        wait_for(lambda: len(pids_in(started)) == 2, "both hosts run a call")
        (manager,) = descendants(MANAGER)
        hosts = [process for process in descendants(HOST) if process.pid in pids_in(started)]
        assert len(hosts) == 2
        manager.send_signal(signum)
        wait_until_gone([manager, *hosts])
        executor.scale_out_facade(1)
        wait_for(lambda: len(pids_in(started)) == 4, "they run in another block")
        assert executor.connected_blocks() == ["0", "1"]
        gate.touch()
        assert [future.result(timeout=60) for future in futures] == [str(gate)] * 6


def test_manager_that_hangs_is_given_up_after_the_heartbeat_threshold(tmp_path: Path):
    started, gate = tmp_path / "started", tmp_path / "gate"
    # Others must not be given up because the machine is busy.
    heartbeats = {"heartbeat_period": 1, "heartbeat_threshold": 10}
    with running(tmp_path / "run", **heartbeats) as executor:
        future = wait_for_file(str(gate), str(started))
        wait_for(lambda: pids_in(started), "the call runs")
        (manager,) = descendants(MANAGER)
        manager.suspend()
        wait_for(lambda: not executor.connected_managers(), "it is given up")
        manager.kill()
        executor.scale_out_facade(1)
        wait_for(lambda: len(pids_in(started)) == 2, "the call runs in another block")
        gate.touch()
        assert future.result(timeout=60) == str(gate)


# --- the interchange --------------------------------------------------------------------------


def test_death_of_the_interchange_fails_every_future_and_ends_every_process(tmp_path: Path):
    with running(tmp_path / "run") as executor:
        futures = [wait_for_file(str(tmp_path / "never"), str(tmp_path / "s")) for _ in range(20)]
        wait_for(lambda: len(pids_in(tmp_path / "s")) == 2, "two calls run")
        (interchange,) = descendants(INTERCHANGE)
        behind_it = descendants(MANAGER, HOST)
        interchange.kill()
        for future in futures:
            text = fails_with(future, InterchangeLost)
        assert "interchange" in text
        assert "exit code -9" in text
        assert "Start the executor again" in text
        assert executor.outstanding() == 0
        assert "interchange" in fails_with(use(1), InterchangeLost)
        assert executor.connected_managers() == []
        wait_until_gone(behind_it)


def test_error_in_the_interchange_reaches_every_future_with_its_traceback(tmp_path: Path):
    with running(tmp_path / "run") as executor:
        future = wait_for_file(str(tmp_path / "never"))
        wait_for(lambda: executor.connected_managers(), "a manager is there")
        with pytest.raises(InterchangeLost, match="NO_SUCH_COMMAND"):
            executor.command_client._client.ask("NO_SUCH_COMMAND")
        text = fails_with(future, InterchangeLost)
        assert "an error in parsl_pcm" in text
        assert "Traceback" in text


# --- the end ----------------------------------------------------------------------------------


def leave_with_calls_running(run_dir: Path, started: Path) -> None:
    with running(run_dir, parsl_settings={"exit_mode": "cleanup"}):
        futures = [wait_for_file("/never", str(started)) for _ in range(6)]
        wait_for(lambda: len(pids_in(started)) == 2, "two calls run")
        raise LeftEarlyError(futures, descendants(INTERCHANGE, MANAGER, HOST))


class LeftEarlyError(Exception):
    """Carries what was left running."""


def test_end_with_calls_still_running_does_not_hang(tmp_path: Path):
    with pytest.raises(LeftEarlyError) as left:
        leave_with_calls_running(tmp_path / "run", tmp_path / "started")
    futures, processes = left.value.args
    for future in futures:
        assert "shut down before this task ended" in str(future.exception(timeout=60))
    wait_until_gone(processes)


def test_a_lost_context_is_built_anew_and_the_call_repeated(tmp_path: Path):
    @context
    def counted(folder=str(tmp_path)):
        import pathlib

        builds = len(list(pathlib.Path(folder).glob("built-*")))
        (pathlib.Path(folder) / f"built-{builds}").touch()
        return builds

    @python_app
    def use(counted=counted):
        from parsl_pcm import ContextLost

        if counted == 0:
            try:
                raise ContextLost("an error of CUDA, say")
            except ContextLost as error:
                raise ValueError("the model does not answer") from error
        return counted

    with running(tmp_path / "run", max_workers_per_node=1):
        assert use().result(timeout=60) == 1


def test_a_call_that_loses_its_context_each_time_is_given_up(tmp_path: Path):
    @python_app
    def lose():
        from parsl_pcm import ContextLost

        raise ContextLost("this prompt breaks it")

    with running(tmp_path / "run", max_attempts=2):
        message = fails_with(lose(), TaskKillsHost)
    assert "this prompt breaks it" in message
