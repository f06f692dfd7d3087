"""The example of the page on scenario files, from beginning to end."""

from __future__ import annotations

from pathlib import Path

from parsl_pcm.simulator.campaign import simulate
from parsl_pcm.simulator.scenarios.reading import read_scenario
from tests.unit.test_simulator_scenario import EXAMPLE


def test_example_of_the_page_runs(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(EXAMPLE)
    outcome = simulate(read_scenario(tmp_path / "mine.toml"))
    assert outcome.num_delivered == outcome.num_items == 10_000
