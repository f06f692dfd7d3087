"""The user's script dies, or is interrupted: nothing that it started may outlive it for long."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.running import HOST, INTERCHANGE, MANAGER, Script, descendants, wait_until_gone

SCRIPT = """
import os, pathlib, subprocess, sys, time
import parsl
from parsl import python_app
from parsl_pcm import context
from tests.running import config_of, small_executor

@context
def engine():
    import subprocess
    yield subprocess.Popen(["sleep", "1000"])

@python_app
def work(i, folder, engine=engine):
    pathlib.Path(folder, f"started-{os.getpid()}-{engine.pid}").touch()
    time.sleep(1000)

with parsl.load(config_of(pathlib.Path("run"), small_executor())):
    futures = [work(i, os.getcwd()) for i in range(10)]
    while len(list(pathlib.Path().glob("started-*"))) < 2:
        time.sleep(0.02)
    print("running", flush=True)
    for future in futures:
        future.result()
"""


@pytest.fixture
def script(tmp_path: Path):
    script = Script(tmp_path, SCRIPT)
    yield script
    if script.process.poll() is None:
        script.process.kill()
    script.end()


def processes_behind(folder: Path) -> list[psutil.Process]:
    """Return all that runs for a script: two hosts, what their contexts started, and the rest."""
    pids = [int(pid) for path in folder.glob("started-*") for pid in path.name.split("-")[1:]]
    found = {process.pid: process for process in descendants(INTERCHANGE, MANAGER, HOST)}
    found |= {pid: psutil.Process(pid) for pid in pids}
    assert len(pids) == 4
    assert len(found) >= 6
    return list(found.values())


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_killed_script_takes_everything_with_it(signum: int, script: Script, tmp_path: Path):
    assert script.read_line() == "running"
    processes = processes_behind(tmp_path)
    script.process.send_signal(signum)
    assert script.end() == -signum
    wait_until_gone(processes)


def test_ctrl_c_leaves_nothing_behind(script: Script, tmp_path: Path):
    assert script.read_line() == "running"
    processes = processes_behind(tmp_path)
    os.killpg(script.process.pid, signal.SIGINT)
    assert script.end() != 0
    wait_until_gone(processes)
    assert "KeyboardInterrupt" in script.errors()


def test_fork_of_a_killed_script_does_not_keep_the_rest_alive(tmp_path: Path):
    source = SCRIPT.replace(
        'print("running", flush=True)',
        'child = os.fork() or time.sleep(1000)\n    print("running", child, flush=True)',
    )
    script = Script(tmp_path, source)
    child = psutil.Process(int(script.read_line().split()[1]))
    try:
        processes = processes_behind(tmp_path)
        script.process.kill()
        wait_until_gone(processes)
        assert child.is_running()
    finally:
        child.kill()
        script.end()


def test_script_that_never_leaves_the_executor_ends_by_itself(tmp_path: Path):
    source = SCRIPT.replace("with parsl.load(", "parsl.load(").split("    futures =")[0]
    script = Script(tmp_path, source.rstrip(":\n") + "\nprint(work.__name__, flush=True)\n")
    assert script.read_line() == "work"
    assert script.end() == 0
    wait_until_gone(descendants(INTERCHANGE, MANAGER, HOST))
