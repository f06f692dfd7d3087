"""The command ``parsl-pcm`` with real processes: runs that died, environments of workers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import MARK
from tests.running import wait_for

RUN = """
import sys, time
from parsl.providers import LocalProvider
from parsl_pcm.provider.leftovers.ledger import Ledger

ledger = Ledger("runinfo/000/pcm/jobs.jsonl", label="pcm", schedulers=["local"])
provider = LocalProvider()
provider.script_dir = "."
job_id = provider.submit({command!r}, 1, f"{{ledger.tag}}.block-0")
ledger.submitted(job_id, "local", f"{{ledger.tag}}.block-0")
print(job_id, flush=True)
time.sleep(600)
"""
CONFIG = """
from parsl.config import Config
from parsl.providers import LocalProvider
from parsl_pcm import PCMExecutor

def fresh_config(worker_init="", max_blocks=1):
    provider = LocalProvider(worker_init=worker_init, init_blocks=1, max_blocks=int(max_blocks))
    executor = PCMExecutor(
        label="here", provider=provider, max_workers_per_node=1, cores_per_worker=0.25
    )
    return Config(executors=[executor], usage_tracking=0)
"""


def parsl_pcm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a person does."""
    return subprocess.run(
        [sys.executable, "-m", "parsl_pcm.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@contextlib.contextmanager
def run_with_a_block(command: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start a script that submits one local block; give its process and that of the block."""
    script = subprocess.Popen(
        [sys.executable, "-c", RUN.format(command=command)], stdout=subprocess.PIPE, text=True
    )
    assert script.stdout is not None
    with script.stdout:
        block = int(script.stdout.readline())
    try:
        yield script, block
    finally:
        script.kill()
        script.wait()
        for process in group_of(block):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def group_of(leader: int) -> list[psutil.Process]:
    """Return the living processes that a block consists of."""
    with contextlib.suppress(ProcessLookupError):
        group = os.getpgid(leader)
        return [
            process
            for process in psutil.process_iter(["status"])
            if _group(process.pid) == group and process.info["status"] != psutil.STATUS_ZOMBIE
        ]
    return []


def _group(pid: int) -> int | None:
    with contextlib.suppress(ProcessLookupError):
        return os.getpgid(pid)
    return None


def test_block_of_a_living_run_is_left_alone() -> None:
    with run_with_a_block("sleep 600") as (script, block):
        done = parsl_pcm("clean")
        assert done.returncode == 0
        assert f"process {script.pid}" in done.stdout
        assert group_of(block)
        script.kill()
        script.wait()
        assert parsl_pcm("clean").returncode == 0


def test_block_of_a_killed_run_is_ended_with_all_its_processes() -> None:
    with run_with_a_block("sleep 600 & sleep 600") as (script, block):
        members = wait_for(lambda: len(found := group_of(block)) >= 3 and found, "all runs")
        script.kill()
        script.wait()
        planned = parsl_pcm("clean", "--dry-run")
        assert planned.returncode == 1
        assert "would be cancelled" in planned.stdout
        done = parsl_pcm("clean")
        assert done.returncode == 0
        assert str(block) in done.stdout
        wait_for(lambda: not any(map(_is_alive, members)), "the processes end")
        assert "Nothing is left" in parsl_pcm("clean").stdout


def test_block_that_ignores_the_polite_signal_is_killed() -> None:
    with run_with_a_block("trap '' TERM; while :; do sleep 1; done") as (script, block):
        members = wait_for(lambda: len(found := group_of(block)) >= 2 and found, "the block runs")
        script.kill()
        script.wait()
        assert parsl_pcm("clean").returncode == 0
        assert not any(map(_is_alive, members))


def _is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def test_cleaning_started_while_the_run_dies_waits_for_its_end() -> None:
    with run_with_a_block("sleep 600") as (script, block):
        script.send_signal(signal.SIGSTOP)  # it lives, until it is killed below
        cleaning = subprocess.Popen(
            [sys.executable, "-m", "parsl_pcm.cli", "clean", "--quiet", "--after-crash",
             "runinfo/000/pcm/jobs.jsonl"]
        )  # fmt: skip
        assert group_of(block)
        script.kill()
        script.wait()
        wait_for(lambda: not group_of(block), "the block ends")
        assert cleaning.wait(timeout=60) == 0


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "here.py"
    path.write_text(CONFIG)
    return str(path)


def examined(*arguments: str) -> dict[str, Any]:
    """Return the results of the doctor by title, and its exit code."""
    done = parsl_pcm("doctor", "--json", *arguments)
    assert not done.stderr
    found = {each["title"]: each for each in json.loads(done.stdout)}
    return {**found, "code": done.returncode}


def test_configuration_of_this_machine_is_fine(config: str) -> None:
    found = examined(config)
    assert found["code"] == 0
    assert found["scheduler"]["level"] == "OK"
    assert found["versions there"]["detail"] == found["versions"]["detail"]
    assert not Path("runinfo").exists(), "nothing was started"


def test_worker_init_that_ends_the_shell_is_a_failure(config: str) -> None:
    found = examined(config, "--set", "worker_init=echo no such module >&2; exit 3")
    assert found["code"] == 1
    assert "no such module" in found["worker_init"]["detail"]


def test_environment_with_another_python_is_a_failure(config: str, tmp_path: Path) -> None:
    folder = tmp_path / "env"
    folder.mkdir()
    python = folder / "python"
    python.write_text(
        textwrap.dedent(f"""\
        #!/bin/bash
        [ "$1" = - ] && echo 'import platform; platform.python_version = lambda: "3.8.1"' > pre.py
        cat pre.py - > both.py && shift && exec {sys.executable} both.py "$@"
        """)
    )
    manager = folder / "parsl-pcm-manager"
    manager.write_text(f"#!{python}\n")
    for program in (python, manager):
        program.chmod(0o755)
    found = examined(config, "--set", f"worker_init=cd {tmp_path}; PATH={folder}:$PATH")
    assert found["code"] == 1
    assert found["manager"]["detail"] == str(manager)
    assert "Python 3.8.1" in found["versions there"]["detail"]


def test_test_job_tells_what_it_saw_and_leaves_nothing(config: str) -> None:
    found = examined(config, "--submit", "--wait-s", "60")
    assert found["code"] == 0
    seen = {row["WHAT"]: row["SEEN THERE"] for row in found["test job"]["table"]}
    assert seen["holds"] == "no GPU"
    assert seen["Python"] in found["versions"]["detail"]


def test_test_job_that_does_not_start_is_a_failure(config: str) -> None:
    only_in_jobs = f'[ -z "${MARK}" ] || sleep 600'  # the check's clean shell lacks the variable
    found = examined(config, "--submit", "--wait-s", "1", "--set", f"worker_init={only_in_jobs}")
    assert found["code"] == 1
    assert "within 1 s" in found["test job"]["detail"]


def test_machine_is_examined_without_a_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    found = examined()
    assert found["code"] == 0
    assert "Python" in found["versions"]["detail"]
    assert found["scheduler"]["level"] == "WARN"
