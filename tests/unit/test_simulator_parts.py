"""What a pool in virtual time is made of."""

from __future__ import annotations

from random import Random
from statistics import fmean, stdev

import pytest

from parsl_pcm.simulator.engine.parts import Way, each, gamma_each
from parsl_pcm.types import Requirements


@pytest.mark.parametrize("num_items", [1, 25])
def test_random_items_have_their_mean_and_spread_whatever_the_size_of_a_piece(
    num_items: int,
) -> None:
    time_of = gamma_each(2.0, 0.5, 10.0, Random(1))
    times_s = [time_of(num_items, 0.0, 1) for _ in range(10_000)]
    assert fmean(times_s) == pytest.approx(10.0 + 2.0 * num_items, rel=0.02)
    assert stdev(times_s) == pytest.approx(2.0 * 0.5 * num_items**0.5, rel=0.05)


def test_items_without_spread_or_without_time_are_not_random() -> None:
    assert gamma_each(2.0, 0.0, 1.0, Random(1))(3, 0.0, 1) == 7.0
    assert gamma_each(0.0, 1.0, 1.0, Random(1))(3, 0.0, 1) == 1.0


def test_piece_without_items_takes_its_own_time_alone() -> None:
    assert gamma_each(2.0, 0.5, 10.0, Random(1))(0, 0.0, 1) == 10.0


def test_random_builds_have_their_mean_and_spread_on_each_kind() -> None:
    way = Way(
        requirements=Requirements(),
        piece_time=each(1.0),
        setup_s={"new": 10.0, "old": 40.0},
        setup_cv=0.25,
    )
    random = Random(1)
    for kind, mean_s in [("new", 10.0), ("old", 40.0)]:
        times_s = [way.setup_on(kind, random) for _ in range(5_000)]
        assert fmean(times_s) == pytest.approx(mean_s, rel=0.02)
        assert stdev(times_s) == pytest.approx(0.25 * mean_s, rel=0.05)
