"""The parts of ``map.py`` that measure rates: overhead, unequal hosts, calls, the caller's size."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import common
import map_work
from common import OURS, SLOTS, STOCK
from map_values import Settings, Value

from parsl_pcm import pcm_map

WARM_UP_CALLS = 40
HAND_MADE_SIZES = (10, 100, 1_000, 10_000)
ITEM_S, SLOWNESS = 0.002, 4
UNEQUAL_ITEMS = 12_345
"""No multiple of any batch: 10,000 happen to be two slow batches of 1,000 and eight fast ones."""
STEP_S, ENGINE_ITEM_S, MAX_ITEMS = 0.05, 0.005, 64
CALLERS_SIZES = (1, 10, 100, 1_000)


Run = Callable[..., list[Any]]
"""Takes items, and returns as many results."""


def overhead_of_maps(settings: Settings) -> Iterator[Value]:
    """Map no-op items with PCMExecutor."""
    items = list(range(settings.scaled(1_000_000)))
    with common.loaded(OURS):
        listed: Any = common.app(map_work.same)
        yielded: Any = common.app(map_work.same_one_by_one)
        assert pcm_map(listed, range(1000)).result() == list(range(1000))
        ways: dict[str, Callable[[], list[int]]] = {
            "list": lambda: pcm_map(listed, items).result(),
            "generator, iterated": lambda: list(pcm_map(listed, (item for item in items))),
            "app that yields": lambda: pcm_map(yielded, items).result(),
        }
        for what, way in ways.items():
            yield Value(f"pcm_map, {what}", "items/s", checked_rate(way, items))


def overhead_of_calls(name: str, settings: Settings) -> Iterator[Value]:
    """Call the app for each no-op item."""
    with common.loaded(name):
        warm_up()
        items = list(range(settings.scaled(5_000)))
        app = common.app(map_work.same)
        yield Value(
            f"{name}, a call an item",
            "items/s",
            checked_rate(partial(called, app, items, 1), items),
        )


def overhead_of_batches(settings: Settings) -> Iterator[Value]:
    """Call HighThroughputExecutor with batches that a person has made."""
    with common.loaded(STOCK):
        warm_up()
        app = common.app(map_work.same)
        for size in HAND_MADE_SIZES:
            items = list(range(settings.scaled(min(1_000_000, 5_000 * size))))
            rate = checked_rate(partial(called, app, items, size), items)
            yield Value(f"{STOCK}, batches of {size:,}", "items/s", rate)


def overhead_of_a_pool(settings: Settings) -> Iterator[Value]:
    """Map no-op items in the standard library's pool."""
    items = list(range(settings.scaled(1_000_000)))
    with ProcessPoolExecutor(SLOTS) as pool:
        list(pool.map(map_work.same_item, range(WARM_UP_CALLS)))
        rate = checked_rate(
            lambda: list(pool.map(map_work.same_item, items, chunksize=1000)), items
        )
    yield Value("ProcessPoolExecutor.map, chunksize=1000", "items/s", rate)


def unequal_map(settings: Settings) -> Iterator[Value]:
    """Map timed items over a host and one that is four times slower."""
    with common.loaded(OURS), tempfile.TemporaryDirectory() as folder:
        warm_up()
        recipe = map_work.worker(folder, ITEM_S, SLOWNESS)
        app: Any = common.app(map_work.work_declared)
        yield unequal(
            "pcm_map", lambda items: pcm_map(app, items, worker=recipe).result(), settings
        )


def unequal_batches(settings: Settings) -> Iterator[Value]:
    """Do the same with HighThroughputExecutor and batches that a person has made."""
    with common.loaded(STOCK):
        warm_up()
        app = common.app(map_work.work_cached)
        for size in (1, *HAND_MADE_SIZES[:3]):
            with tempfile.TemporaryDirectory() as folder:
                worker: dict[str, Any] = {"folder": folder, "item_s": ITEM_S, "slowness": SLOWNESS}
                way = partial(called, app, size=size, **worker)
                yield unequal(f"{STOCK}, batches of {size:,}", way, settings)


