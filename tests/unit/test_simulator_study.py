"""Several seeds of a scenario: medians, intervals, order, processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from parsl_pcm.eventlog import replay
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


def test_processes_change_nothing_and_the_first_seed_writes_its_log(tmp_path: Path) -> None:
    scenario = small_scenario(**UNEVEN)
    logs = tmp_path / "alone.jsonl", tmp_path / "together.jsonl"
    alone = study(scenario, (1, 2, 3), log=logs[0])
    together = study(scenario, (1, 2, 3), max_processes=2, log=logs[1])
    for one, other in zip(alone.outcomes, together.outcomes, strict=True):
        assert one.makespan_s == other.makespan_s
        assert one.limits == other.limits
        assert one.worktime.total == other.worktime.total
    assert logs[0].read_bytes() == logs[1].read_bytes()
    assert replay(logs[0]) is None


def test_failure_in_a_process_is_raised_here(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.touch()
    with pytest.raises(FileExistsError):
        study(small_scenario(), (1, 2), max_processes=2, log=path)


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
