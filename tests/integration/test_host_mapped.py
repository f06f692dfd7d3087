"""Pieces of maps in a real host process, driven over its socket pair as a manager drives it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from parsl_pcm import context, pickling
from parsl_pcm.types import LeaseId
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.messages import FailureKind, PieceFailed, PieceFinished, PieceRevoked, StopHost
from tests.host_driver import HOST_ID, WAIT_S, HostDriver


@pytest.fixture(autouse=True, scope="module")
def functions_travel_by_value() -> Iterator[None]:
    """Hosts cannot import this module."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostDriver]:
    driver = HostDriver(tmp_path / "host.log")
    yield driver
    driver.end()


def results_until(host: HostDriver, stop: int, *, start: int = 0) -> list[Any]:
    """Return the results of the items [start, stop); asserts that their ranges have no gaps."""
    results: list[Any] = []
    while start + len(results) < stop:
        results += one_range(host, start + len(results))
    assert start + len(results) == stop
    return results


def one_range(host: HostDriver, start: int) -> list[Any]:
    message, payload = host.receive()
    assert isinstance(message, PieceFinished), message
    results = pickling.load_result(payload[0])
    assert (message.start, message.stop) == (start, start + len(results))
    assert type(results) is list
    return results


def is_running(host: HostDriver, folder: Path, name: str) -> None:
    """Wait until user code has written this file."""
    for _ in range(int(WAIT_S / 0.01)):
        if (folder / name).exists():
            return
        time.sleep(0.01)
    raise TimeoutError(f"{name}; log:\n{host.log.read_text()}")


def double(items: list[int], factor: int = 2) -> list[int]:
    return [i * factor for i in items]


def double_by_yield(items: list[int], factor: int = 2) -> Iterator[int]:
    for i in items:
        yield i * factor


def double_lazily(items: list[int], factor: int = 2) -> Iterator[int]:
    return map(factor.__mul__, items)


async def double_async(items: list[int], factor: int = 2) -> list[int]:
    import asyncio

    await asyncio.sleep(0)
    return [i * factor for i in items]


async def double_by_async_yield(items: list[int], factor: int = 2) -> AsyncIterator[int]:
    import asyncio

    for i in items:
        await asyncio.sleep(0)
        yield i * factor


STYLES = [double, double_by_yield, double_lazily, double_async, double_by_async_yield]


@pytest.mark.parametrize("function", STYLES)
@pytest.mark.parametrize("max_concurrency", [1, 3])
def test_every_style_gives_one_result_for_each_item(
    host: HostDriver, function: Callable[..., Any], max_concurrency: int
) -> None:
    host.start(max_concurrency=max_concurrency)
    host.submit_mapped(function, [[0, 1, 2], [3, 4], [5]])
    assert results_until(host, 6) == [0, 2, 4, 6, 8, 10]
    host.submit_mapped(function, [[7]], 3, start=0)
    assert results_until(host, 1) == [21]


def test_piece_is_cut_out_of_its_frames(host: HostDriver) -> None:
    host.start()
    host.submit_mapped(double, [[10, 11], [12, 13]], frames_start=10, start=11, stop=13)
    assert results_until(host, 13, start=11) == [22, 24]


def test_app_gets_the_live_context_and_its_arguments(host: HostDriver) -> None:
    @context
    def engine() -> dict[str, int]:
        return {"offset": 100}

    def add(items: list[int], state: Any, *, sign: int) -> list[int]:
        return [sign * (i + state["offset"]) for i in items]

    host.start(engine)
    host.submit_mapped(add, [[1, 2]], engine, sign=-1)
    assert results_until(host, 2) == [-101, -102]


def test_pieces_and_calls_share_a_host(host: HostDriver) -> None:
    host.start()
    host.submit_mapped(double, [[1]])
    assert results_until(host, 1) == [2]
    assert host.call(lambda: "call") == "call"
    host.submit_mapped(double, [[2]])
    assert results_until(host, 1) == [4]


def test_results_larger_than_the_socket_arrive_whole(host: HostDriver) -> None:
    def make(items: list[int]) -> Iterator[bytes]:
        for i in items:
            yield bytes([i]) * 5_000_000

    host.start()
    host.submit_mapped(make, [list(range(10))])
    for i, result in enumerate(results_until(host, 10)):
        assert result == bytes([i]) * 5_000_000


# --- partial results ------------------------------------------------------------------------------


