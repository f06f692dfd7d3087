"""A run of real processes is planned anew from its event log: what it measured is what counts."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from parsl import python_app

from parsl_pcm import context
from parsl_pcm.cli.__main__ import main
from parsl_pcm.mapping.api import pcm_map
from parsl_pcm.simulator.scenarios.from_log import scenario_from_log
from tests.running import PATIENCE_S, running

SETUP_S, ITEM_S = 0.2, 0.01
"""What sleeps take at least, on a machine under any load."""
NUM_ITEMS, NUM_CALLS = 200, 6


@context
def factor(nap_s):
    time.sleep(nap_s)
    return 10


@python_app
def times(items, by):
    for item in items:
        time.sleep(ITEM_S)
        yield item * by


@python_app
def add(one, other):
    return one + other


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run a map over one context and calls of another; return the folder of the run."""
    folder = tmp_path_factory.mktemp("run")
    with running(folder):
        calls = [add(number, 1) for number in range(NUM_CALLS)]
        found = pcm_map(times, range(NUM_ITEMS), by=factor(SETUP_S)).result(PATIENCE_S)
        assert found == [10 * number for number in range(NUM_ITEMS)]
        assert [call.result(PATIENCE_S) for call in calls] == list(range(1, NUM_CALLS + 1))
    return folder


def test_scenario_has_the_work_and_the_speeds_of_the_run(run_dir: Path) -> None:
    scenario = scenario_from_log(run_dir)
    contexts = {each.name: each for each in scenario.contexts}
    work = {each.context: each for each in scenario.work}
    assert contexts.keys() == work.keys()
    assert len(contexts) == 2
    assert contexts["factor"].load_s > 0.9 * SETUP_S
    assert contexts["factor"].item_s > 0.9 * ITEM_S
    assert (work["factor"].items, work["factor"].is_divisible) == (NUM_ITEMS, True)
    (other,) = (each for name, each in work.items() if name != "factor")
    assert (other.items, other.call_items) == (NUM_CALLS, 1)
    (pool,) = scenario.pools
    assert (pool.count, pool.gpu) == (1, None)
    assert scenario.published is not None


def test_simulation_of_the_run_does_all_of_it(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--seeds", "2", "--json", "--what-if", "pools.0.count=4"]
    assert main(["simulate", "--event-log", str(run_dir), *arguments]) == 0
    as_it_is, four_nodes = json.loads(capsys.readouterr().out)
    for study in (as_it_is, four_nodes):
        assert [run["num_delivered"] for run in study["runs"]] == [NUM_ITEMS + NUM_CALLS] * 2
        assert [run["num_delivered_twice"] for run in study["runs"]] == [0, 0]
    assert {run["num_nodes"] for run in as_it_is["runs"]} == {1}
    assert {run["num_nodes"] for run in four_nodes["runs"]} <= {1, 2, 3, 4}
    assert four_nodes["changes"] == ["pools.0.count=4"]
