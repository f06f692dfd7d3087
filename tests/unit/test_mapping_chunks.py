from __future__ import annotations

from array import array

import pytest

from parsl_pcm.mapping.chunks import (
    AsCompleted,
    InOrder,
    Results,
    loaded_chunk,
    num_in_a_row,
    pickled_chunk,
)
from parsl_pcm.pickling import dump_result


def results_of(*indices: int) -> Results:
    return Results(array("q", indices), None, [f"r{n}" for n in indices])


def test_results_stay_pickled_until_they_are_loaded() -> None:
    chunk = pickled_chunk(range(3, 5), ["a", "b"], dump_result(["x", "y"]))
    assert chunk.load() == Results(range(3, 5), ["a", "b"], ["x", "y"])


def test_results_known_before_are_left_out() -> None:
    assert pickled_chunk(range(1), None, dump_result(["old", "x"]), 1).load().values == ["x"]


def test_the_variant_stays_with_its_results() -> None:
    chunk = pickled_chunk(range(2), None, dump_result(["x", "y"]), variant="small")
    head, rest = chunk.load().split(1)
    assert (head.variant, rest.variant) == ("small", "small")
    assert loaded_chunk(rest).load() == rest
    assert chunk.filled(lambda index, key: index).variant == "small"
    assert chunk._replace(frame=None, values=["a", "b"]).load().variant == "small"


def test_triples_have_no_keys_where_there_are_none() -> None:
    assert list(results_of(4, 5).triples()) == [(4, None, "r4"), (5, None, "r5")]


def test_first_come_first_taken() -> None:
    store = AsCompleted()
    assert store.take() is None
    store.put(loaded_chunk(results_of(7)))
    store.put(loaded_chunk(results_of(1)))
    assert [store.take().indices[0] for _ in range(2)] == [7, 1]


def test_in_order_nothing_is_given_before_its_turn() -> None:
    store = InOrder()
    store.put(loaded_chunk(results_of(2, 3)))
    assert store.take() is None
    store.put(loaded_chunk(results_of(0, 1)))
    for first in (0, 2):
        results = store.take().load()
        assert results.indices[0] == first
        assert store.num_due(results) == 2
    assert store.take() is None


def test_in_order_a_gap_ends_what_is_due() -> None:
    store = InOrder()
    store.put(loaded_chunk(results_of(0, 1, 4, 5)))
    assert store.num_due(store.take().load()) == 2
    assert store.next_index == 2


@pytest.mark.parametrize(
    ("indices", "num"), [([5], 1), ([5, 6, 7], 3), ([5, 7], 1), ([5, 6, 9, 10], 2)]
)
def test_num_in_a_row(indices: list[int], num: int) -> None:
    assert num_in_a_row(indices) == num
