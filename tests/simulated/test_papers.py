"""The papers' campaigns: published systems need the published time, ours is near the bound."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from parsl_pcm.simulator.campaign import simulate
from parsl_pcm.simulator.results.outcome import Outcome
from parsl_pcm.simulator.scenario import Scenario
from parsl_pcm.simulator.scenarios.reading import find_scenario, scenario_names

ON_20_GPUS = [name for name in scenario_names() if name.startswith(("pv1", "pv2", "pv3", "pv4"))]


def simulated(name: str, **changes: object) -> Outcome:
    return simulate(changed(find_scenario(name), **changes))


def changed(scenario: Scenario, **changes: object) -> Scenario:
    """The same campaign with other work."""
    return replace(scenario, work=(replace(scenario.work[0], **changes),))


# --- the files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in scenario_names() if name[:2] in ("pv", "ou")])
def test_every_number_has_a_source(name: str) -> None:
    scenario = find_scenario(name)
    assert scenario.name == name
    sources = [context.source for context in scenario.contexts]
    sources += [pool.source for pool in scenario.pools] + [scenario.site.source]
    if name.startswith("pv"):
        assert scenario.published is not None
        sources += [scenario.system.source, scenario.published.source]
    assert all(sources)


def test_all_runs_on_20_gpus_are_on_the_same_ones() -> None:
    """But for one A10 that some runs lacked."""
    runs = [find_scenario(name) for name in ON_20_GPUS]
    assert all((run.pools[0].gpu, run.pools[0].count) in (("A10", 10), ("A10", 9)) for run in runs)
    assert all(run.pools[1:] == runs[0].pools[1:] for run in runs)
    assert all(run.site == runs[0].site for run in runs)


@pytest.mark.parametrize("keeps", ["nothing", "files", "context"])
def test_all_runs_of_a_system_differ_in_the_size_of_calls_alone(keeps: str) -> None:
    runs = [run for run in map(find_scenario, ON_20_GPUS) if run.system.keeps.value == keeps]
    assert runs
    assert all((run.contexts, run.system) == (runs[0].contexts, runs[0].system) for run in runs)
    assert all(run.work[0].items == 150_000 for run in runs)


# --- the published systems ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["pv0", "pv1", "pv3_3k", "pv4_100", "pv4_1k", "pv4_3k", "pv4_7.5k"]
)
def test_a_published_system_takes_as_long_as_was_published(name: str) -> None:
    published = find_scenario(name).published
    assert published is not None
    assert simulated(name).makespan_s == pytest.approx(published.makespan_s, rel=0.1)


def test_a_published_system_loses_whole_calls_when_gpus_are_taken() -> None:
    outcome = simulated("pv5s")
    assert outcome.num_delivered == pytest.approx(62_900, rel=0.1)
    assert outcome.worktime.num_items_lost == 100 * outcome.num_preempted == 1800


# --- ours -----------------------------------------------------------------------------------------


def test_without_a_batch_size_we_are_within_3_percent_of_the_bound() -> None:
    outcome = simulated("ours_pv4")
    assert outcome.ratio is not None
    assert outcome.ratio <= 1.03
    assert (outcome.num_never_delivered, outcome.num_delivered_twice) == (0, 0)


def test_the_size_of_calls_makes_no_difference() -> None:
    makespans_s = [
        simulated("ours_pv4", items=40_000, call_items=size).makespan_s or 0.0
        for size in (100, 7_500)
    ]
    assert max(makespans_s) <= 1.02 * min(makespans_s)


def test_when_gpus_are_taken_we_do_more_and_lose_less() -> None:
    outcome = simulated("ours_pv5")
    assert outcome.num_delivered > 62_900
    assert outcome.worktime.num_items_lost <= 100 * outcome.num_preempted
    assert outcome.num_delivered_twice == 0


@pytest.mark.parametrize("name", ["ours_pv6", "ours_pv6_10a"])
def test_when_gpus_come_as_on_the_campus_we_are_within_10_percent_of_the_bound(name: str) -> None:
    outcome = simulated(name)
    assert outcome.ratio is not None
    assert outcome.ratio <= 1.1
