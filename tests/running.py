"""Real runs for tests: small executors on this machine, scripts of their own, and waiting."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import parsl
import psutil
from parsl import Config
from parsl.providers import LocalProvider

from parsl_pcm import PCMExecutor

T = TypeVar("T")

PATIENCE_S = 60.0
"""For what takes a second on a quiet machine."""


def small_executor(**changes: Any) -> PCMExecutor:
    """Return an executor with one block and two hosts on this machine."""
    settings: dict[str, Any] = {
        "label": "pcm",
        "max_workers_per_node": 2,
        "cores_per_worker": 0.25,
        "provider": one_block(),
        "print_summary": False,
    }
    return PCMExecutor(**(settings | changes))


def one_block(**changes: Any) -> LocalProvider:
    """Return a provider that starts one block at once and never another."""
    settings = {"init_blocks": 1, "min_blocks": 1, "max_blocks": 1}
    return LocalProvider(**(settings | changes))


def config_of(run_dir: Path, *executors: PCMExecutor, **changes: Any) -> Config:
    """Return a configuration that looks at the blocks every half second and starts no others."""
    settings = {
        "run_dir": str(run_dir),
        "usage_tracking": 0,
        "strategy": "none",
        "strategy_period": 0.5,
    }
    return Config(executors=list(executors), **(settings | changes))


@contextlib.contextmanager
def running(
    run_dir: Path, *, parsl_settings: dict[str, Any] | None = None, **changes: Any
) -> Iterator[PCMExecutor]:
    """Load Parsl with a small executor, changed as given, and give it."""
    executor = small_executor(**changes)
    try:
        with parsl.load(config_of(run_dir, executor, **(parsl_settings or {}))):
            yield executor
    finally:
        parsl.clear()


def wait_for(ask: Callable[[], T], what: str, *, timeout_s: float = PATIENCE_S) -> T:
    """Ask until the answer is true, and return it."""
    deadline = time.monotonic() + timeout_s
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s in vain: {what}"
        time.sleep(0.02)
    return answer


def fails_with(future: Any, kind: type[BaseException], *, timeout_s: float = PATIENCE_S) -> str:
    """Return the text of the exception of a future, which must be of this kind."""
    error = future.exception(timeout=timeout_s)
    assert isinstance(error, kind), repr(error)
    return str(error)


def wait_until_gone(processes: list[psutil.Process]) -> None:
    """Wait until all these processes have ended."""
    wait_for(lambda: not any(map(is_alive, processes)), f"the end of {processes}")


def is_alive(process: psutil.Process) -> bool:
    """Whether a process runs; a zombie whose parent is slow to reap it does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def descendants(*modules: str) -> list[psutil.Process]:
    """Return the processes below this one, the orphans of the test included, that run a module."""
    commands = {process: _command(process) for process in _marked()}
    found = [p for p, command in commands.items() if any(m in command for m in modules)]
    # One that has just been forked still looks like its parent.
    return [p for p in found if commands[p] != commands.get(_parent_of(p))]


def command_lines(*modules: str) -> list[str]:
    """Return what these processes were started with."""
    return list(filter(None, map(_command, descendants(*modules))))


INTERCHANGE = "parsl_pcm.interchange"
MANAGER = "parsl-pcm-manager"
HOST = "parsl_pcm.host"


def _marked() -> list[psutil.Process]:
    mark = os.environ["PARSL_PCM_TEST_RUN"]
    return [process for process in psutil.process_iter() if _mark_of(process) == mark]


def _mark_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("PARSL_PCM_TEST_RUN")
    except psutil.Error:
        return None


def _command(process: psutil.Process) -> str:
    try:
        words = process.cmdline()
    except psutil.Error:
        return ""
    # Blocks are started by shells whose command line holds that of the manager.
    return "" if words and words[0].endswith("sh") else " ".join(words)


def _parent_of(process: psutil.Process) -> psutil.Process | None:
    try:
        return process.parent()
    except psutil.Error:
        return None


def _heed_signals() -> None:
    """Undo what a suite that runs under nohup, or in the background, has inherited."""
    for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_DFL)


class Script:
    """A Python script of a user, in a folder and a process group of its own."""

    def __init__(self, folder: Path, source: str, *arguments: str) -> None:
        path = folder / "script.py"
        path.write_text(textwrap.dedent(source))
        self._errors = folder / "script.stderr"
        with self._errors.open("wb") as errors:
            self.process = psutil.Popen(
                [sys.executable, str(path), *arguments],
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                preexec_fn=_heed_signals,
                text=True,
            )

    def read_line(self) -> str:
        """Return the next line that the script prints."""
        line = self.process.stdout.readline()
        assert line, f"the script ended: {self.errors()}"
        return str(line).strip()

    def errors(self) -> str:
        """Return what the script has written to stderr."""
        return self._errors.read_text()

    def end(self, *, timeout_s: float = PATIENCE_S) -> int:
        """Wait for its end, and return its exit code."""
        code = self.process.wait(timeout=timeout_s)
        self.process.stdout.close()
        return int(code)
