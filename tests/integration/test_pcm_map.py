"""``pcm_map`` on a real executor: two hosts on this machine."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest
from parsl import bash_app, join_app, python_app
from parsl.dataflow.errors import DependencyError

from parsl_pcm import PCMExecutor, context
from parsl_pcm.mapping.api import pcm_map
from parsl_pcm.mapping.report import ItemError, MapSummary
from tests.running import PATIENCE_S, running


@context
def factor():
    return 10


@python_app
def times(items, by=factor):
    return [item * by for item in items]


@context(gpus=1, gpu_type="a GPU that nobody has")
def fast():
    return 10


@python_app
def double(items):
    return [2 * item for item in items]


@python_app
def picky(items):
    for item in items:
        if item % 10 == 7:
            raise ValueError(f"no {item}, please")
        yield 2 * item


@python_app
def awaited(items):
    import time

    time.sleep(0.5)
    return [len(items)] * len(items)


@python_app
def number(n):
    return n


@python_app
def broken():
    raise ValueError("never a number")


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PCMExecutor]:
    with running(tmp_path_factory.mktemp("run")) as executor:
        yield executor


pytestmark = pytest.mark.usefixtures("executor")


def test_list_gives_list() -> None:
    assert pcm_map(double, range(2000)).result(PATIENCE_S) == [2 * n for n in range(2000)]


def test_context_and_other_arguments_reach_the_app() -> None:
    assert pcm_map(times, [1, 2, 3]).result(PATIENCE_S) == [10, 20, 30]
    assert pcm_map(times, [1, 2, 3], by=7).result(PATIENCE_S) == [7, 14, 21]


def test_futures_among_the_arguments_are_waited_for() -> None:
    assert pcm_map(times, [1, 2], by=number(5)).result(PATIENCE_S) == [5, 10]


def test_a_future_that_fails_fails_the_map() -> None:
    with pytest.raises(DependencyError):
        pcm_map(times, [1, 2], by=broken()).result(PATIENCE_S)


def test_generator_is_iterated_over_in_order() -> None:
    run = pcm_map(double, (n for n in range(3000)))
    assert list(run) == [2 * n for n in range(3000)]
    assert isinstance(run.future.result(PATIENCE_S), MapSummary)


def test_endless_generator_can_be_used_and_left() -> None:
    with pcm_map(double, itertools.count()) as run:
        assert list(itertools.islice(run, 500)) == [2 * n for n in range(500)]
    assert run.done()


def test_as_completed_gives_each_once() -> None:
    run = pcm_map(double, range(500), ordered=False)
    assert sorted(run.pairs()) == [(n, 2 * n) for n in range(500)]


def test_first_bad_item_ends_the_map_behind_the_results_before_it() -> None:
    results = iter(pcm_map(picky, range(100)))
    assert list(itertools.islice(results, 7)) == [0, 2, 4, 6, 8, 10, 12]
    with pytest.raises(ValueError, match="no 7, please") as caught:
        next(results)
    told = getattr(caught.value, "__notes__", None) or [str(caught.value.__cause__.__cause__)]
    assert "item 7" in told[0]
    assert "picky" in told[0]


def test_bad_items_are_returned_and_all_others_done() -> None:
    results = pcm_map(picky, range(300), on_error="return").result(PATIENCE_S)
    bad = [result for result in results if isinstance(result, ItemError)]
    assert [error.index for error in bad] == list(range(7, 300, 10))
    assert "ValueError" in bad[0].traceback
    assert [r for r in results if not isinstance(r, ItemError)] == [
        2 * n for n in range(300) if n % 10 != 7
    ]


def test_two_maps_at_once() -> None:
    one, other = pcm_map(double, range(1000)), pcm_map(times, range(1000))
    assert other.result(PATIENCE_S) == [10 * n for n in range(1000)]
    assert one.result(PATIENCE_S) == [2 * n for n in range(1000)]


def test_map_in_another_thread() -> None:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(pcm_map(double, [1, 2]).result()))
    thread.start()
    thread.join(PATIENCE_S)
    assert found == [[2, 4]]


def test_cancel_ends_it() -> None:
    run = pcm_map(awaited, range(100_000))
    assert run.cancel()
    with pytest.raises(CancelledError):
        run.result(PATIENCE_S)
    assert isinstance(run.future.exception(PATIENCE_S), CancelledError)
    assert pcm_map(double, [1]).result(PATIENCE_S) == [2]


def test_results_go_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    run = pcm_map(picky, range(100), sink=path, on_error="return")
    summary = run.result(PATIENCE_S)
    assert (summary.num_items, summary.num_done, summary.num_errors) == (100, 100, 10)
    rows = sorted(map(json.loads, path.read_text().splitlines()), key=lambda row: row["index"])
    assert [row["index"] for row in rows] == list(range(100))
    assert [row["result"] for row in rows if "result" in row] == [
        2 * n for n in range(100) if n % 10 != 7
    ]
    with pytest.raises(RuntimeError, match="go to"):
        iter(run)


def test_rows_tell_the_variant_of_the_context_in_every_run(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    recipe = fast.variant(factor)
    for num_items, num_new in ((30, 30), (50, 20)):
        run = pcm_map(times, range(num_items), by=recipe, sink=path, resume=True)
        assert run.result(PATIENCE_S).num_done == num_new
        assert run.variants() == {"factor": num_new}
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert {row["index"]: row["result"] for row in rows} == {n: 10 * n for n in range(50)}
    assert {row["variant"] for row in rows} == {"factor"}


def test_a_second_run_does_what_the_first_left(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    first = pcm_map(double, range(60), sink=path, resume=True).result(PATIENCE_S)
    second = pcm_map(double, range(100), sink=path, resume=True).result(PATIENCE_S)
    assert (first.num_done, first.num_skipped) == (60, 0)
    assert (second.num_done, second.num_skipped) == (40, 60)
    assert len(path.read_text().splitlines()) == 100


def test_a_second_run_gives_the_results_of_the_first(tmp_path: Path) -> None:
    journal = tmp_path / "done.sqlite"
    assert pcm_map(double, range(60), resume=journal).result(PATIENCE_S)[-1] == 118
    run = pcm_map(double, range(100), resume=journal)
    assert run.result(PATIENCE_S) == [2 * n for n in range(100)]
    assert run.progress().num_skipped == 60


# --- what is refused -----------------------------------------------------------------------------


@bash_app
def shell(items):
    return "true"


@join_app
def joining(items):
    return double(items)


@python_app
def with_option(items, key=None):
    return items


@python_app
def context_first(by=factor):
    return by


@python_app
def keyword_only(*, items):
    return items


@pytest.mark.parametrize(
    ("app", "kwargs", "message"),
    [
        (len, {}, "decorate it with @python_app"),
        (shell, {}, "only a @python_app"),
        (joining, {}, "only a @python_app"),
        (with_option, {}, "an option of pcm_map: rename it"),
        (context_first, {}, "is a context"),
        (keyword_only, {}, "takes no positional argument"),
        (double, {"by": 3}, "unexpected keyword argument 'by'"),
        (double, {"items": 3}, "gets the items"),
        (double, {"walltime": 3}, "has a walltime"),
        (double, {"ordered": "yes"}, "ordered must be True or False"),
        (double, {"progress": 1}, "progress must be"),
        (double, {"resume": 1.0}, "resume must be"),
        (double, {"key": 1.0}, "key must be"),
    ],
)
def test_wrong_type_is_refused_at_once(app: Any, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        pcm_map(app, [1], **kwargs)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"on_error": "ignore"}, "on_error must be 'raise' or 'return'"),
        ({"resume": True}, "needs a sink"),
        ({"resume": "a.sqlite", "sink": "b.jsonl"}, "give resume=True"),
        ({"sink": "out.xlsx"}, "files that end in"),
    ],
)
def test_wrong_value_is_refused_at_once(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pcm_map(double, [1], **kwargs)


def test_app_of_other_executors_is_refused() -> None:
    with pytest.raises(ValueError, match="none of which is a PCMExecutor"):
        pcm_map(python_app(lambda items: items, executors=["elsewhere"]), [1])
