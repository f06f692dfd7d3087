from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from parsl_pcm.engines.loop_thread import LoopThread


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    loop = LoopThread("loop-under-test")
    yield loop
    if loop._thread.is_alive():
        loop.close()


async def name_of_thread() -> str:
    return threading.current_thread().name


async def never(events: list[str]) -> None:
    events.append("begun")
    try:
        await asyncio.Event().wait()
    finally:
        events.append("ended")


async def nothing() -> None:
    pass


def test_coroutine_runs_in_the_thread_of_the_loop(loop: LoopThread) -> None:
    assert loop.submit(name_of_thread()).result() == "loop-under-test"


def test_coroutine_of_another_loop_can_be_awaited(loop: LoopThread) -> None:
    async def ask() -> str:
        return await asyncio.wrap_future(loop.submit(name_of_thread()))

    assert asyncio.run(ask()) == "loop-under-test"


def test_cancelling_the_future_cancels_the_coroutine(loop: LoopThread) -> None:
    events: list[str] = []
    future = loop.submit(never(events))
    loop.submit(nothing()).result()
    assert future.cancel()
    loop.submit(nothing()).result()
    loop.close()
    assert events == ["begun", "ended"]


def test_closing_ends_what_still_runs_and_the_thread(loop: LoopThread) -> None:
    events: list[str] = []
    future = loop.submit(never(events))
    loop.close()
    assert future.cancelled()
    assert events == ["begun", "ended"]
    assert not loop._thread.is_alive()


def test_loop_goes_on_after_everything_was_cancelled(loop: LoopThread) -> None:
    events: list[str] = []
    future = loop.submit(never(events))
    loop.cancel_all()
    assert future.cancelled()
    assert loop.submit(name_of_thread()).result() == "loop-under-test"