def hold_at_two(items: list[int], folder: str) -> Iterator[int]:
    """Begin the item 2, and end it when it is allowed to."""
    import pathlib
    import time

    for i in items:
        if i == 2:
            (pathlib.Path(folder) / "at two").touch()
            while not (pathlib.Path(folder) / "go on").exists():
                time.sleep(0.01)
        yield i


async def hold_at_two_async(items: list[int], folder: str) -> AsyncIterator[int]:
    import asyncio
    import pathlib

    for i in items:
        if i == 2:
            (pathlib.Path(folder) / "at two").touch()
            while not (pathlib.Path(folder) / "go on").exists():
                await asyncio.sleep(0.01)
        yield i


HOLDING = pytest.mark.parametrize("function", [hold_at_two, hold_at_two_async])


@HOLDING
def test_yielded_results_arrive_while_the_next_item_runs(
    host: HostDriver, tmp_path: Path, function: Callable[..., Any]
) -> None:
    host.start()
    host.submit_mapped(function, [list(range(5))], str(tmp_path))
    assert results_until(host, 2) == [0, 1]  # the third is held until we allow it
    (tmp_path / "go on").touch()
    assert results_until(host, 5, start=2) == [2, 3, 4]


def test_killed_host_has_told_what_it_yielded_before(host: HostDriver, tmp_path: Path) -> None:
    host.start()
    host.submit_mapped(hold_at_two, [list(range(5))], str(tmp_path))
    is_running(host, tmp_path, "at two")
    assert results_until(host, 2) == [0, 1]
    os.kill(host.process.pid, signal.SIGKILL)
    assert host.process.wait(WAIT_S) == -signal.SIGKILL
    assert host.socket.recv(1) == b""


@HOLDING
def test_revoked_piece_is_cut_short_after_the_present_item(
    host: HostDriver, tmp_path: Path, function: Callable[..., Any]
) -> None:
    host.start()
    lease_id = host.submit_mapped(function, [list(range(100))], str(tmp_path))
    is_running(host, tmp_path, "at two")
    host.revoke(lease_id)
    host.revoke(lease_id)
    host.wait_until_read()
    (tmp_path / "go on").touch()
    assert results_until(host, 3) == [0, 1, 2]
    assert host.receive().message == PieceRevoked(lease_id=lease_id)
    host.submit_mapped(double, [[1]])
    assert results_until(host, 1) == [2]


def test_generator_that_is_cut_short_cleans_up(host: HostDriver, tmp_path: Path) -> None:
    def hold(items: list[int], folder: str) -> Iterator[int]:
        import pathlib

        try:
            yield from hold_at_two(items, folder)
        finally:
            (pathlib.Path(folder) / "cleaned").touch()
            raise RuntimeError("while cleaning up")

    host.start()
    lease_id = host.submit_mapped(hold, [list(range(100))], str(tmp_path))
    is_running(host, tmp_path, "at two")
    host.revoke(lease_id)
    host.wait_until_read()
    (tmp_path / "go on").touch()
    assert results_until(host, 3) == [0, 1, 2]
    assert host.receive().message == PieceRevoked(lease_id=lease_id)
    host.submit_mapped(double, [[1]])
    assert results_until(host, 1) == [2]
    assert (tmp_path / "cleaned").exists()
    assert "while cleaning up" in host.log.read_text()


def test_revoked_list_is_finished(host: HostDriver, tmp_path: Path) -> None:
    def hold(items: list[int], folder: str) -> list[int]:
        return list(hold_at_two(items, folder))

    host.start()
    lease_id = host.submit_mapped(hold, [list(range(4))], str(tmp_path))
    is_running(host, tmp_path, "at two")
    host.revoke(lease_id)
    host.wait_until_read()
    (tmp_path / "go on").touch()
    assert results_until(host, 4) == [0, 1, 2, 3]
    host.revoke(lease_id)  # too late: nothing comes of it
    host.submit_mapped(double, [[1]])
    assert results_until(host, 1) == [2]


def test_waiting_piece_is_handed_back_whole(host: HostDriver, tmp_path: Path) -> None:
    host.start()
    host.submit_mapped(hold_at_two, [list(range(3))], str(tmp_path))
    is_running(host, tmp_path, "at two")
    assert results_until(host, 2) == [0, 1]
    waiting = host.submit_mapped(double, [[1, 2]])
    host.revoke(waiting)
    assert host.receive().message == PieceRevoked(lease_id=waiting)
    (tmp_path / "go on").touch()
    assert results_until(host, 3, start=2) == [2]


