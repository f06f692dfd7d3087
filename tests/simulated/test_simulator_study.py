"""Several seeds of a scenario: medians, intervals, order."""

from __future__ import annotations

from parsl_pcm.simulator.results.outcome import Outcome
from parsl_pcm.simulator.results.study import Interval, interval, study
from tests.small_campaigns import small_scenario

UNEVEN = {"context": {"item_cv": 1.0, "load_cv": 0.3}}


def makespan_s(outcome: Outcome) -> float | None:
    return outcome.makespan_s


def test_outcomes_come_in_the_order_of_seeds_and_are_told_one_by_one() -> None:
    told: list[int] = []
    found = study(
        small_scenario(**UNEVEN), (3, 1, 2), on_outcome=lambda outcome: told.append(outcome.seed)
    )
    assert [outcome.seed for outcome in found.outcomes] == told == [3, 1, 2]
    assert len({outcome.makespan_s for outcome in found.outcomes}) == 3


def test_interval_has_all_of_few_values_and_nine_tenths_of_many() -> None:
    assert interval([3.0]) == Interval(3.0, 3.0, 3.0)
    assert interval([5.0, 1.0, 2.0]) == Interval(2.0, 1.0, 5.0)
    many = interval([float(value) for value in range(101)])
    assert (many.median, many.low, many.high) == (50.0, 5.0, 95.0)


def test_number_that_a_run_lacks_has_no_interval() -> None:
    cut_off = study(small_scenario(stop_s=60.0), (1, 2))
    assert cut_off.interval(makespan_s) is None
    assert cut_off.interval(lambda outcome: outcome.num_delivered) is not None


def test_typical_run_is_the_one_in_the_middle() -> None:
    found = study(small_scenario(**UNEVEN), range(1, 6))
    middle = found.interval(makespan_s)
    assert middle is not None
    assert found.typical.makespan_s == middle.median
