"""Results that are written as they come: to a sink, or to a journal."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET

from parsl_pcm.errors import SinkError
from parsl_pcm.mapping.chunks import Results
from parsl_pcm.mapping.feed import Earlier
from parsl_pcm.mapping.keys import Keys
from parsl_pcm.mapping.report import ItemError
from parsl_pcm.mapping.sinks.opening import open_sink
from parsl_pcm.mapping.sinks.rows import Row
from parsl_pcm.mapping.state import MapState
from parsl_pcm.mapping.writer import SinkOutput, patience_of
from parsl_pcm.types import TaskId
from tests.fake_map import make_run, manual_map, run_map

PATIENCE_S = 60.0


class ListSink:
    """Keeps rows; can be told to stand still, or to fail."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.closed: list[bool] = []
        self.may_write = threading.Event()
        self.may_write.set()
        self.error: Exception | None = None

    def write(self, rows: Sequence[Row]) -> int:
        assert self.may_write.wait(PATIENCE_S)
        if self.error is not None:
            raise self.error
        self.rows.extend(rows)
        return 0

    def flush(self) -> None:
        pass

    def close(self, *, is_complete: bool) -> None:
        self.closed.append(is_complete)


def to(sink: ListSink) -> dict[str, Any]:
    return {"output": lambda _, keys: SinkOutput(sink, keys.column), "sink": "out.jsonl"}


def test_rows_have_index_and_result() -> None:
    sink = ListSink()
    summary = run_map(["a", "b"], str.upper, **to(sink)).result(PATIENCE_S)
    assert sorted((row.index, row.result) for row in sink.rows) == [(0, "A"), (1, "B")]
    assert sink.closed == [True]
    assert (summary.num_items, summary.num_done, summary.sink) == (2, 2, "out.jsonl")


def test_rows_have_the_variant_that_made_the_result() -> None:
    sink = ListSink()
    run, link = manual_map(["a", "b", "c"], on_error="return", **to(sink))
    wait_for_segment(run)
    link.deliver(1, 0, 1, variant="large")
    link.deliver(1, 1, 2, variant="small")
    run.on_item_failed(TaskId(1), 2, ValueError("bad"))
    run.result(PATIENCE_S)
    assert {row.index: row.variant for row in sink.rows} == {0: "large", 1: "small", 2: UNSET}


def test_rows_have_the_users_keys() -> None:
    sink = ListSink()
    items = [{"id": "one"}, {"id": "two"}]
    run_map(items, lambda item: 1, key="id", **to(sink)).result(PATIENCE_S)
    assert {row.index: row.key for row in sink.rows} == {0: "one", 1: "two"}


def test_errors_become_error_rows() -> None:
    sink = ListSink()
    run = run_map(["a", 2], str.upper, on_error="return", **to(sink))
    assert run.result(PATIENCE_S).num_errors == 1
    assert {row.index: type(row.error).__name__ for row in sink.rows}[1] == "ErrorText"


def test_iterating_is_refused() -> None:
    run = run_map(["a"], str.upper, **to(ListSink()))
    with pytest.raises(RuntimeError, match=r"go to out\.jsonl"):
        iter(run)
    with pytest.raises(RuntimeError, match=r"go to out\.jsonl"):
        run.pairs()


def test_a_sink_that_fails_ends_the_map_at_once() -> None:
    sink = ListSink()
    sink.error = SinkError("the disk has gone")
    run, link = manual_map(["a", "b"], **to(sink))
    wait_for_segment(run)
    link.deliver(1, 0, 1)
    with pytest.raises(SinkError, match="the disk has gone"):
        run.result(PATIENCE_S)
    assert link.cancelled == [1]
    assert sink.closed == [False]


def test_results_before_an_error_are_written_and_the_sink_is_closed() -> None:
    sink = ListSink()
    run, link = manual_map(["a", "b"], **to(sink))
    wait_for_segment(run)
    sink.may_write.clear()
    link.deliver(1, 1, 2)
    run.on_segment_failed(1, 0, ValueError("bad"))
    sink.may_write.set()
    with pytest.raises(ValueError, match="bad"):
        run.result(PATIENCE_S)
    assert [row.index for row in sink.rows] == [1]
    assert sink.closed == [False]


def test_cancelling_writes_what_had_come_and_closes_the_sink() -> None:
    sink = ListSink()
    run, link = manual_map(["a", "b"], **to(sink))
    wait_for_segment(run)
    link.deliver(1, 0, 1)
    run.cancel()
    assert run._ended.wait(PATIENCE_S)
    assert [row.index for row in sink.rows] == [0]
    assert sink.closed == [False]


