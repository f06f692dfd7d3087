"""What a mapped app may return for its items."""

from __future__ import annotations

import re
from array import array
from collections import UserList, deque
from collections.abc import Iterator
from typing import Any

import pytest

from parsl_pcm.host.results import WrongResultsError, results_of, wrong_number


class Rows:
    """Sized and iterable, as arrays, series and data sets are."""

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[int]:
        return iter((1, 2))


class Indexed:
    """Sized and indexed only, as some data sets are."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, position: int) -> int:
        return [1, 2][position]


class DataFrame(Rows):
    """Two rows, and two columns, whose names come out."""


class Scalar:
    """As an array without axes."""

    def __len__(self) -> int:
        raise TypeError("len() of unsized object")

    def __iter__(self) -> Iterator[int]:
        raise TypeError("iteration over a 0-d array")


class LyingRows(Rows):
    """Of another length than what comes out."""

    def __iter__(self) -> Iterator[int]:
        return iter((1, 2, 3))


class Row:
    """One row of a tensor, which shares the storage of all."""

    def __init__(self, number: int, *, is_own: bool = False) -> None:
        self.number = number
        self.is_own = is_own

    def clone(self) -> Row:
        return Row(self.number, is_own=True)


class Tensor(UserList[Row]):
    def untyped_storage(self) -> None: ...


@pytest.mark.parametrize(
    "returned",
    [[1, 2], (1, 2), deque([1, 2]), array("l", [1, 2]), {1: 1, 2: 2}.values(), Rows(), Indexed()],
)
def test_whatever_holds_as_many_results_will_do(returned: Any) -> None:
    results = results_of(returned, 2)
    assert results == [1, 2]
    assert results is not returned


def test_rows_of_tensors_do_not_travel_with_all_the_others() -> None:
    rows = results_of(Tensor([Row(1), Row(2)]), 2)
    assert [(row.number, row.is_own) for row in rows] == [(1, True), (2, True)]


@pytest.mark.parametrize("returned", ["ab", b"ab", bytearray(2), {1: 1, 2: 2}, {1, 2}, 5, Scalar()])
def test_wrong_type_is_named(returned: Any) -> None:
    words = f"returned a {type(returned).__name__} for 2 items"
    with pytest.raises(WrongResultsError, match=words):
        results_of(returned, 2)


def test_table_whose_columns_would_be_taken_for_rows_is_refused() -> None:
    with pytest.raises(WrongResultsError, match="returned a DataFrame for 2 items"):
        results_of(DataFrame(), 2)


def test_forgotten_return_is_guessed() -> None:
    words = "returned None for 1 item (does it lack a return statement?)"
    with pytest.raises(WrongResultsError, match=re.escape(words)):
        results_of(None, 1)


@pytest.mark.parametrize(
    ("returned", "words"),
    [([], "0 results"), ([1], "1 result"), (list(range(1500)), "1,500 results")],
)
def test_wrong_number_is_told(returned: list[int], words: str) -> None:
    with pytest.raises(WrongResultsError, match=f"^returned {words} for 2 items$"):
        results_of(returned, 2)


def test_length_is_not_trusted() -> None:
    with pytest.raises(WrongResultsError):
        results_of(LyingRows(), 2)


def test_verb_is_the_callers() -> None:
    assert str(wrong_number("yielded", 3, 4)) == "yielded 3 results for 4 items"
