"""What a run is said to have taken, cost and lost, and what is said to limit it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from parsl_pcm.metrics import Metrics
from parsl_pcm.simulator.campaign import simulate
from parsl_pcm.simulator.results.outcome import Outcome, outcome_of
from parsl_pcm.worktime import WorkTime
from tests.small_campaigns import small_scenario


def shares(outcome: Outcome) -> float:
    parts = (outcome.useful_frac, outcome.loading_frac, outcome.idle_frac, outcome.wasted_frac)
    return sum(parts)


def test_campaign_that_is_done_is_told_in_numbers() -> None:
    outcome = simulate(small_scenario())
    assert outcome.makespan_s == pytest.approx(520.0, rel=0.03)
    assert outcome.bound_s == pytest.approx(520.0)
    assert outcome.ratio == pytest.approx(outcome.makespan_s / 520.0)
    assert (outcome.num_items, outcome.num_delivered, outcome.num_never_delivered) == (100, 100, 0)
    assert (outcome.num_loads, outcome.num_nodes, outcome.num_preempted) == (2, 2, 0)
    assert outcome.gpu_hours == pytest.approx(2 * outcome.makespan_s / 3600.0, rel=0.01)
    assert outcome.loading_frac == pytest.approx(40.0 / (2 * outcome.makespan_s), rel=0.01)
    assert shares(outcome) == pytest.approx(1.0)
    assert (outcome.scenario, outcome.seed, outcome.num_delivered_twice) == ("small", 1, 0)


def test_campaign_that_is_cut_off_has_no_makespan() -> None:
    outcome = simulate(small_scenario(stop_s=100.0))
    assert outcome.makespan_s is None
    assert outcome.ratio is None
    assert 0 < outcome.num_delivered < 100
    assert outcome.ended_at_s == 100.0
    assert outcome.gpu_hours == pytest.approx(200.0 / 3600.0, rel=1e-3)
    assert outcome.limits[0].startswith(f"not done: {outcome.num_never_delivered} of 100 items")
    assert shares(outcome) == pytest.approx(1.0)


def test_campaign_without_any_node_says_so() -> None:
    outcome = outcome_of(
        small_scenario(),
        1,
        metrics=Metrics(),
        worktime=WorkTime(),
        ended_at_s=0.0,
        bound_s=math.inf,
    )
    assert outcome.limits[-1] == "no GPU was ever there"
    assert shares(outcome) == outcome.gpu_hours == outcome.preempted_frac == 0.0
    assert outcome.ratio is None


def test_ratio_needs_a_bound() -> None:
    outcome = simulate(small_scenario())
    assert replace(outcome, bound_s=math.inf).ratio is None
    assert replace(outcome, bound_s=0.0).ratio is None


def test_nodes_that_are_taken_cost_what_they_had_begun() -> None:
    pool = {"gpu": "A10", "steps": [[0.0, 4], [101.0, 2]]}
    outcome = simulate(small_scenario(pool=pool))
    assert outcome.num_preempted == 2
    assert outcome.preempted_frac == 0.5
    assert outcome.num_items_repeated > 0
    assert outcome.num_delivered == 100
    assert 0.0 < outcome.wasted_frac < 0.1


def test_calls_count_their_items() -> None:
    outcome = simulate(small_scenario(work={"call_items": 30, "is_divisible": False}))
    assert (outcome.num_items, outcome.num_delivered) == (100, 100)


@pytest.mark.parametrize("keeps", ["files", "nothing"])
def test_loads_within_calls_count_as_loading(keeps: str) -> None:
    work = {"call_items": 10, "is_divisible": False}
    outcome = simulate(small_scenario(work=work, system={"keeps": keeps}))
    assert outcome.loading_frac == pytest.approx(20.0 / 120.0, rel=0.02)
    assert shares(outcome) == pytest.approx(1.0)
    assert any("each of 10 pieces loads" in limit for limit in outcome.limits)


# --- limits -----------------------------------------------------------------------------------


def limits(**changes: object) -> list[str]:
    """Return the names of what limits a campaign, in order."""
    return [limit.split(":")[0] for limit in simulate(small_scenario(**changes)).limits]


def test_few_gpus_limit_long_work() -> None:
    assert limits()[0] == "number of GPUs"


def test_long_loads_limit_short_work() -> None:
    found = simulate(small_scenario(context={"load_s": 2000.0})).limits
    assert found[0].startswith("loading: ")
    assert "2 loads of 33 min 20 s" in found[0]
    assert "files" not in found[0]


def test_files_that_come_slowly_are_named() -> None:
    site = {"shared_fs": "10 MB", "node_network": "10 MB"}
    found = simulate(small_scenario(context={"files": "10 GB"}, site=site)).limits
    assert found[0].startswith("loading: ")
    assert "to fetch and unpack files" in found[0]


def test_calls_that_cannot_be_divided_leave_gpus_idle_at_the_end() -> None:
    work = {"items": 110, "call_items": 100, "is_divisible": False}
    found = simulate(small_scenario(work=work)).limits
    assert found[0].startswith("the end: 4")
    assert found[0].endswith("whose calls cannot be divided")


def test_queue_limits_a_campaign_that_waits_for_its_first_node() -> None:
    pool = {"gpu": "A10", "count": 1, "queue_wait_s": 10_000.0}
    assert limits(pool=pool)[0] == "queue"


def test_time_without_nodes_limits_a_campaign() -> None:
    pool = {"gpu": "A10", "steps": [[0.0, 1], [100.0, 0], [50_000.0, 2]]}
    assert limits(pool=pool)[0] == "no GPUs"


def test_preempted_nodes_limit_a_campaign_whose_loads_they_take() -> None:
    pool = {"gpu": "A10", "churn": {"count": 4, "life_s": 300.0, "gap_s": 60.0}}
    changes = {"pool": pool, "context": {"load_s": 100.0}}
    assert "preemption" in limits(**changes)


def test_central_process_that_is_slow_is_named() -> None:
    pool = {"gpu": "A10", "count": 40}
    changes = {
        "pool": pool,
        "context": {"load_s": 0.0, "item_s": 1.0},
        "work": {"items": 300, "call_items": 1, "is_divisible": False},
        "system": {"dispatch_s": 0.5},
    }
    found = simulate(small_scenario(**changes)).limits
    assert found[0].startswith("idle GPUs: ")
    assert "wait for the central process, which needs 500 ms" in found[0]
