"""A real host process, driven over its socket pair as a manager drives it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from parsl_pcm import context, live_context, pickling
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.messages import (
    FailureKind,
    HostReady,
    PieceRevoked,
    RevokePiece,
    SetupFailed,
    StopHost,
)
from tests.host_driver import HOST_ID, WAIT_S, HostDriver
from tests.running import wait_for, wait_until_gone


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostDriver]:
    driver = HostDriver(tmp_path / "host.log")
    yield driver
    driver.end()


def test_plain_host_runs_a_call(host: HostDriver) -> None:
    def add(a: int, b: int = 0) -> int:
        return a + b

    assert isinstance(host.start(), HostReady)
    assert host.call(add, 1, b=2) == 3


def test_results_come_in_the_order_of_the_pieces(host: HostDriver) -> None:
    def echo(i: int) -> int:
        return i

    host.start()
    for i in range(100):
        host.submit(echo, i)
    assert [host.result() for _ in range(100)] == list(range(100))


def test_results_larger_than_the_socket_arrive_whole(host: HostDriver) -> None:
    def make(size: int) -> bytes:
        return b"x" * size

    host.start()
    assert host.call(make, 50_000_000) == b"x" * 50_000_000


def test_context_is_built_once_and_cleaned_up(host: HostDriver, tmp_path: Path) -> None:
    @context
    def counter(directory: str) -> Iterator[dict[str, int]]:
        open(f"{directory}/built", "x").close()
        yield {"calls": 0}
        open(f"{directory}/cleaned", "x").close()

    recipe = counter(str(tmp_path))

    def use(state: Any) -> int:
        state["calls"] += 1
        return int(state["calls"])

    assert isinstance(host.start(recipe), HostReady)
    assert [host.call(use, recipe) for _ in range(3)] == [1, 2, 3]
    assert not (tmp_path / "cleaned").exists()
    host.send(Envelope(StopHost(host_id=HOST_ID)))
    assert host.process.wait(WAIT_S) == 0
    assert (tmp_path / "cleaned").exists()


def held(directory: Path) -> Callable[[int], int]:
    """Return a function that says that it runs, and ends when the gate is open."""
    folder = str(directory)

    def hold(i: int) -> int:
        import pathlib
        import time

        (pathlib.Path(folder) / f"started-{i}").touch()
        while not (pathlib.Path(folder) / "gate").exists():
            time.sleep(0.01)
        return i

    return hold


def test_stop_finishes_what_runs_and_starts_nothing_more(host: HostDriver, tmp_path: Path) -> None:
    hold = held(tmp_path)
    host.start()
    host.submit(hold, 1)
    host.submit(hold, 2)
    wait_for((tmp_path / "started-1").exists, "the first piece runs")
    host.send(Envelope(StopHost(host_id=HOST_ID)))
    host.wait_until_read()
    (tmp_path / "gate").touch()
    assert host.result() == 1
    assert host.process.wait(WAIT_S) == 0
    assert host.socket.recv(1) == b""


def test_failed_setup_is_told_with_the_users_traceback(host: HostDriver) -> None:
    @context
    def broken() -> int:
        return len(open("/no/such/model").read())

    told = host.start(broken)
    assert isinstance(told, SetupFailed)
    assert told.failure.kind is FailureKind.SETUP_FAILED
    assert "'test-context'" in told.failure.message
    assert "FileNotFoundError" in told.failure.message
    assert "must exist on the nodes" in told.failure.message
    assert "in broken" in told.failure.remote_traceback
    assert "parsl_pcm" not in told.failure.remote_traceback
    assert host.process.wait(WAIT_S) == 0


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_raising_function_does_no_harm(host: HostDriver, error: type[BaseException]) -> None:
    def fail() -> None:
        raise error("because")

    host.start()
    host.submit(fail)
    failed, payload = host.failure()
    assert error.__name__ in failed.failure.message
    assert "because" in failed.failure.message
    assert "in fail" in failed.failure.remote_traceback
    assert "parsl_pcm" not in failed.failure.remote_traceback
    raised = pickling.load_exception(payload[0], failed.failure.remote_traceback)
    assert type(raised) is error
    assert host.call(lambda: "alive") == "alive"


def test_context_survives_an_exception(host: HostDriver) -> None:
    @context
    def engine() -> dict[str, int]:
        return {"value": 5}

    def fail(state: Any) -> None:
        raise RuntimeError

    host.start(engine)
    host.submit(fail, engine)
    host.failure()
    assert host.call(lambda state: state["value"], engine) == 5


def test_unpicklable_result_names_function_type_and_cure(host: HostDriver) -> None:
    def make() -> Any:
        import threading

        return threading.Lock()

    host.start()
    host.submit(make)
    failed, payload = host.failure()
    assert payload == ()
    assert "make returned a lock" in failed.failure.message
    assert "return plain data" in failed.failure.message
    assert host.call(lambda: 1) == 1


def test_missing_module_is_named_with_the_cure(host: HostDriver) -> None:
    class OfMissingModule:
        def __reduce__(self) -> Any:
            import importlib

            return importlib.import_module, ("only_on_login_node",)

    thing = OfMissingModule()

    def function(x: Any = thing) -> None: ...

    host.start()
    host.submit(function)
    of_function, _ = host.failure()
    host.submit(lambda x: x, thing)
    of_arguments, _ = host.failure()
    for failed in (of_function, of_arguments):
        assert "No module named 'only_on_login_node'" in failed.failure.message
        assert "worker_init" in failed.failure.message
        assert "on node" in failed.failure.message
    assert host.call(lambda: 1) == 1


def test_revoked_piece_is_handed_back_once(host: HostDriver, tmp_path: Path) -> None:
    hold = held(tmp_path)
    host.start()
    running, waiting = host.submit(hold, 1), host.submit(hold, 2)
    wait_for((tmp_path / "started-1").exists, "the first piece runs")
    for lease_id in (running, waiting, waiting):
        host.send(Envelope(RevokePiece(host_id=HOST_ID, lease_id=lease_id)))
    assert host.receive().message == PieceRevoked(lease_id=waiting)
    host.wait_until_read()
    (tmp_path / "gate").touch()
    assert host.result() == 1
    assert host.call(lambda: "next") == "next"


def test_pieces_run_on_the_main_thread(host: HostDriver) -> None:
    def is_main() -> bool:
        import threading

        return threading.current_thread() is threading.main_thread()

    host.start()
    assert host.call(is_main)


def test_max_concurrency_bounds_threads(host: HostDriver) -> None:
    @context
    def state() -> dict[str, Any]:
        import threading

        all_here = threading.Barrier(3)
        return {"lock": threading.Lock(), "all_here": all_here, "now": 0, "most": 0}

    def overlap(state: dict[str, Any]) -> None:
        import time

        with state["lock"]:
            state["now"] += 1
            state["most"] = max(state["most"], state["now"])
        state["all_here"].wait(timeout=60)
        time.sleep(0.05)  # long enough for a fourth one to come, if it may
        with state["lock"]:
            state["now"] -= 1

    host.start(state, max_concurrency=3)
    for _ in range(9):
        host.submit(overlap, state)
    for _ in range(9):
        host.result()
    assert host.call(lambda state: state["most"], state) == 3


@pytest.mark.parametrize("max_concurrency", [1, 4])
def test_coroutines_share_a_loop_and_the_bound(host: HostDriver, max_concurrency: int) -> None:
    async def overlap() -> tuple[int, int]:
        import asyncio

        loop: Any = asyncio.get_running_loop()
        loop.now = getattr(loop, "now", 0) + 1
        loop.most = max(getattr(loop, "most", 0), loop.now)
        while loop.most < max_concurrency:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)  # long enough for one more to come, if it may
        loop.now -= 1
        return id(loop), loop.most

    async def fail() -> None:
        raise SystemExit(3)

    host.start(max_concurrency=max_concurrency)
    for _ in range(8):
        host.submit(overlap)
    results = [host.result() for _ in range(8)]
    assert len({loop for loop, _ in results}) == 1
    assert max(most for _, most in results) == max_concurrency
    host.submit(fail)
    failed, _ = host.failure()
    assert "SystemExit: 3" in failed.failure.message
    assert host.call(overlap)[0] == results[0][0]


def test_live_context_without_a_parameter(host: HostDriver) -> None:
    @context
    def answer() -> int:
        return 42

    host.start(answer)
    assert host.call(lambda: live_context()) == 42


def test_output_is_in_the_log_before_the_result(host: HostDriver) -> None:
    host.start()
    host.call(lambda: sys.stdout.write("printed by the user"))
    assert "printed by the user" in host.log.read_text()


def test_exit_of_the_process_closes_the_connection(host: HostDriver) -> None:
    host.start()
    host.submit(lambda: os._exit(3))
    assert host.socket.recv(1) == b""
    assert host.process.wait(WAIT_S) == 3


def test_segmentation_fault_leaves_a_traceback_in_the_log(host: HostDriver) -> None:
    def crash() -> None:
        import ctypes

        ctypes.string_at(0)

    host.start()
    host.submit(crash)
    assert host.socket.recv(1) == b""
    assert host.process.wait(WAIT_S) == -signal.SIGSEGV
    assert "in crash" in host.log.read_text()


def test_sigterm_to_the_whole_job_is_left_to_the_manager(host: HostDriver) -> None:
    host.start()
    host.process.send_signal(signal.SIGTERM)
    assert host.call(lambda: "alive") == "alive"


@pytest.mark.parametrize("where", ["call", "setup"])
def test_lost_manager_ends_host_and_grandchildren_at_once(tmp_path: Path, where: str) -> None:
    host = HostDriver(tmp_path / "host.log")
    pid_file = str(tmp_path / "pid")

    def sleep_with_child() -> None:
        import pathlib
        import time

        child = subprocess.Popen(["sleep", "1000"])
        pathlib.Path(pid_file + "-").write_text(str(child.pid))
        pathlib.Path(pid_file + "-").rename(pid_file)
        time.sleep(1000)

    starting = threading.Thread(target=host_start_quietly, args=(host, sleep_with_child))
    if where == "setup":
        starting.start()
    else:
        host.start()
        host.submit(sleep_with_child)
    wait_for(Path(pid_file).exists, "the child is there")
    child = psutil.Process(int(Path(pid_file).read_text()))
    host.socket.shutdown(socket.SHUT_RDWR)
    if where == "setup":
        starting.join()
    host.socket.close()
    assert host.process.wait(WAIT_S) == -signal.SIGKILL
    wait_until_gone([child])


def host_start_quietly(host: HostDriver, setup: Callable[[], None]) -> None:
    with contextlib.suppress(OSError, AssertionError):  # it never becomes ready
        host.start(context(setup))
