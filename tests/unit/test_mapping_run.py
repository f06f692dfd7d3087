"""A map as its user sees it, over a link that this process answers itself."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

import pytest

from parsl_pcm.errors import NotPicklable, PCMError
from parsl_pcm.mapping.report import ItemError, MapSummary
from parsl_pcm.mapping.run import MapRun
from tests.fake_map import FakeLink, make_run, manual_map, run_map

PATIENCE_S = 60.0


def double(item: Any) -> Any:
    return 2 * item


def refuse_sevens(item: int) -> int:
    if item % 10 == 7:
        raise ValueError(f"no {item}, please")
    return 2 * item


def submitted(link: FakeLink, num: int) -> None:
    """Wait until so many segments were submitted."""
    run = link.receiver
    with run._state.changed:
        assert run._state.changed.wait_for(lambda: len(run._state._segments) >= num, PATIENCE_S)


def given_until_error(run: MapRun) -> tuple[list[Any], BaseException]:
    """Return the results that iterating gives, and what it ends with."""
    results = []
    iterator = iter(run)
    while True:
        try:
            results.append(next(iterator))
        except StopIteration:
            raise AssertionError("it did not fail") from None
        except BaseException as error:  # noqa: BLE001 - looked at by the caller
            return results, error


# --- results -------------------------------------------------------------------------------------


def test_result_is_the_list_in_order() -> None:
    run = run_map(range(2500), double)
    assert run.result(PATIENCE_S) == [2 * n for n in range(2500)]
    assert run.result() == [2 * n for n in range(2500)]
    assert run.done()


def test_result_of_an_unordered_map_is_in_order_too() -> None:
    assert run_map(range(3000), double, ordered=False).result(PATIENCE_S) == [
        2 * n for n in range(3000)
    ]


def test_no_items_give_no_results() -> None:
    run = run_map([], double)
    assert run.result(PATIENCE_S) == []
    assert list(run) == []


def test_iterating_is_in_order_though_results_come_in_another() -> None:
    run, link = manual_map(["a", "b", "c", "d"])
    submitted(link, 1)
    link.deliver(1, 2, 4)
    link.deliver(1, 0, 1)
    results = iter(run)
    assert next(results) == "a"
    link.deliver(1, 1, 2)
    assert list(results) == ["b", "c", "d"]


def test_iterating_unordered_gives_what_comes_first() -> None:
    run, link = manual_map(["a", "b", "c", "d"], ordered=False)
    submitted(link, 1)
    link.deliver(1, 2, 4)
    link.deliver(1, 0, 2)
    assert list(run) == ["c", "d", "a", "b"]


def test_results_told_before_are_skipped() -> None:
    run, link = manual_map(["a", "b", "c", "d"])
    submitted(link, 1)
    link.deliver(1, 0, 2)
    link.deliver(1, 2, 4, skip=2)
    assert run.result(PATIENCE_S) == ["a", "b", "c", "d"]


def test_what_each_variant_has_done_is_counted() -> None:
    run, link = manual_map(range(10))
    submitted(link, 1)
    assert run.variants() == {}
    link.deliver(1, 0, 3, variant="large")
    link.deliver(1, 3, 9, variant="small")
    assert run.variants() == {"large": 3, "small": 6}
    link.deliver(1, 9, 10, variant="large")
    assert run.result(PATIENCE_S) == [str(n) for n in range(10)]
    assert run.variants() == {"large": 4, "small": 6}


def test_a_context_without_variants_has_none_to_count() -> None:
    run = run_map([1], double)
    run.result(PATIENCE_S)
    assert run.variants() == {}


def test_pairs_are_of_index_and_result() -> None:
    assert list(run_map(["abc", "x"], str.upper).pairs()) == [(0, "ABC"), (1, "X")]


def test_pairs_have_the_keys_that_the_user_gave() -> None:
    items = [{"id": "one", "n": 1}, {"id": "two", "n": 2}]
    assert list(run_map(items, lambda item: item["n"], key="id").pairs()) == [
        ("one", 1),
        ("two", 2),
    ]


def test_results_can_be_iterated_over_once() -> None:
    run = run_map([1, 2], double)
    assert list(run) == [2, 4]
    with pytest.raises(RuntimeError, match="taken already"):
        iter(run)
    with pytest.raises(RuntimeError, match="went to an iterator"):
        run.result()


def test_results_can_be_iterated_over_after_they_were_asked_for() -> None:
    run = run_map([1, 2], double)
    assert run.result(PATIENCE_S) == [2, 4]
    assert list(run.pairs()) == [(0, 2), (1, 4)]


def test_result_may_be_asked_again_after_a_timeout() -> None:
    run, link = manual_map(["a", "b"])
    submitted(link, 1)
    link.deliver(1, 0, 1)
    with pytest.raises(FutureTimeoutError):
        run.result(timeout=0)
    link.deliver(1, 1, 2)
    assert run.result(PATIENCE_S) == ["a", "b"]


def test_the_end_of_the_map_is_the_end_of_the_executors_task() -> None:
    run, link = manual_map(["a", "b"])
    submitted(link, 1)
    assert not run.done()
    link.deliver(1, 0, 2)
    summary = link.future.result(PATIENCE_S)
    assert isinstance(summary, MapSummary)
    assert (summary.num_items, summary.num_done, summary.num_errors) == (2, 2, 0)
    assert summary.sink is None


# --- sources -------------------------------------------------------------------------------------


def test_generator_of_unknown_length() -> None:
    run = run_map((n for n in range(1500)), double)
    assert list(run) == [2 * n for n in range(1500)]


def test_what_a_slow_generator_gave_does_not_wait_for_the_next_item() -> None:
    go_on = threading.Event()

    def items() -> Iterator[str]:
        yield "a"
        assert go_on.wait(PATIENCE_S)
        yield "b"

    run = run_map(items(), str.upper)
    results = iter(run)
    assert next(results) == "A"  # or this would wait for ever
    go_on.set()
    assert list(results) == ["B"]


def test_results_before_the_error_of_a_generator_stay_valid() -> None:
    def items() -> Iterator[int]:
        yield from range(100)
        raise OSError("the database is gone")

    results, error = given_until_error(run_map(items(), double))
    assert results == [2 * n for n in range(100)]
    assert isinstance(error, OSError)


def test_an_error_of_a_generator_waits_for_what_is_under_way() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the database is gone")

    run, link = manual_map(items(), ordered=False)
    submitted(link, 1)
    link.deliver(1, 0, 1)
    results, error = given_until_error(run)
    assert results == ["1"]
    assert isinstance(error, OSError)
    assert link.cancelled == []


def test_an_item_without_its_key_ends_the_map_behind_those_before_it() -> None:
    items = [{"id": 1}, {"id": 2}, {"name": 3}, {"id": 4}]
    results, error = given_until_error(run_map(items, lambda item: item["id"], key="id"))
    assert results == [1, 2]
    assert isinstance(error, LookupError)
    assert "item 2" in str(error)


# --- errors --------------------------------------------------------------------------------------


def test_the_first_bad_item_in_order_ends_the_map_behind_the_results_before_it() -> None:
    run = run_map(range(100), refuse_sevens)
    results, error = given_until_error(run)
    assert results == [0, 2, 4, 6, 8, 10, 12]
    assert isinstance(error, ValueError)
    assert str(error) == "no 7, please"
    assert run.future is not None


def test_the_error_says_which_item_it_was() -> None:
    items = [{"id": "good", "n": 1}, {"id": "bad", "n": 7}]
    run = run_map(items, lambda item: refuse_sevens(item["n"]), key="id")
    with pytest.raises(ValueError, match="no 7") as caught:
        run.result(PATIENCE_S)
    told = getattr(caught.value, "__notes__", None) or [str(caught.value.__cause__)]
    assert "item 1 (key 'bad')" in told[0]
    assert "double" in told[0]


def test_segments_behind_a_bad_item_are_cancelled_and_those_before_it_awaited() -> None:
    items = [f"{n:04000}" for n in range(2000)]
    run, link = manual_map(items)
    submitted(link, 3)
    first, second, third = sorted(link.segments)[:3]
    run.on_item_failed(second, 5, ValueError("bad"))
    assert third in link.cancelled
    assert first not in link.cancelled
    assert second not in link.cancelled
    link.deliver(second, 0, 5)
    assert second in link.cancelled
    num_before = len(link.segments[first]) + 5
    link.deliver(first, 0, len(link.segments[first]))
    results, error = given_until_error(run)
    assert results == items[:num_before]
    assert isinstance(error, ValueError)


def test_an_unordered_map_ends_with_its_first_error_at_once() -> None:
    run, link = manual_map(["a", "b", "c"], ordered=False)
    assert not run.is_tolerant
    submitted(link, 1)
    link.deliver(1, 2, 3)
    run.on_segment_failed(1, 1, ValueError("bad"))
    results, error = given_until_error(run)
    assert results == ["c"]
    assert isinstance(error, ValueError)
    assert run.done()


def test_errors_are_returned_in_the_place_of_results() -> None:
    run = run_map(range(30), refuse_sevens, on_error="return")
    results = run.result(PATIENCE_S)
    errors = [result for result in results if isinstance(result, ItemError)]
    assert [error.index for error in errors] == [7, 17, 27]
    assert [error.key for error in errors] == [7, 17, 27]
    assert all(isinstance(error.exception, ValueError) for error in errors)
    assert results[8] == 16
    assert run.progress().num_errors == 3
    assert run.progress().num_done == 30


def test_an_item_error_survives_pickle() -> None:
    error = ItemError(3, "three", ValueError("no"), "Traceback ...")
    again = pickle.loads(pickle.dumps(error))
    assert (again.index, again.key, again.traceback) == (3, "three", "Traceback ...")
    assert repr(again.exception) == repr(error.exception)


def test_an_error_that_is_nobodys_ends_a_tolerant_map_too() -> None:
    run, link = manual_map(["a", "b"], on_error="return")
    submitted(link, 1)
    run.on_segment_failed(1, None, PCMError("the context cannot be built"))
    with pytest.raises(PCMError, match="cannot be built"):
        run.result(PATIENCE_S)


def test_an_item_that_cannot_be_pickled_is_named() -> None:
    items = [1, 2, threading.Lock(), 4]
    results, error = given_until_error(run_map(items, double))
    assert results == [2, 4]
    assert isinstance(error, NotPicklable)
    assert "item 2 cannot be sent" in str(error)


def test_an_item_that_cannot_be_pickled_costs_itself_alone() -> None:
    items = [{"id": n, "x": threading.Lock() if n == 2 else n} for n in range(5)]
    run = run_map(items, lambda item: item["x"], key="id", on_error="return")
    results = run.result(PATIENCE_S)
    assert [results[n] for n in (0, 1, 3, 4)] == [0, 1, 3, 4]
    assert isinstance(results[2], ItemError)
    assert isinstance(results[2].exception, NotPicklable)
    assert run.progress().num_errors == 1


class Unloadable:
    """A result that can be pickled, but not unpickled."""

    def __reduce__(self) -> Any:
        return int, ("no number",)


def test_a_result_that_cannot_be_unpickled_ends_the_map() -> None:
    run = run_map([1, 2], lambda item: Unloadable() if item == 2 else item)
    results, error = given_until_error(run)
    assert results == [1]
    assert isinstance(error, ValueError)
    assert run.done()


def test_a_result_that_cannot_be_unpickled_is_an_error_of_its_item() -> None:
    run = run_map([1, 2], lambda item: Unloadable() if item == 1 else item, on_error="return")
    first, second = run.result(PATIENCE_S)
    assert isinstance(first, ItemError)
    assert second == 2
    assert run.progress().num_errors == 1


def test_loss_of_the_executor_ends_the_map_behind_what_had_come() -> None:
    run, link = manual_map(["a", "b"])
    submitted(link, 1)
    link.deliver(1, 0, 1)
    run.on_executor_failed(PCMError("shut down"))
    results, error = given_until_error(run)
    assert results == ["a"]
    assert "shut down" in str(error)
    assert isinstance(link.future.exception(), PCMError)


def test_a_task_that_never_starts_ends_the_map() -> None:
    run = make_run([1, 2])
    run.future.set_exception(PCMError("a dependency failed"))
    with pytest.raises(PCMError, match="dependency"):
        run.result(PATIENCE_S)


def test_a_failed_map_that_is_started_again_fails_again() -> None:
    run, link = manual_map(["a"])
    submitted(link, 1)
    run.on_segment_failed(1, 0, ValueError("bad"))
    again = FakeLink(run)
    run.start(again)
    assert isinstance(again.future.exception(), ValueError)


# --- cancelling ----------------------------------------------------------------------------------


def test_cancel_ends_the_map_and_its_iterators() -> None:
    run, link = manual_map(["a", "b"])
    submitted(link, 1)
    link.deliver(1, 0, 1)
    assert run.cancel()
    assert run.done()
    assert link.cancelled == [1]
    results, error = given_until_error(run)
    assert results == []
    assert isinstance(error, CancelledError)
    assert not run.cancel()


def test_cancel_stops_the_source() -> None:
    has_ended = threading.Event()

    def items() -> Iterator[int]:
        try:
            n = 0
            while True:
                yield (n := n + 1)
        finally:
            has_ended.set()

    run, _link = manual_map(items())
    run.cancel()
    assert has_ended.wait(PATIENCE_S)


def test_leaving_the_block_cancels_what_is_open() -> None:
    with make_run([1]) as run:
        pass
    with pytest.raises(CancelledError):
        run.result(PATIENCE_S)


def test_a_map_that_was_cancelled_before_it_started_does_not_start() -> None:
    run = make_run([1])
    run.cancel()
    link = FakeLink(run)
    run.start(link)
    assert isinstance(link.future.exception(), CancelledError)
    assert link.all_sizes == []


# --- what it tells -------------------------------------------------------------------------------


def test_progress_counts() -> None:
    run, link = manual_map(["a", "b", "c"])
    submitted(link, 1)
    link.deliver(1, 0, 2)
    progress = run.progress()
    assert (progress.num_total, progress.num_fed, progress.num_done) == (3, 3, 2)
    assert progress.waiting_for == "results of 1 items under way"
    link.deliver(1, 2, 3)
    assert run.progress().waiting_for == "nothing"
    assert run.progress().eta_s == 0.0


def test_progress_before_parsl_starts_it() -> None:
    assert "Parsl" in make_run([1]).progress().waiting_for


def test_repr_tells_the_state() -> None:
    run, link = manual_map(["a", "b", "c"])
    submitted(link, 1)
    link.deliver(1, 0, 2)
    assert repr(run) == "<MapRun of 'double': 2 of 3 items done; running>"
    link.deliver(1, 2, 3)
    assert repr(run) == "<MapRun of 'double': 3 of 3 items done; done>"
