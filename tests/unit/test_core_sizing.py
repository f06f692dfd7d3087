"""How large pieces are: rules about numbers."""

from __future__ import annotations

import math

import pytest

from parsl_pcm.core.sizing import (
    LONGEST_TARGET_S,
    MAX_S,
    best_class,
    cheap_items,
    even_items,
    final_items,
    steady_items,
    target_s,
)
from parsl_pcm.core.speeds import SizeTimes


def measured(item_s: float, *sizes: int) -> SizeTimes:
    """Return what is known of a host that takes so long for an item in pieces of any size."""
    times = SizeTimes()
    for size in sizes:
        times.item.add(size, size * item_s)
        times.add_piece(size, size * item_s)
    return times


# --- plenty to do ---------------------------------------------------------------------------------


def test_piece_of_an_unknown_function_is_one_item() -> None:
    assert steady_items(None, None) == 1


def test_first_piece_on_a_host_is_a_quarter_of_what_similar_hosts_would_get() -> None:
    assert steady_items(None, measured(0.01, 1, 8, 64, 256)) == 64


def test_pieces_grow_eightfold_until_they_last_two_seconds() -> None:
    sizes, largest = [], 1
    for _ in range(4):
        times = measured(0.01, largest)
        largest = steady_items(times, times)
        sizes.append(largest)
    assert sizes[:2] == [8, 64]
    assert sizes[2] == 256
    assert sizes[3] == 512  # tried once, since items might be cheaper


def test_size_that_was_tried_in_vain_is_left() -> None:
    times = measured(0.01, 64, 256, 512)
    assert steady_items(times, times) == 256


def test_long_items_come_one_by_one() -> None:
    times = measured(100.0, 1)
    assert steady_items(times, times) == 1


def test_slower_host_gets_smaller_pieces_in_steps_of_a_quarter() -> None:
    times = measured(0.01, 256)
    times.item.add(256, 25.6)
    assert steady_items(times, times) == 64


def test_size_is_left_at_once_where_pieces_would_take_too_long() -> None:
    times = measured(0.001, 2048)
    times.item.add(2048, 2048.0)
    assert steady_items(times, times) == 2


# --- sizes that make items cheaper ----------------------------------------------------------------


def test_size_is_doubled_while_items_are_cheaper_that_way() -> None:
    known = {level: 5.0 / 2**level for level in range(6)}
    assert best_class(0, known) == 6


def test_doubling_ends_where_it_gains_little() -> None:
    known = {4: 1.0, 5: 0.9, 6: 0.88}
    assert best_class(4, known) == 5


def test_sizes_that_were_skipped_are_not_tried_if_larger_ones_are_cheaper() -> None:
    assert best_class(8, {6: 0.1, 9: 0.01, 10: 0.01}) == 9


def test_size_that_lasts_long_enough_is_measured_before_larger_ones_are_tried() -> None:
    assert best_class(7, {0: 0.01, 3: 0.01, 6: 0.01}) == 7
    assert best_class(4, {6: 0.01}) == 4


def test_pieces_that_take_very_long_are_not_doubled() -> None:
    assert best_class(0, {0: MAX_S / 2}) == 1
    assert best_class(0, {0: MAX_S * 2}) == 0
    assert best_class(0, {0: 20.0, 1: MAX_S * 0.51}) == 0


# --- the end --------------------------------------------------------------------------------------


def test_piece_is_half_of_what_its_host_can_do_until_the_end() -> None:
    assert final_items(100.0, 0.01, 1) == 50


def test_last_pieces_are_not_shorter_than_twenty_milliseconds() -> None:
    assert final_items(5.0, 0.01, 1) == 2
    assert final_items(3.0, 0.01, 1) == 3
    assert final_items(-7.0, 0.01, 1) == 2
    assert final_items(-7.0, 1.0, 1) == 1
    assert final_items(1.0, 1e-6, 1) == 20_000


def test_share_is_not_halved_where_small_pieces_are_dear() -> None:
    assert final_items(100.0, 0.01, 64) == 100
    assert final_items(200.0, 0.01, 64) == 100


def test_size_is_cheap_when_items_take_little_longer_than_in_the_best_one() -> None:
    assert 64 < cheap_items({0: 1.0, 3: 0.9, 6: 0.8, 7: 0.11, 8: 0.1}) <= 128
    assert cheap_items({5: 0.1, 8: 0.1}) == 32
    assert cheap_items({}) == 1


def test_size_that_was_not_measured_is_cheap_if_the_cost_of_a_piece_says_so() -> None:
    fixed_s, each_s = 1.0, 0.1
    sizes = (0, 2, 10)
    known = {level: fixed_s / 2**level + each_s for level in sizes}
    assert cheap_items(known) == pytest.approx(fixed_s / each_s / 0.25, rel=0.1)
    assert cheap_items({0: 1.4, 4: 1.0}) == 2
    assert cheap_items({0: 5.0, 6: 5.0 / 64}) == math.ceil(64 * 0.8)  # all pieces take as long


@pytest.mark.parametrize("wanted", [1, 7, 100, 256, 1000, 5000])
def test_pieces_of_a_segment_end_without_crumbs(wanted: int) -> None:
    sizes, left = [], 1000
    while left:
        sizes.append(even_items(left, wanted))
        left -= sizes[-1]
    assert max(sizes) <= wanted
    assert min(sizes) >= min(wanted, 1000) / 2
    assert len(sizes) == math.ceil(1000 / wanted)


# --- large pools ----------------------------------------------------------------------------------


def test_pieces_last_longer_where_the_pool_would_else_start_too_many() -> None:
    assert [target_s(num) for num in (1, 120, 1_200, 6_000)] == [2.0, 2.0, 20.0, 100.0]
    assert target_s(10**6) == LONGEST_TARGET_S


def test_size_follows_how_long_a_piece_should_last() -> None:
    times = measured(0.5, 1, 8, 64, 128)
    assert steady_items(times, times, 100.0) == 256
    assert steady_items(None, times, 100.0) == 64


def test_last_pieces_of_a_large_pool_are_not_shorter_than_a_hundredth() -> None:
    assert final_items(3.0, 0.01, 1, 100.0) == 100


# --- items that take no time ----------------------------------------------------------------------


def test_empty_items_do_not_make_the_next_pieces_long() -> None:
    times = measured(0.5, 1, 4, 4)
    for _ in range(4):
        times.add_piece(64, 1e-6)
        times.item.add(64, 1e-6)
    assert steady_items(times, times) * 0.5 <= MAX_S * 1.5


def test_pieces_that_took_no_time_are_doubled_at_most() -> None:
    times = measured(1e-6, 64)
    assert steady_items(times, times) == 128
