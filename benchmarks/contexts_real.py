"""The part ``real`` of ``contexts.py``: contexts that hold real memory, in real processes."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import common
import contexts_work
import psutil
from common import OURS, STOCK
from map_values import Settings, Value

NODE_GB = 1
NODE_BYTES = NODE_GB * 2**30
"""All that the contexts of the node may hold, whatever the machine has."""
BUILD_S = 1.0
SAMPLE_EVERY_S = 0.05
HOST = "parsl_pcm.host"
MARK, RUN = "PARSL_PCM_BENCH_RUN", os.getpid()
"""A variable in the environment of our processes, wherever they are among all others."""
SMALL_NODE = f"export PARSL_MEMORY_GB={NODE_GB} {MARK}={RUN}"

Call = Callable[[int, str], Future[Any]]
"""Calls an app with a number and the name of a context."""


def together(settings: Settings) -> Iterator[Value]:
    """Call two apps in turn, each call after the result of the last, on a node that holds both."""
    num_calls = settings.scaled(400)
    row = f"two of 300 MB on a node of {NODE_GB} GiB, {num_calls} calls one by one"
    with ours("ab", size_mb=300, declared="400 MB") as run:
        one_by_one(run.call, num_calls)
    yield Value(f"{row}: loads", "-", run.num_loads)
    yield Value(f"{row}: memory held at most, of the node's", "%", run.peak_frac * 100)


def apart(settings: Settings) -> Iterator[Value]:
    """Call two apps in turn, all calls at once, on a node that holds one of their contexts."""
    num_calls = settings.scaled(400)
    row = f"two of 600 MB on a node of {NODE_GB} GiB, {num_calls} calls at once"
    with ours("ab", size_mb=600, declared="650 MB") as run:
        seconds = all_at_once(run.call, num_calls)
    yield Value(f"{row}: loads", "-", run.num_loads)
    yield Value(f"{row}: memory held at most, of the node's", "%", run.peak_frac * 100)
    yield Value(f"{row}: seconds", "s", seconds)


def apart_cached(settings: Settings) -> Iterator[Value]:
    """Do the same with HighThroughputExecutor, whose worker keeps the context it used last."""
    num_calls = settings.scaled(400) // 10
    row = f"two of 600 MB, {num_calls} calls at once, HTEX with a worker that keeps the last"
    with tempfile.TemporaryDirectory() as log_dir, common.loaded(STOCK, num_slots=1):
        app: Any = common.app(contexts_work.use_cached)
        seconds = all_at_once(
            lambda index, name: app(index, name, 600, BUILD_S, log_dir), num_calls
        )
        num_loads = len(list(Path(log_dir).iterdir()))
    yield Value(f"{row}: loads", "-", num_loads)
    yield Value(f"{row}: seconds", "s", seconds)


def undeclared(settings: Settings) -> Iterator[Value]:
    """Call three apps in turn whose contexts do not say what they hold; two of them fit."""
    num_calls = settings.scaled(120)
    row = f"three of 400 MB, undeclared, on a node of {NODE_GB} GiB, {num_calls} calls one by one"
    with ours("abc", size_mb=400, declared=0) as run:
        one_by_one(run.call, num_calls, "abc")
        first_frac = run.peak_frac
        run.peak_bytes = 0
        one_by_one(run.call, num_calls, "abc")
    yield Value(f"{row}: memory held at most, of the node's", "%", first_frac * 100)
    yield Value(f"{row}: the same, by {num_calls} calls more", "%", run.peak_frac * 100)
    yield Value(f"{row}: loads in both", "-", run.num_loads)


class Run:
    """A running executor with an app, and what its hosts hold at most."""

    def __init__(self, call: Call, log_dir: Path) -> None:
        self.call = call
        self.num_loads = 0
        self.peak_bytes = 0
        self._log_dir = log_dir
        self._is_over = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()

    @property
    def peak_frac(self) -> float:
        """The most that was held at once, as a part of what the node has."""
        return self.peak_bytes / NODE_BYTES

    def end(self) -> None:
        """Look for the last time."""
        self._is_over.set()
        self._sampler.join()
        self.num_loads = len(list(self._log_dir.iterdir()))

    def _sample(self) -> None:
        while not self._is_over.wait(SAMPLE_EVERY_S):
            self.peak_bytes = max(self.peak_bytes, held_bytes())


@contextlib.contextmanager
def ours(names: str, *, size_mb: int, declared: str | int) -> Iterator[Run]:
    """Load PCMExecutor on the small node, with a context for each of the letters."""
    with (
        tempfile.TemporaryDirectory() as log_dir,
        common.loaded(OURS, num_slots=4, worker_init=SMALL_NODE),
    ):
        app: Any = common.app(contexts_work.use_declared)
        recipe = contexts_work.held.options(host_memory=declared, cores=0.1)
        recipes = {name: recipe(name, size_mb, BUILD_S, log_dir) for name in names}
        run = Run(lambda index, name: app(index, blob=recipes[name]), Path(log_dir))
        yield run
        run.end()


def held_bytes() -> int:
    """Return the main memory of all hosts of this script: what they share counts in parts."""
    total_bytes = 0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if HOST in " ".join(process.cmdline()) and process.environ().get(MARK) == str(RUN):
                total_bytes += process.memory_full_info().pss
    return total_bytes


def one_by_one(call: Call, num_calls: int, names: str = "ab") -> None:
    """Call in turn, each call after the result of the last; check the results."""
    for index in range(num_calls):
        name = names[index % len(names)]
        assert call(index, name).result() == (index, name), "a call got another context"


def all_at_once(call: Call, num_calls: int) -> float:
    """Make all calls, in turn for each of two contexts; check the results; return the seconds."""
    start_s = time.perf_counter()
    names = ["ab"[index % 2] for index in range(num_calls)]
    results = common.wait_all([call(index, name) for index, name in enumerate(names)])
    assert results == list(enumerate(names)), "a call got another context"
    return time.perf_counter() - start_s
