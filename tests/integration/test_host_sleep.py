"""A real host process whose context is put to sleep and woken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parsl_pcm import ContextRecipe, context
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.messages import (
    HostAsleep,
    HostAwake,
    HostReady,
    SetupFailed,
    SleepFailed,
    StopHost,
)
from tests.host_driver import HOST_ID, WAIT_S, HostDriver


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostDriver]:
    driver = HostDriver(tmp_path / "host.log")
    yield driver
    driver.end()


def sleeper(*, is_async: bool = False, fails_in: str = "", folder: str = "") -> ContextRecipe:
    """Return a context that notes what is asked of it, and on which thread."""

    @context
    def make(is_async: bool, fails_in: str, folder: str) -> Iterator[Any]:
        import sys
        import threading

        class Sleeper:
            def __init__(self) -> None:
                self.told: list[str] = []

            def note(self, what: str) -> None:
                is_main = threading.current_thread() is threading.main_thread()
                self.told.append(f"{what} on {'main' if is_main else 'another'} thread")
                sys.stdout.write(f"the sleeper notes {what}\n")
                if fails_in == what:
                    raise OSError(f"no {what}")

            def sleep(self) -> None:
                self.note("sleep")

            def wake(self) -> None:
                self.note("wake")

        class AsyncSleeper(Sleeper):
            async def sleep(self) -> None:  # type: ignore[override]
                self.note("sleep")

            async def wake(self) -> None:  # type: ignore[override]
                self.note("wake")

        yield AsyncSleeper() if is_async else Sleeper()
        if folder:
            open(f"{folder}/cleaned", "x").close()

    return make(is_async, fails_in, folder)


def told(host: HostDriver, recipe: ContextRecipe) -> Any:
    """Return what the context of the host has noted so far."""
    return host.call(lambda state: state.told, recipe)


@pytest.mark.parametrize("max_concurrency", [1, 4])
@pytest.mark.parametrize("is_async", [False, True])
def test_context_sleeps_and_works_again_once_awake(
    host: HostDriver, max_concurrency: int, is_async: bool
) -> None:
    recipe = sleeper(is_async=is_async)
    host.start(recipe, can_sleep=True, max_concurrency=max_concurrency)
    assert told(host, recipe) == []
    for _ in range(2):
        asleep = host.sleep()
        assert isinstance(asleep, HostAsleep)
        assert (asleep.host_id, asleep.sleep_s >= 0) == (HOST_ID, True)
        awake = host.wake()
        assert isinstance(awake, HostAwake)
        assert (awake.host_id, awake.wake_s >= 0) == (HOST_ID, True)
    where = "another" if is_async else "main"
    expected = [f"{what} on {where} thread" for what in ("sleep", "wake")] * 2
    assert told(host, recipe) == expected


def test_sleep_waits_for_what_runs_in_threads(host: HostDriver) -> None:
    recipe = sleeper()

    def slow(state: Any) -> None:
        import time

        time.sleep(0.2)
        state.told.append("call has ended")

    host.start(recipe, can_sleep=True, max_concurrency=2)
    host.submit(slow, recipe)
    host.submit(slow, recipe)
    answers = [host.sleep(), host.receive().message, host.receive().message]
    assert sorted(type(answer).__name__ for answer in answers) == [
        "HostAsleep",
        *["PieceFinished"] * 2,
    ]
    host.wake()
    assert told(host, recipe)[:3] == ["call has ended"] * 2 + ["sleep on main thread"]


def test_host_is_cleaned_up_in_its_sleep(host: HostDriver, tmp_path: Path) -> None:
    host.start(sleeper(folder=str(tmp_path)), can_sleep=True)
    host.sleep()
    host.send(Envelope(StopHost(host_id=HOST_ID)))
    assert host.process.wait(WAIT_S) == 0
    assert (tmp_path / "cleaned").exists()


@pytest.mark.parametrize("is_async", [False, True])
def test_failed_sleep_is_told_and_the_host_can_be_stopped(host: HostDriver, is_async: bool) -> None:
    host.start(sleeper(is_async=is_async, fails_in="sleep"), can_sleep=True)
    failed = host.sleep()
    assert isinstance(failed, SleepFailed)
    assert failed.host_id == HOST_ID
    assert "'test-context' could not be put to sleep" in failed.failure.message
    assert "OSError: no sleep" in failed.failure.message
    assert "in note" in failed.failure.remote_traceback
    assert "parsl_pcm" not in failed.failure.remote_traceback
    host.send(Envelope(StopHost(host_id=HOST_ID)))
    assert host.process.wait(WAIT_S) == 0


@pytest.mark.parametrize("is_async", [False, True])
def test_failed_wake_ends_the_host_with_a_traceback_in_its_log(
    host: HostDriver, is_async: bool
) -> None:
    host.start(sleeper(is_async=is_async, fails_in="wake"), can_sleep=True)
    host.sleep()
    with pytest.raises(AssertionError, match="closed its end"):
        host.wake()
    assert host.process.wait(WAIT_S) == 70
    log = host.log.read_text()
    assert "the sleeper notes wake" in log
    assert "OSError: no wake" in log


def test_object_that_cannot_sleep_fails_the_setup(host: HostDriver, tmp_path: Path) -> None:
    @context
    def counter(folder: str) -> Iterator[dict[str, int]]:
        yield {"calls": 0}
        open(f"{folder}/cleaned", "x").close()

    failed = host.start(counter(str(tmp_path)), can_sleep=True)
    assert isinstance(failed, SetupFailed)
    assert "'counter' is declared with can_sleep=True" in failed.failure.message
    assert "no method sleep()" in failed.failure.message
    assert host.process.wait(WAIT_S) == 0
    assert (tmp_path / "cleaned").exists()


def test_object_that_cannot_sleep_is_as_good_as_any_if_it_need_not(host: HostDriver) -> None:
    @context
    def counter() -> dict[str, int]:
        return {"calls": 0}

    assert isinstance(host.start(counter), HostReady)