def test_a_map_is_done_when_all_is_written() -> None:
    sink = ListSink()
    sink.may_write.clear()
    run, link = manual_map(["a"], **to(sink))
    wait_for_segment(run)
    link.deliver(1, 0, 1)
    assert not run.done()
    assert not link.future.done()
    sink.may_write.set()
    run.result(PATIENCE_S)
    assert run.done()
    assert link.future.result(PATIENCE_S).num_done == 1


def test_a_map_that_never_starts_closes_its_sink() -> None:
    sink = ListSink()
    run = make_run(["a"], **to(sink))
    run.future.set_exception(ValueError("a dependency failed"))
    with pytest.raises(ValueError, match="dependency"):
        run.result(PATIENCE_S)
    assert sink.closed == [False]


def test_items_of_an_earlier_run_are_skipped() -> None:
    sink = ListSink()
    earlier = Earlier(look_up=lambda index, key: (index % 2 == 0, None), has_results=False)
    summary = run_map(range(10), str, earlier=earlier, **to(sink)).result(PATIENCE_S)
    assert sorted(row.index for row in sink.rows) == [1, 3, 5, 7, 9]
    assert (summary.num_done, summary.num_skipped) == (5, 5)


# --- a journal -----------------------------------------------------------------------------------


class DictJournal:
    """An output that hands on."""

    hands_on = True

    def __init__(self) -> None:
        self.known: dict[int, Any] = {}
        self.num_closed = 0

    def keep(self, results: Sequence[Results]) -> int:
        for each in results:
            for index, _, value in each.triples():
                if not isinstance(value, ItemError):
                    self.known[index] = value
        return 0

    def flush(self) -> None:
        pass

    def close(self, *, is_complete: bool) -> None:
        self.num_closed += 1

    def earlier(self) -> Earlier:
        known = dict(self.known)
        return Earlier(
            look_up=lambda index, key: (index in known, known.get(index)), has_results=True
        )


def test_results_are_kept_and_given_too() -> None:
    journal = DictJournal()
    run = run_map(range(100), lambda n: 3 * n, output=lambda *_: journal)
    assert run.result(PATIENCE_S) == [3 * n for n in range(100)]
    assert journal.known == {n: 3 * n for n in range(100)}
    assert journal.num_closed == 1


def test_results_of_an_earlier_run_are_given_in_their_place() -> None:
    journal = DictJournal()
    journal.known = {n: f"earlier {n}" for n in (0, 3, 4, 99)}
    done: list[int] = []
    run = run_map(range(100), done.append, output=lambda *_: journal, earlier=journal.earlier())
    results = list(run)
    assert results[:6] == ["earlier 0", None, None, "earlier 3", "earlier 4", None]
    assert results[99] == "earlier 99"
    assert len(results) == 100
    assert sorted(done) == [n for n in range(100) if n not in (0, 3, 4, 99)]
    assert run.progress().num_skipped == 4


def test_what_cannot_be_unpickled_is_counted_once() -> None:
    class Unloadable:
        def __reduce__(self) -> Any:
            return int, ("no number",)

    run = run_map([1], lambda _: Unloadable(), on_error="return", output=lambda *_: DictJournal())
    (error,) = run.result(PATIENCE_S)
    assert isinstance(error, ItemError)
    assert run.progress().num_errors == 1


# --- a full disk ---------------------------------------------------------------------------------


def test_a_full_disk_is_told_as_long_as_it_is_waited_for() -> None:
    state = MapState(is_ordered=False, has_writer=True)
    patience = patience_of(state)
    patience.on_wait("out.jsonl: No space left on device")
    assert state.describe_wait() == "out.jsonl: No space left on device"


def test_a_full_disk_is_waited_for_until_the_map_fails() -> None:
    state = MapState(is_ordered=False, has_writer=True)
    patience = patience_of(state)
    state.fail(ValueError("cancelled"))
    patience.pause(PATIENCE_S)  # returns at once
    with pytest.raises(SinkError, match="given up"):
        patience.on_wait("out.jsonl: No space left on device")


def test_a_result_that_a_file_cannot_hold_is_an_error_of_its_item(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"

    def output(state: MapState, keys: Keys) -> SinkOutput:
        sink = open_sink(path, patience=patience_of(state), is_tolerant=True)
        return SinkOutput(sink, keys.column)

    settings: dict[str, Any] = {"output": output, "sink": str(path), "on_error": "return"}
    run = run_map([1, 2], lambda n: n if n == 1 else slice(n), **settings)
    assert run.result(PATIENCE_S).num_errors == 1
    rows = {row["index"]: row for row in map(json.loads, path.read_text().splitlines())}
    assert rows[0]["result"] == 1
    assert rows[1]["error"]["type"] == "ResultNotWritable"


def wait_for_segment(run: Any) -> None:
    with run._state.changed:
        assert run._state.changed.wait_for(lambda: run._state._segments, PATIENCE_S)
