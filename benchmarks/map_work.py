"""What ``map.py`` runs in the workers: an importable module, the same for every executor."""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from parsl_pcm import context


def same(items: Sequence[int]) -> Sequence[int]:
    """Do nothing with a batch: what is left is the cost of the executor."""
    return items


def same_one_by_one(items: Sequence[int]) -> Iterator[int]:
    """Do nothing, as an app that yields."""
    yield from items


def same_item(item: int) -> int:
    """Do nothing with one item."""
    return item


class Worker:
    """Takes so long an item; of the workers of a folder one is slower than the others."""

    def __init__(self, folder: str, item_s: float, slowness: int) -> None:
        self.is_slow = _is_first(Path(folder) / "slow-worker")
        self._item_s = item_s * slowness if self.is_slow else item_s

    def work(self, items: Sequence[int]) -> list[tuple[int, bool]]:
        """Take the time of these items, however the clock of the machine rounds each."""
        end = time.perf_counter() + self._item_s * len(items)
        time.sleep(max(0.0, end - time.perf_counter()))
        return [(item, self.is_slow) for item in items]


def _is_first(lock: Path) -> bool:
    try:
        lock.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


@context
def worker(folder: str, item_s: float, slowness: int) -> Worker:
    """Declare the worker for PCMExecutor."""
    return Worker(folder, item_s, slowness)


def work_declared(items: Sequence[int], worker: Worker) -> list[tuple[int, bool]]:
    """App of PCMExecutor: the worker arrives as an argument."""
    return worker.work(items)


cached_worker = functools.lru_cache(maxsize=1)(Worker)


def work_cached(
    items: Sequence[int], folder: str, item_s: float, slowness: int
) -> list[tuple[int, bool]]:
    """Task of HighThroughputExecutor with a cached global."""
    return cached_worker(folder, item_s, slowness).work(items)


@functools.lru_cache(maxsize=1)
def journal(folder: str) -> int:
    """Open the journal of this process: a file that keeps what was written whatever happens."""
    return os.open(Path(folder) / str(os.getpid()), os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def work_listed(items: Sequence[int], folder: str, item_s: float) -> list[int]:
    """Work on a piece, enter each item in the journal, and return all results at once."""
    return list(work_yielded(items, folder, item_s))


def work_yielded(items: Sequence[int], folder: str, item_s: float) -> Iterator[int]:
    """Work on a piece, enter each item in the journal, and give each result at once."""
    for item in items:
        time.sleep(item_s)
        os.write(journal(folder), f"{item}\n".encode())
        yield item


class Engine:
    """Has the shape of an engine that batches: each step costs, whatever it holds.

    Calls that wait when a step begins are served in it, those of different callers together.
    """

    def __init__(self, step_s: float, item_s: float, max_items: int) -> None:
        self._step_s, self._item_s, self._max_items = step_s, item_s, max_items
        self._waiting: list[tuple[int, asyncio.Future[int]]] = []
        self._stepping: asyncio.Task[None] | None = None

    async def answer(self, items: Sequence[int]) -> list[int]:
        """Serve these items, together with whatever else is there."""
        loop = asyncio.get_running_loop()
        answers: list[asyncio.Future[int]] = [loop.create_future() for _ in items]
        self._waiting.extend(zip(items, answers, strict=True))
        if self._stepping is None:
            self._stepping = loop.create_task(self._step())
        return list(await asyncio.gather(*answers))

    def answer_now(self, items: Sequence[int]) -> list[int]:
        """Serve these items alone."""
        for start in range(0, len(items), self._max_items):
            num_items = len(items[start : start + self._max_items])
            time.sleep(self._step_s + self._item_s * num_items)
        return list(items)

    async def _step(self) -> None:
        await asyncio.sleep(0)  # what was called in the same moment is served in the same step
        while self._waiting:
            batch = self._waiting[: self._max_items]
            del self._waiting[: self._max_items]
            await asyncio.sleep(self._step_s + self._item_s * len(batch))
            for item, answer in batch:
                answer.set_result(item)
        self._stepping = None


@context(max_concurrency=1024)
def engine(step_s: float, item_s: float, max_items: int) -> Engine:
    """Declare the engine for PCMExecutor."""
    return Engine(step_s, item_s, max_items)


async def ask_declared(items: Sequence[int], engine: Engine) -> list[int]:
    """App of PCMExecutor: one live engine serves all calls."""
    return await engine.answer(items)


cached_engine = functools.lru_cache(maxsize=1)(Engine)


def ask_cached(items: Sequence[int], step_s: float, item_s: float, max_items: int) -> list[int]:
    """Task of HighThroughputExecutor with a cached global."""
    return cached_engine(step_s, item_s, max_items).answer_now(items)
