"""A whole run in virtual time, and the scenario that its log gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from parsl_pcm.simulator.campaign import simulate
from parsl_pcm.simulator.scenarios.from_log import scenario_from_log
from tests.small_campaigns import small_scenario


def test_simulated_run_is_found_again_in_its_log(tmp_path: Path) -> None:
    scenario = small_scenario(
        context={"item_s": 2.0, "item_cv": 0.5, "load_s": 30.0},
        work={"items": 3000},
        pool={"gpu": "A10", "steps": [[0, 4], [600, 2], [900, 6]], "notice_s": 15.0},
    )
    path = tmp_path / "log.jsonl"
    real = simulate(scenario, log=path)
    found = scenario_from_log(path)
    (context,), (work,), (nodes,) = found.contexts, found.work, found.pools
    assert isinstance(context.item_s, dict)
    assert context.item_s["A10"] == pytest.approx(2.0, rel=0.05)
    assert context.item_s["default"] == pytest.approx(2.0, rel=0.05)
    assert context.item_cv == pytest.approx(0.5, abs=0.1)
    assert work.items == 3000
    assert nodes.steps is not None
    assert [number for _, number in nodes.steps][-1] == 6
    assert nodes.notice_s == pytest.approx(15.0, abs=0.1)
    assert simulate(found).makespan_s == pytest.approx(real.makespan_s, rel=0.1)
