"""Several seeds of a scenario in processes of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from parsl_pcm.eventlog import replay
from parsl_pcm.simulator.results.study import study
from tests.small_campaigns import small_scenario

UNEVEN = {"context": {"item_cv": 1.0, "load_cv": 0.3}}


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