def unequal(row: str, way: Callable[[list[int]], list[Any]], settings: Settings) -> Value:
    """Return the makespan over that of the ideal split between the two."""
    items = list(range(settings.scaled(UNEQUAL_ITEMS)))
    ideal_s = len(items) * ITEM_S / (1 + 1 / SLOWNESS)
    start_s = time.perf_counter()
    results = way(items)
    makespan_s = time.perf_counter() - start_s
    assert [item for item, _ in results] == items, "an item has a wrong result"
    return Value(f"{row}: makespan over ideal split ({ideal_s:.1f} s)", "-", makespan_s / ideal_s)


def single_calls(name: str, settings: Settings) -> Iterator[Value]:
    """Call the app with one item, ever more often."""
    with common.loaded(name) as kernel:
        warm_up()
        executor = kernel.executors["bench"]
        through_parsl = common.app(map_work.same)
        alone = partial(executor.submit, map_work.same, {})
        for what, call in {"through Parsl": through_parsl, "executor alone": alone}.items():
            for num_calls in map(settings.scaled, (1_000, 10_000, 100_000)):
                items = list(range(num_calls))
                rate = checked_rate(partial(called, call, items, 1), items)
                yield Value(f"{name}, {num_calls:,} calls, {what}", "calls/s", rate)


def sizes_of_maps(settings: Settings) -> Iterator[Value]:
    """Map items in portions of the caller's choice on a batching engine."""
    yield from sizes("pcm_map", in_maps, settings)


def sizes_of_calls(settings: Settings) -> Iterator[Value]:
    """Call the app with as many items as the caller likes on a batching engine."""
    yield from sizes(f"{OURS}, ordinary calls", called, settings)


def sizes(name: str, way: Run, settings: Settings) -> Iterator[Value]:
    """Ask a batching engine; a fresh executor for each size knows nothing of the others."""
    for size in CALLERS_SIZES:
        with common.loaded(OURS):
            app = common.app(map_work.ask_declared)
            recipe = map_work.engine(STEP_S, ENGINE_ITEM_S, MAX_ITEMS)
            yield timed(
                f"{name} of {size:,}", partial(way, app, size=size, engine=recipe), settings
            )


def sizes_of_batches(settings: Settings) -> Iterator[Value]:
    """Call HighThroughputExecutor: each worker asks its own engine, one call at a time."""
    engine: dict[str, Any] = {"step_s": STEP_S, "item_s": ENGINE_ITEM_S, "max_items": MAX_ITEMS}
    with common.loaded(STOCK):
        warm_up()
        app = common.app(map_work.ask_cached)
        for size in CALLERS_SIZES:
            way = partial(called, app, size=size, **engine)
            yield timed(f"{STOCK}, calls of {size:,}", way, settings)


def timed(row: str, way: Callable[[list[int]], list[int]], settings: Settings) -> Value:
    """Return the time over that of full steps on all engines, once they have been used."""
    num_items = settings.scaled(4_000)
    warm = list(range(num_items // 10))
    assert way(warm) == warm
    items = list(range(num_items))
    ideal_s = num_items * (STEP_S / MAX_ITEMS + ENGINE_ITEM_S) / SLOTS
    start_s = time.perf_counter()
    assert way(items) == items, "an item has a wrong result"
    return Value(
        f"{row}: time over ideal ({ideal_s:.1f} s)", "-", (time.perf_counter() - start_s) / ideal_s
    )


def called(app: Any, items: Sequence[int], size: int, **others: Any) -> list[Any]:
    """Call an app for each portion, all at once; return all results in order."""
    results = common.wait_all([app(portion, **others) for portion in portions(items, size)])
    return list(itertools.chain.from_iterable(results))


def in_maps(app: Any, items: Sequence[int], size: int, **others: Any) -> list[Any]:
    """Map an app over each portion, all at once; return all results in order."""
    runs = [pcm_map(app, portion, **others) for portion in portions(items, size)]
    return list(itertools.chain.from_iterable(run.result() for run in runs))


def portions(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Cut items into portions of one size."""
    return (items[start : start + size] for start in range(0, len(items), size))


def checked_rate(way: Callable[[], list[int]], items: list[int]) -> float:
    """Return the items a second of a way that returns each as it is."""
    start_s = time.perf_counter()
    results = way()
    rate = len(items) / (time.perf_counter() - start_s)
    assert results == items, "an item has a wrong result"
    return rate


def warm_up() -> None:
    """Have all workers up before a clock starts."""
    common.wait_all([common.app(map_work.same)([0]) for _ in range(WARM_UP_CALLS)])
