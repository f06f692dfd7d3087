"""What functions of users do to their host, and what becomes of them, of it and of the others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from parsl import python_app

from parsl_pcm import PCMExecutor, context
from parsl_pcm.errors import RemoteError, TaskKillsHost
from parsl_pcm.pickling import RemoteTraceback
from tests.running import fails_with, wait_for

pytestmark = pytest.mark.usefixtures("executor")


@context
def home():
    import os

    return os.getpid()


@python_app
def pid(home=home):
    return home


@pytest.fixture(autouse=True)
def others_are_served():
    """While and after a function misbehaves, the calls behind it on the same context succeed."""
    before = [pid() for _ in range(3)]
    yield
    after = [pid() for _ in range(3)]
    assert all(future.result(timeout=60) for future in before + after)


def test_exception_has_its_class_its_arguments_and_its_remote_traceback():
    class NoVerdictError(Exception):
        pass

    @python_app
    def judge(claim, home=home):
        try:
            return {}[claim]
        except KeyError as error:
            raise NoVerdictError(claim, 7) from error

    error = judge("moon").exception(timeout=60)
    assert (type(error), error.args) == (NoVerdictError, ("moon", 7))
    assert isinstance(error.__cause__, KeyError)
    remote = error.__cause__.__cause__
    assert isinstance(remote, RemoteTraceback)
    assert "raise NoVerdictError(claim, 7) from error" in str(remote)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, MemoryError])
def test_exceptions_that_end_other_programs_end_only_the_call(kind: type[BaseException]):
    @python_app
    def give_up(kind, home=home):
        raise kind(f"given up in {home}")

    error = give_up(kind).exception(timeout=60)
    raised = error if isinstance(error, MemoryError) else error.__cause__
    assert type(raised) is kind
    host = str(raised).split()[-1]
    assert os.path.exists(f"/proc/{host}")
    assert f"{kind.__name__}: given up" in str(raised.__cause__)


def test_sys_exit_ends_only_the_call_and_says_so():
    @python_app
    def leave(code, home=home):
        import sys

        sys.exit(code)

    future = leave(3)
    assert "the app raised SystemExit: 3" in fails_with(future, RemoteError)
    assert future.exception().__cause__.code == 3


def test_endless_recursion_ends_only_the_call():
    @python_app
    def dig(home=home):
        def down(depth):
            return down(depth + 1)

        return down(0)

    assert isinstance(dig().exception(timeout=60), RecursionError)


def count_attempts(path: Path) -> int:
    return len(path.read_text().split())


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("exit", ["exited with code 9"]),
        ("segfault", ["SIGSEGV", "in crash"]),
        ("abort", ["SIGABRT"]),
        ("out of memory", ["SIGKILL", "out of memory"]),
    ],
)
def test_function_that_kills_its_host_is_given_up_after_max_attempts(
    executor: PCMExecutor, tmp_path: Path, way: str, words: list[str]
):
    @python_app
    def crash(way, path, home=home):
        import ctypes
        import os
        import signal

        with open(path, "a") as file:
            file.write("attempt ")
        print("about to", way, flush=True)  # noqa: T201 - goes to the log of the host
        match way:
            case "exit":
                os._exit(9)
            case "segfault":
                ctypes.string_at(0)
            case "abort":
                os.abort()
            case _:
                os.kill(os.getpid(), signal.SIGKILL)

    text = fails_with(crash(way, str(tmp_path / "attempts")), TaskKillsHost)
    assert count_attempts(tmp_path / "attempts") == executor.max_attempts == 3
    assert [word for word in [*words, "3", f"about to {way}"] if word not in text] == []


def test_function_that_allocates_without_end_raises_where_memory_is_limited():
    @context
    def limited():
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (2_000_000_000, -1))
        return os.getpid()

    @python_app
    def hoard(limited=limited):
        hoarded = []
        while True:
            hoarded.append(bytearray(100_000_000))

    @python_app
    def host(limited=limited):
        return limited

    before = host().result(timeout=60)
    assert isinstance(hoard().exception(timeout=60), MemoryError)
    assert host().result(timeout=60) == before


def test_function_that_dies_once_is_run_again(tmp_path: Path):
    @python_app
    def die_once(path, home=home):
        with open(path, "a") as file:
            file.write("attempt ")
        if len(open(path).read().split()) == 1:  # noqa: SIM115 - short-lived
            os._exit(1)
        return "done"

    assert die_once(str(tmp_path / "attempts")).result(timeout=60) == "done"
    assert count_attempts(tmp_path / "attempts") == 2


def test_processes_that_a_function_leaves_behind_end_with_its_host(tmp_path: Path):
    @python_app
    def spawn_and_die(path, home=home):
        import subprocess

        child = subprocess.Popen(["sleep", "1000"])
        with open(path, "a") as file:
            file.write(f"{child.pid} ")
        os._exit(1)

    fails_with(spawn_and_die(str(tmp_path / "children")), TaskKillsHost)
    children = (tmp_path / "children").read_text().split()
    assert len(children) == 3
    wait_for(
        lambda: not [child for child in children if os.path.exists(f"/proc/{child}")],
        "the children are gone",
    )


def test_output_of_a_function_is_in_the_log_of_its_host(executor: PCMExecutor):
    @python_app
    def say(word, home=home):
        print(word)  # noqa: T201 - goes to the log of the host

    say("a word to be found").result(timeout=60)
    logs = Path(executor.logdir).rglob("host-*-home.log")
    assert any("a word to be found" in log.read_text() for log in logs)
