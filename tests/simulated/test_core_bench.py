"""What the decisions are worth: maps in virtual time, against the best that can be done."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from parsl_pcm.core.policy import DefaultPolicy
from parsl_pcm.simulator.engine.parts import each
from tests.core_bench import Bench, ideal_s, slot


def rate(bench: Bench, num_items: int) -> float:
    return num_items / bench.map(num_items, 40_000)


# --- hosts of different speed ---------------------------------------------------------------------


@pytest.mark.parametrize("is_yielding", [False, True])
@pytest.mark.parametrize("segment_items", [1, 10, 100, 1000, 2000])
def test_host_and_one_four_times_slower_end_together(segment_items: int, is_yielding: bool) -> None:
    nodes = [slot(each(item_s), is_yielding=is_yielding) for item_s in (0.01, 0.04)]
    took_s = Bench(nodes).map(2000, segment_items)
    assert took_s <= 1.03 * ideal_s(2000, 0.01, 0.04)


def test_hosts_with_long_items_and_fixed_costs_end_together() -> None:
    assert Bench([slot(each(0.5)), slot(each(2.0))]).map(60) <= 1.03 * ideal_s(60, 0.5, 2.0)
    nodes = [slot(each(0.01, 0.005)), slot(each(0.04, 0.005))]
    assert Bench(nodes).map(2000) <= 1.03 * ideal_s(2000, 0.01, 0.04)


@pytest.mark.parametrize("spread_s", [0, 7])
def test_twenty_hosts_that_load_end_together(spread_s: int) -> None:
    setups_s = [5.0 + (number % spread_s if spread_s else 0) for number in range(20)]
    bench = Bench([slot(each(0.01), setup_s=setup_s) for setup_s in setups_s])
    assert bench.map(40_000, 5000) <= 1.05 * (40_000 * 0.01 + sum(setups_s)) / 20


def test_host_that_joins_late_takes_its_share() -> None:
    bench = Bench([slot(each(0.01)), slot(each(0.01), joins_at=10.0)])
    assert bench.map(4000) <= 1.03 * 25.0


def test_map_on_a_host_that_becomes_three_times_slower_ends_in_time() -> None:
    drifting = slot(lambda num_items, now, _: num_items * (0.01 if now < 20.0 else 0.03))
    best_s = 20.0 + ideal_s(6000, 0.01, 0.03)
    assert Bench([slot(each(0.01)), drifting]).map(10_000, 1000) <= 1.03 * best_s


def test_map_on_a_host_that_becomes_faster_ends_in_time() -> None:
    drifting = slot(lambda num_items, now, _: num_items * (0.03 if now < 20.0 else 0.01))
    best_s = 20.0 + ideal_s(10_000 - 2667, 0.01, 0.01)
    assert Bench([slot(each(0.01)), drifting]).map(10_000, 1000) <= 1.03 * best_s


def test_piece_queued_behind_a_long_one_on_a_slow_host_goes_to_an_idle_fast_one() -> None:
    nodes = [slot(each(0.5)), slot(each(0.5)), slot(each(4.0))]
    bench = Bench(nodes, policy=DefaultPolicy(fixed_prefetch=3))
    assert bench.call(40) <= 12.1  # four, which were sent to the slow host at once, take it 16 s


# --- engines that like large pieces ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("piece_time", "best_rate"),
    [
        (lambda n, _now, _k: 0.1 + 0.01 * n, 100.0),
        (lambda n, _now, _k: 1.0 + 0.01 * n, 100.0),
        (lambda n, _now, _k: max(1.0, 0.004 * n), 250.0),
        (lambda n, _now, _k: max(5.0, 0.01 * n), 100.0),
        (lambda n, _now, _k: 0.64 * math.ceil(n / 64), 100.0),
        (lambda n, _now, _k: 1.0 * math.ceil(n / 256), 256.0),
    ],
    ids=["small cost", "large cost", "memory-bound", "slow memory-bound", "of 64", "of 256"],
)
def test_engine_reaches_its_best_rate_whatever_batch_it_likes(
    piece_time: Callable[[int, float, int], float], best_rate: float
) -> None:
    bench = Bench([slot(piece_time)])
    rate(bench, 20_000)  # learns
    assert rate(bench, 200_000) >= 0.95 * best_rate


def test_pieces_last_about_two_seconds_where_larger_ones_gain_nothing() -> None:
    bench = Bench([slot(each(0.01))])
    bench.map(20_000)
    sizes = [size for _, _, size in bench.sent]
    assert sizes[:4] == [1, 8, 64, 256]
    assert sorted(sizes)[len(sizes) // 2] == 256
    assert sizes.count(512) <= 2


# --- few events, no gaps --------------------------------------------------------------------------


def test_tiny_items_go_out_in_whole_segments() -> None:
    bench = Bench([slot(each(1e-6)), slot(each(1e-6))])
    took_s = bench.map(10**7, 65_536)
    assert took_s <= 1.03 * ideal_s(10**7, 1e-6, 1e-6)
    assert len(bench.sent) <= 2 * 10**7 / 65_536


def test_end_of_a_map_is_no_shower_of_tiny_pieces() -> None:
    bench = Bench([slot(each(0.0001)) for _ in range(20)])
    bench.map(1_000_000, 20_000)
    assert len(bench.sent) <= 20 * 25


def test_function_that_was_never_measured_begins_with_one_item_alone() -> None:
    bench = Bench([slot(each(3.0))])
    bench.map(5)
    (_, _, first_size), (second_sent_at, _, _) = bench.sent[:2]
    assert first_size == 1
    assert second_sent_at >= 3.0


def test_second_map_begins_with_what_the_first_has_learned() -> None:
    bench = Bench([slot(each(0.01))])
    bench.map(20_000)
    num_before = len(bench.sent)
    bench.map(20_000)
    assert bench.sent[num_before][2] >= 256
