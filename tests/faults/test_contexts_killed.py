"""Hosts killed while their contexts sleep, wake, or make room for another one."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest
from parsl import python_app

from parsl_pcm import context
from tests.running import (
    HOST,
    MANAGER,
    descendants,
    is_alive,
    running,
    wait_for,
    wait_until_gone,
)
from tests.sleepers import ask, count, hold, sleeper, wait_until

FAR_TOO_LONG_S = 120.0


def two_sleepers(folder: Path):
    return sleeper("a", str(folder)), sleeper("b", str(folder))


def pid_of(future) -> int:
    _, pid = future.result(timeout=FAR_TOO_LONG_S)
    return int(pid)


def kill(pid: int) -> None:
    process = psutil.Process(pid)
    os.kill(pid, signal.SIGKILL)
    wait_until_gone([process])


def test_host_killed_while_it_sleeps_is_built_again_when_it_is_needed(tmp_path: Path):
    a, b = two_sleepers(tmp_path)
    with running(tmp_path / "run", max_workers_per_node=1) as executor:
        first = pid_of(ask(0, a))
        pid_of(ask(1, b))
        assert wait_until(tmp_path, "a", "asleep") == first
        kill(first)
        wait_for(lambda: not any(row.asleep for row in executor.contexts()), "it is noticed")
        assert pid_of(ask(2, a)) != first
    assert count(tmp_path, "a", "built") == 2
    assert count(tmp_path, "a", "wakes") == 0


@pytest.mark.parametrize("moment", ["falls asleep", "wakes"])
def test_host_killed_between_sleeping_and_waking_loses_no_call(moment: str, tmp_path: Path):
    a, b = two_sleepers(tmp_path)
    with running(tmp_path / "run", max_workers_per_node=1):
        first = pid_of(ask(0, a))
        obstacle = hold(tmp_path, "a", moment)
        calls = [ask(1, b)]
        if moment == "wakes":
            pid_of(calls[0])
            calls.append(ask(2, a))
        assert wait_until(tmp_path, "a", moment) == first
        kill(first)
        obstacle.unlink()
        calls.append(ask(3, a))
        assert first not in [pid_of(call) for call in calls]


def test_host_killed_while_it_finishes_for_a_more_urgent_context_loses_no_call(tmp_path: Path):
    @context
    def named(name):
        return name

    @python_app
    def note_and_wait(index, model, folder=str(tmp_path)):
        import os
        import pathlib
        import time

        with (pathlib.Path(folder) / model).open("a") as file:
            file.write(f"{os.getpid()} ")
        while not (pathlib.Path(folder) / "gate").exists():
            time.sleep(0.01)
        return index

    def pids(name: str) -> list[int]:
        path = tmp_path / name
        return [int(word) for word in path.read_text().split()] if path.exists() else []

    with running(tmp_path / "run", max_workers_per_node=1) as executor:
        futures = [note_and_wait(index, named("calm")) for index in range(3)]
        wait_for(lambda: pids("calm"), "the first call runs")
        urgent = {"priority": -1}
        futures.append(note_and_wait(3, named("urgent"), parsl_resource_specification=urgent))
        executor.contexts()  # answered after the call has come
        kill(pids("calm")[0])
        (tmp_path / "gate").touch()
        assert [future.result(timeout=FAR_TOO_LONG_S) for future in futures] == [0, 1, 2, 3]
    assert len(pids("urgent")) == 1
    assert len(pids("calm")) == 4  # the call that was killed ran twice


def test_hosts_that_sleep_end_with_their_manager_and_work_goes_on_elsewhere(tmp_path: Path):
    a, b = two_sleepers(tmp_path)
    with running(tmp_path / "run", max_workers_per_node=1) as executor:
        pids = {pid_of(ask(0, a)), pid_of(ask(1, b))}
        wait_until(tmp_path, "a", "asleep")
        (manager,) = descendants(MANAGER)
        hosts = [process for process in descendants(HOST) if process.pid in pids]
        assert len(hosts) == 2
        manager.kill()
        wait_until_gone([manager, *hosts])
        executor.scale_out_facade(1)
        assert pid_of(ask(2, a)) not in pids
        assert pid_of(ask(3, b)) not in pids
    assert not any(map(is_alive, hosts))