def test_stop_cuts_a_yielding_piece_short_and_hands_the_rest_back(
    host: HostDriver, tmp_path: Path
) -> None:
    def hurry_not(items: list[int], folder: str) -> Iterator[int]:
        import pathlib
        import time

        for i in items:
            (pathlib.Path(folder) / "begun").touch()
            time.sleep(0.01)
            yield i

    host.start()
    lease_id = host.submit_mapped(hurry_not, [list(range(10_000))], str(tmp_path))
    is_running(host, tmp_path, "begun")
    host.send(Envelope(StopHost(host_id=HOST_ID)))
    num_results = 0
    while isinstance((envelope := host.receive()).message, PieceFinished):
        results = pickling.load_result(envelope.payload[0])
        assert results == list(range(num_results, num_results + len(results)))
        num_results += len(results)
    assert envelope.message == PieceRevoked(lease_id=lease_id)
    assert 0 < num_results < 10_000
    assert host.process.wait(WAIT_S) == 0
    assert host.socket.recv(1) == b""


def test_stop_finishes_a_list_and_tells_it_before_the_end(host: HostDriver, tmp_path: Path) -> None:
    def hold(items: list[int], folder: str) -> list[int]:
        return list(hold_at_two(items, folder))

    host.start()
    host.submit_mapped(hold, [list(range(4))], str(tmp_path))
    is_running(host, tmp_path, "at two")
    host.send(Envelope(StopHost(host_id=HOST_ID)))
    (tmp_path / "go on").touch()
    assert results_until(host, 4) == [0, 1, 2, 3]
    assert host.process.wait(WAIT_S) == 0


# --- failures -------------------------------------------------------------------------------------


def failure_after(
    host: HostDriver, num_results: int, kind: FailureKind = FailureKind.RAISED
) -> tuple[PieceFailed, tuple[bytes, ...]]:
    results_until(host, num_results)
    return host.failure(kind)


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("style", ["list", "yield", "async", "async yield"])
def test_raising_app_loses_only_what_it_had_not_yielded(
    host: HostDriver, style: str, error: type[BaseException]
) -> None:
    def fail(items: list[int]) -> Any:
        raise error("because")

    def fail_at_two(items: list[int]) -> Iterator[int]:
        yield from items[:2]
        raise error("because")

    async def fail_async(items: list[int]) -> Any:
        raise error("because")

    async def fail_at_two_async(items: list[int]) -> AsyncIterator[int]:
        yield items[0]
        yield items[1]
        raise error("because")

    functions: dict[str, Callable[..., Any]] = {
        "list": fail,
        "yield": fail_at_two,
        "async": fail_async,
        "async yield": fail_at_two_async,
    }
    host.start()
    lease_id = host.submit_mapped(functions[style], [[0, 1, 2, 3]])
    failed, payload = failure_after(host, 2 if "yield" in style else 0)
    assert failed.lease_id == lease_id
    assert f"raised {error.__name__}: because" in failed.failure.message
    assert "in fail" in failed.failure.remote_traceback
    assert "parsl_pcm" not in failed.failure.remote_traceback
    assert type(pickling.load_exception(payload[0], "")) is error
    assert_lives_on(host, lease_id)


def assert_lives_on(host: HostDriver, ended: LeaseId) -> None:
    """Nothing more comes of a lease that has ended, and the next piece runs."""
    assert host.submit_mapped(double, [[1]]) != ended
    assert results_until(host, 1) == [2]


def too_few(items: list[int]) -> Iterator[int]:
    yield from items[:-1]


def too_many(items: list[int]) -> Iterator[int]:
    yield from items
    yield from items


async def too_many_async(items: list[int]) -> AsyncIterator[int]:
    for i in [*items, *items]:
        yield i


def endless(items: list[int]) -> Iterator[int]:
    while True:
        yield items[0]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (too_few, "too_few yielded 3 results for 4 items; an app that is mapped must return a"),
        (too_many, "too_many yielded more than 4 results for 4 items"),
        (too_many_async, "too_many_async yielded more than 4 results for 4 items"),
        (endless, "endless yielded more than 4 results for 4 items"),
    ],
)
def test_wrong_number_of_yields_is_told_with_the_cure(
    host: HostDriver, function: Callable[..., Any], words: str
) -> None:
    host.start()
    lease_id = host.submit_mapped(function, [[0, 1, 2, 3]])
    failed, payload = failure_after(host, 3, FailureKind.WRONG_RESULTS)
    assert words in failed.failure.message
    assert failed.is_misaligned
    assert payload == ()
    assert_lives_on(host, lease_id)


