"""A scenario as TOML, and back."""

from __future__ import annotations

import msgspec
import pytest

from parsl_pcm.simulator.scenarios.reading import check, find_scenario, scenario_names
from parsl_pcm.simulator.scenarios.writing import to_toml
from tests.small_campaigns import small_scenario


@pytest.mark.parametrize("name", scenario_names())
def test_every_scenario_of_the_package_comes_back(name: str) -> None:
    scenario = find_scenario(name)
    assert check(msgspec.toml.decode(to_toml(scenario)), name) == scenario


def test_odd_names_and_nested_tables_come_back() -> None:
    scenario = small_scenario(
        context={"item_s": {'GTX 1080 "Ti"': 1e-7, "A10": 2.0, "default": 3.0}},
        pool={"gpu": "A10", "churn": {"count": 3, "life_s": 60.0, "gap_s": 5.0}},
        about="größer\n\\ok",
        system={"keeps": "files", "is_prefetching": False},
    )
    text = to_toml(scenario)
    assert check(msgspec.toml.decode(text), "small") == scenario
    assert "load_cv" not in text
