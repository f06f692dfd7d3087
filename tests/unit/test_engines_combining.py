from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from parsl_pcm.engines.combining import Combiner

Row = tuple[str, int]


class GatedModel:
    """Answers when it is let, and remembers the batches; some items cannot be answered."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.has_begun = threading.Semaphore(0)
        self.may_go_on = threading.Semaphore(0)
        self.cannot: dict[int, type[Exception]] = {}
        self.memory = 1000

    def answer(self, key: str, items: list[int]) -> list[Row]:
        self.batches.append(items)
        self.has_begun.release()
        self.may_go_on.acquire()
        for item in items:
            if item in self.cannot:
                raise self.cannot[item](f"{item} is bad")
        if len(items) > self.memory:
            raise MemoryError(len(items))
        return [(key, item) for item in items]

    def open(self) -> None:
        """Let everything through from here on."""
        self.may_go_on.release(1000)


@pytest.fixture
def model() -> GatedModel:
    return GatedModel()


@pytest.fixture
def combiner(model: GatedModel) -> Iterator[Combiner[int, Row, str]]:
    combiner = Combiner(
        model.answer,
        batch_size=4,
        is_lack_of_memory=lambda error: isinstance(error, MemoryError),
        patience_s=0,
    )
    yield combiner
    model.open()
    combiner.close()


def ask(
    combiner: Combiner[int, Row, str], *items: int, key: str = "a", size: int = 1
) -> list[Future[Row]]:
    return combiner.submit([(key, item, size) for item in items])


def occupy(model: GatedModel, combiner: Combiner[int, Row, str]) -> None:
    """Give the model a request that takes until it is let; what comes now has to wait."""
    ask(combiner, 0, key="first")
    model.has_begun.acquire()
    model.batches.clear()


def results(rows: list[Future[Row]]) -> list[int]:
    return [row.result()[1] for row in rows]


def test_what_waits_from_several_calls_is_answered_together(
    model: GatedModel, combiner: Combiner[int, Row, str]
) -> None:
    occupy(model, combiner)
    calls = [ask(combiner, 1), ask(combiner, 2, 3), ask(combiner, 4)]
    model.open()
    assert [results(call) for call in calls] == [[1], [2, 3], [4]]
    assert model.batches == [[1, 2, 3, 4]]


def test_large_call_and_small_calls_fill_batches_first_come_first_served(
    model: GatedModel, combiner: Combiner[int, Row, str]
) -> None:
    occupy(model, combiner)
    calls = [ask(combiner, 1, 2, 3, 4, 5, 6), ask(combiner, 7), ask(combiner, 8, 9)]
    model.open()
    assert [results(call) for call in calls] == [[1, 2, 3, 4, 5, 6], [7], [8, 9]]
    assert model.batches == [[1, 2, 3, 4], [5, 6, 7, 8], [9]]


def test_other_options_are_another_batch_in_the_order_of_arrival(
    model: GatedModel, combiner: Combiner[int, Row, str]
) -> None:
    occupy(model, combiner)
    calls = [ask(combiner, 1), ask(combiner, 2, key="b"), ask(combiner, 3), ask(combiner, 4)]
    model.open()
    assert [row.result() for call in calls for row in call] == [
        ("a", 1),
        ("b", 2),
        ("a", 3),
        ("a", 4),
    ]
    assert model.batches == [[1, 3, 4], [2]]


def test_first_to_come_is_in_the_next_batch_with_those_of_like_size(
    model: GatedModel, combiner: Combiner[int, Row, str]
) -> None:
    occupy(model, combiner)
    sizes = [50, 1, 2, 49, 51, 3, 52, 4]
    calls = [ask(combiner, size, size=size) for size in sizes]
    model.open()
    assert [results(call) for call in calls] == [[size] for size in sizes]
    assert [sorted(batch) for batch in model.batches] == [[49, 50, 51, 52], [1, 2, 3, 4]]


def test_bad_request_fails_alone_and_the_rest_of_its_batch_is_answered(
    model: GatedModel, combiner: Combiner[int, Row, str]
) -> None:
    occupy(model, combiner)
    model.cannot[3] = ValueError
    calls = [ask(combiner, 1, 2), ask(combiner, 3), ask(combiner, 4)]
    model.open()
    assert [results(call) for call in (calls[0], calls[2])] == [[1, 2], [4]]
    with pytest.raises(ValueError, match="3 is bad"):
        calls[1][0].result()
    assert combiner.batch_size == 4


def test_batch_that_does_not_fit_is_halved_until_it_does_and_so_are_the_next(
    model: GatedModel, combiner: Combiner[int, Row, str]
) -> None:
    occupy(model, combiner)
    model.memory = 1
    rows = ask(combiner, *range(1, 7))
    model.open()
    assert results(rows) == [1, 2, 3, 4, 5, 6]
    assert model.batches == [[1, 2, 3, 4], [1, 2], [1], [2], [3, 4], [3], [4], [5], [6]]
    assert combiner.batch_size == 1


def test_request_that_never_fits_fails_alone(
    model: GatedModel, combiner: Combiner[int, Row, str]
) -> None:
    model.cannot[2] = MemoryError
    model.open()
    rows = ask(combiner, 1, 2, 3)
    with pytest.raises(MemoryError, match="2 is bad"):
        rows[1].result()
    assert results([rows[0], rows[2]]) == [1, 3]
    assert combiner.batch_size >= 1


def test_cancelled_request_never_reaches_the_model(
    model: GatedModel, combiner: Combiner[int, Row, str]
) -> None:
    occupy(model, combiner)
    rows = ask(combiner, 1, 2, 3)
    assert rows[1].cancel()
    gone = ask(combiner, 4, key="b")
    assert gone[0].cancel()
    last = ask(combiner, 5, key="c")
    model.open()
    assert results([rows[0], rows[2], *last]) == [1, 3, 5]
    assert model.batches == [[1, 3], [5]]


def test_batch_that_is_not_full_waits_for_the_callers_who_come_back() -> None:
    model = GatedModel()
    model.open()
    combiner: Combiner[int, Row, str] = Combiner(
        model.answer, batch_size=2, is_lack_of_memory=lambda error: False, patience_s=60
    )
    first = ask(combiner, 1)
    second = ask(combiner, 2)
    assert results(first + second) == [1, 2]
    assert model.batches == [[1, 2]]
    combiner.close()


def test_closing_answers_what_waits(model: GatedModel, combiner: Combiner[int, Row, str]) -> None:
    occupy(model, combiner)
    rows = ask(combiner, *range(1, 10))
    model.open()
    combiner.close()
    assert all(row.done() for row in rows)
    assert results(rows) == list(range(1, 10))