@pytest.mark.parametrize(
    ("style", "words"),
    [
        ("list", ".<lambda> returned 1 result for 2 items; an app that is mapped must"),
        ("async", ".of_wrong_type returned a str for 2 items; an app that is mapped must"),
    ],
)
def test_wrong_list_is_told_with_the_cure(host: HostDriver, style: str, words: str) -> None:
    async def of_wrong_type(items: list[int]) -> str:
        return "ab"

    host.start()
    host.submit_mapped(of_wrong_type if style == "async" else lambda items: [1], [[0, 1]])
    failed, _ = host.failure(FailureKind.WRONG_RESULTS)
    assert words in failed.failure.message
    assert failed.failure.remote_traceback == ""
    assert not failed.is_misaligned


def test_error_after_the_last_yield_is_not_lost(host: HostDriver) -> None:
    def fail_at_the_end(items: list[int]) -> Iterator[int]:
        yield from items
        raise ValueError("too late")

    host.start()
    host.submit_mapped(fail_at_the_end, [[0, 1, 2]])
    failed, _ = failure_after(host, 2)
    assert "ValueError: too late" in failed.failure.message


@pytest.mark.parametrize("style", ["list", "yield"])
def test_results_before_an_unpicklable_one_arrive(host: HostDriver, style: str) -> None:
    def make(items: list[int]) -> list[Any]:
        import threading

        return [threading.Lock() if i == 3 else i for i in items]

    def make_by_yield(items: list[int]) -> Iterator[Any]:
        yield from make(items)

    host.start()
    lease_id = host.submit_mapped(make if style == "list" else make_by_yield, [list(range(1000))])
    failed, payload = failure_after(host, 3)
    assert failed.lease_id == lease_id
    assert "gave a lock for item 4 of the 1,000 that it was given" in failed.failure.message
    assert "return plain data" in failed.failure.message
    assert payload == ()
    assert_lives_on(host, lease_id)


def test_items_that_cannot_be_loaded_are_told_with_the_cure(host: HostDriver) -> None:
    class OfMissingModule:
        def __reduce__(self) -> Any:
            import importlib

            return importlib.import_module, ("only_on_login_node",)

    host.start()
    lease_id = host.submit_mapped(double, [[OfMissingModule()]])
    failed, _ = host.failure()
    assert "cannot load the items of a call of double on node" in failed.failure.message
    assert "worker_init" in failed.failure.message
    assert_lives_on(host, lease_id)


def test_function_that_cannot_be_loaded_is_told(host: HostDriver) -> None:
    class OfMissingModule:
        def __reduce__(self) -> Any:
            import importlib

            return importlib.import_module, ("only_on_login_node",)

    thing = OfMissingModule()

    def function(items: list[int], x: Any = thing) -> None: ...

    host.start()
    lease_id = host.submit_mapped(function, [[1]])
    failed, _ = host.failure()
    assert "cannot load the function of a call" in failed.failure.message
    assert_lives_on(host, lease_id)


# --- around the results ---------------------------------------------------------------------------


def test_output_is_in_the_log_before_the_results(host: HostDriver) -> None:
    def say(items: list[str]) -> Iterator[str]:
        import sys

        for word in items:
            sys.stdout.write(word)
            yield word

    host.start()
    host.submit_mapped(say, [["one ", "two"]])
    results_until(host, 2)
    assert "one two" in host.log.read_text()


def test_pieces_run_on_the_main_thread(host: HostDriver) -> None:
    def is_main(items: list[int]) -> Iterator[bool]:
        import threading

        yield threading.current_thread() is threading.main_thread()

    host.start()
    host.submit_mapped(is_main, [[1]])
    assert results_until(host, 1) == [True]


def test_apps_wait_while_the_manager_does_not_read(host: HostDriver, tmp_path: Path) -> None:
    def make(items: list[int], folder: str) -> Iterator[bytes]:
        import pathlib

        for i in items:
            (pathlib.Path(folder) / "begun").write_text(str(i))
            yield b"x" * 5_000_000

    host.start()
    host.submit_mapped(make, [list(range(60))], str(tmp_path))
    is_running(host, tmp_path, "begun")
    begun = -1
    while begun != (begun := int((tmp_path / "begun").read_text() or -1)):
        time.sleep(0.5)  # if that is too short, this shows less, and passes all the same
    assert begun < 40
    assert len(results_until(host, 60)) == 60
