"""How far the source runs ahead, and what is said when it must not."""

from __future__ import annotations

import itertools
import logging
import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from parsl_pcm.errors import PCMError
from parsl_pcm.mapping import feed, window
from parsl_pcm.mapping.report import ItemError
from parsl_pcm.types import TaskId
from tests.fake_map import FakeLink, make_run, manual_map, run_map

PATIENCE_S = 60.0


def test_a_source_without_end_waits_for_whoever_takes_results(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(window, "MAX_ITEMS", 500)
    monkeypatch.setattr(feed, "SEGMENT_ITEMS", 300)
    run = run_map(itertools.count(), str)
    wait_until(run, lambda: run._state.is_held_up)
    assert "somebody who takes" in run.progress().waiting_for
    num_fed = run.progress().num_fed
    assert num_fed < 500 + feed.SEGMENT_ITEMS + feed.FRAME_ITEMS
    taken = list(itertools.islice(run, 3 * num_fed))
    assert taken == [str(n) for n in range(3 * num_fed)]
    run.cancel()


def test_a_standstill_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(window, "MAX_ITEMS", 100)
    monkeypatch.setattr(feed, "SEGMENT_ITEMS", 300)
    monkeypatch.setattr(feed, "STANDSTILL_S", 0.001)
    is_logged = threading.Event()
    monkeypatch.setattr(feed.logger, "warning", lambda *_: is_logged.set())
    with caplog.at_level(logging.WARNING), run_map(itertools.count(), str):
        assert is_logged.wait(PATIENCE_S)


def test_a_missing_item_is_named_if_results_behind_it_fill_the_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(window, "MAX_ITEMS", 100)
    run, link = manual_map(range(1000))
    wait_until(run, lambda: run._state._segments)
    link.deliver(1, 1, len(link.segments[TaskId(1)]))
    wait_until(run, lambda: run._state.is_held_up)
    assert run.progress().waiting_for.startswith("item 0, behind which")
    run.cancel()


def test_a_list_is_sent_in_few_segments_of_full_frames() -> None:
    run, link = manual_map(range(10_000))
    wait_until(run, lambda: run._state._is_source_over)
    (sizes,) = link.all_sizes
    assert sum(sizes) == 10_000
    assert sizes[-3:-1] == [1024, 1024]
    run.cancel()


def test_a_link_that_cannot_send_fails_the_map() -> None:
    class BrokenLink(FakeLink):
        def submitted(self, task_id: TaskId) -> None:
            raise PCMError("the executor is not usable any more")

    run = make_run([1])
    run.start(BrokenLink(run))
    with pytest.raises(PCMError, match="not usable"):
        run.result(PATIENCE_S)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("is_slow", [True, False])
@pytest.mark.parametrize("seed", range(10))
def test_every_item_has_its_result_once_in_whatever_order_they_come(
    seed: int, ordered: bool, is_slow: bool
) -> None:
    chance = random.Random(seed)
    num_items = 250
    bad = set(chance.sample(range(num_items), 10))
    items: Any = ["x" * 3000 + str(n) for n in range(num_items)]
    source = iter(items) if is_slow else items
    run, link = manual_map(source, ordered=ordered, on_error="return")
    wait_until(run, lambda: run._state._is_source_over)
    places = [(task, n) for task, each in link.segments.items() for n in range(len(each))]
    assert len(places) == num_items
    index_of = {place: n for n, place in enumerate(places)}
    ranges = list(cut_at_random(places, bad, index_of, chance))
    chance.shuffle(ranges)
    for task_id, start, stop in ranges:
        if index_of[task_id, start] in bad:
            run.on_item_failed(task_id, start, ValueError(str(start)))
        else:
            link.deliver(task_id, start, stop, skip=chance.choice([0, min(start, 3)]))
    results = run.result(PATIENCE_S)
    assert [n for n, result in enumerate(results) if isinstance(result, ItemError)] == sorted(bad)
    assert [r for n, r in enumerate(results) if n not in bad] == [
        item for n, item in enumerate(items) if n not in bad
    ]
    assert run.done()


def cut_at_random(
    places: list[tuple[TaskId, int]],
    bad: set[int],
    index_of: dict[tuple[TaskId, int], int],
    chance: random.Random,
) -> Iterator[tuple[TaskId, int, int]]:
    """Yield ranges, each of one segment, with the bad items alone."""
    start = 0
    for stop in range(1, len(places) + 1):
        task_id, first = places[start]
        if (
            stop == len(places)
            or places[stop][0] != task_id
            or bad & {index_of[places[stop]], index_of[places[start]]}
            or chance.random() < 0.1
        ):
            yield task_id, first, first + stop - start
            start = stop


def wait_until(run: Any, is_so: Any) -> None:
    with run._state.changed:
        assert run._state.changed.wait_for(is_so, PATIENCE_S)
