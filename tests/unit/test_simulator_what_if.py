"""Changing a scenario by the place of a value."""

from __future__ import annotations

import pytest

from parsl_pcm.simulator.scenario import Keeps
from parsl_pcm.simulator.scenarios.reading import ScenarioError
from parsl_pcm.simulator.scenarios.what_if import change
from tests.small_campaigns import small_scenario

SCENARIO = small_scenario(
    pool={"gpu": "A10", "steps": [[0, 4], [600, 2]]},
    context={"item_s": {"A10": 1.0, "default": 2.0}},
)


def test_values_change_and_all_else_stays() -> None:
    changed = change(SCENARIO, "work.0.items=7", "site.is_elastic=true", "system.keeps=files")
    assert changed.work[0].items == 7
    assert changed.site.is_elastic
    assert changed.system.keeps is Keeps.FILES
    assert changed.pools == SCENARIO.pools
    assert SCENARIO.work[0].items == 100


def test_nothing_changed_is_the_same() -> None:
    assert change(SCENARIO) == SCENARIO


def test_count_takes_the_place_of_steps_and_the_other_way_round() -> None:
    counted = change(SCENARIO, "pools.0.count=40")
    assert (counted.pools[0].count, counted.pools[0].steps) == (40, None)
    stepped = change(counted, "pools.0.steps=[[0, 1], [60, 3]]")
    assert (stepped.pools[0].count, stepped.pools[0].steps) == (None, ((0.0, 1), (60.0, 3)))


def test_count_of_a_churn_is_another_one() -> None:
    churning = change(SCENARIO, 'pools.0.churn={"count": 4, "life_s": 9, "gap_s": 1}')
    churn = change(churning, "pools.0.churn.count=8").pools[0].churn
    assert churn is not None
    assert (churn.count, churn.life_s) == (8, 9.0)


def test_context_is_found_by_its_name_and_a_gpu_may_be_new() -> None:
    changed = change(SCENARIO, "contexts.model.item_s.H100=0.25", "contexts.0.item_s.A10=3")
    assert changed.contexts[0].item_s == {"A10": 3.0, "default": 2.0, "H100": 0.25}


def test_whole_pool_may_be_replaced() -> None:
    changed = change(SCENARIO, 'pools.0={"gpu": "T4", "count": 3}')
    assert (changed.pools[0].gpu, changed.pools[0].count) == ("T4", 3)


def test_null_takes_a_value_away() -> None:
    cut = change(SCENARIO, "stop_s=60")
    assert cut.stop_s == 60.0
    assert change(cut, "stop_s=null") == SCENARIO


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("pools.0.count", "write PATH=VALUE"),
        ("pools.0.cuont=4", "near ones are: count"),
        ("pool.0.count=4", "near ones are: pools"),
        ("pools.3.count=4", "it has no '3', but 0"),
        ("contexts.modle.item_s=4", "it has no 'modle', but 0 (model)"),
        ("gpus.0.memory=4", "it has no '0', but nothing"),
        ("site.peers.x=4", "site.peers: 0 has no parts"),
        ("pools.0.gpu.x=4", "has no parts"),
        ("pools.0.count=-4", "a whole number from 1"),
        ("pools.0.gpu=A1000000", "of which nothing is known"),
        ("work.0.context=other", "which no context is called"),
    ],
)
def test_impossible_changes_are_refused_with_their_cure(text: str, told: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        change(SCENARIO, text)
    assert told in str(caught.value)
