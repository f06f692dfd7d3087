"""Whole campaigns in virtual time: what a scenario says is what happens."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from parsl_pcm.core import events
from parsl_pcm.eventlog import LogRecord, read_log, replay
from parsl_pcm.simulator import campaign
from parsl_pcm.simulator.campaign import build, simulate
from parsl_pcm.simulator.scenario import Scenario
from parsl_pcm.simulator.scenarios.reading import check


def scenario_of(
    *,
    context: dict[str, Any] | None = None,
    work: list[dict[str, Any]] | None = None,
    pools: list[dict[str, Any]] | None = None,
    **others: Any,
) -> Scenario:
    """Return a scenario of one context, 10 s to load and 0.5 s an item, changed as given."""
    data = {
        "name": "small",
        "contexts": [{"name": "m", "load_s": 10.0, "item_s": 0.5} | (context or {})],
        "work": work or [{"context": "m", "items": 400}],
        "pools": pools or [{"gpu": "A10", "count": 2}],
        **others,
    }
    return check(data, "test")


HARD = scenario_of(
    context={
        "files": "2 GB",
        "unpack_s": 5.0,
        "load_cv": 0.3,
        "item_cv": 0.5,
        "item_s": {"A10": 0.4, "default": 0.5},
    },
    work=[
        {"context": "m", "items": 1500},
        {"context": "m", "items": 105, "call_items": 10, "is_divisible": False, "at_s": 90.0},
    ],
    pools=[
        {
            "gpu_mix": {"A10": 2, "T4": 1},
            "churn": {"count": 9, "life_s": 200.0, "gap_s": 60.0},
            "queue_wait_s": 4.0,
            "queue_wait_cv": 1.0,
            "walltime_s": 150.0,
            "notice_s": 10.0,
            "detect_s": 5.0,
            "speed_cv": 0.1,
            "slow_frac": 0.2,
            "slow_factor": 3.0,
            "bad_frac": 0.2,
            "mtbf_s": 400.0,
        }
    ],
    site={"shared_fs": "1 GB", "node_network": "0.5 GB", "peers": 1},
)
"""Everything that may go wrong at once."""


def record_of(scenario: Scenario, seed: int = 1) -> list[LogRecord]:
    records: list[LogRecord] = []
    pool = build(scenario, seed, observe=records.append)
    pool.run(scenario.stop_s)
    return records


def joins_of(records: list[LogRecord]) -> list[float]:
    return [r.now for r in records if isinstance(r.event, events.ManagerRegistered)]


def losses_of(records: list[LogRecord]) -> list[float]:
    return [r.now for r in records if isinstance(r.event, events.ManagerLost)]


# --- how long it takes ------------------------------------------------------------------------


def test_map_takes_as_long_as_loads_and_items_do() -> None:
    outcome = simulate(scenario_of())
    assert outcome.makespan_s == pytest.approx(10.0 + 200 * 0.5, rel=0.01)
    assert (outcome.num_delivered, outcome.num_loads) == (400, 2)


def test_files_are_staged_and_unpacked_before_the_load() -> None:
    scenario = scenario_of(context={"files": "3 GB", "unpack_s": 7.0}, site={"shared_fs": "1 GB"})
    outcome = simulate(scenario)
    assert outcome.makespan_s == pytest.approx(6.0 + 7.0 + 10.0 + 100.0, rel=0.01)


def test_default_time_of_items_is_for_speed_one() -> None:
    scenario = scenario_of(
        context={"item_s": {"default": 0.5}}, pools=[{"gpu": "TITAN X (Pascal)", "count": 2}]
    )
    assert simulate(scenario).makespan_s == pytest.approx(10.0 + 100.0 / 0.8, rel=0.01)


def test_effort_is_how_much_longer_items_take() -> None:
    scenario = scenario_of(work=[{"context": "m", "items": 400, "effort": 2.0}])
    assert simulate(scenario).makespan_s == pytest.approx(10.0 + 200.0, rel=0.01)


def test_slow_nodes_take_longer() -> None:
    pools = [{"gpu": "A10", "count": 2, "slow_frac": 1.0, "slow_factor": 3.0}]
    assert simulate(scenario_of(pools=pools)).makespan_s == pytest.approx(10.0 + 300.0, rel=0.01)


def test_nothing_is_built_on_bad_nodes() -> None:
    pools = [{"gpu": "A10", "count": 2, "bad_frac": 1.0}, {"gpu": "T4", "count": 1}]
    outcome = simulate(scenario_of(pools=pools))
    assert (outcome.num_delivered, outcome.num_loads) == (400, 1)


def test_context_may_run_on_cpus() -> None:
    outcome = simulate(scenario_of(context={"gpus": 0, "cores": 8.0}, pools=[{"count": 2}]))
    assert outcome.makespan_s == pytest.approx(10.0 + 50.0, rel=0.02)


# --- calls ------------------------------------------------------------------------------------


def test_calls_that_may_be_cut_take_as_long_whatever_their_size() -> None:
    times = [
        simulate(scenario_of(work=[{"context": "m", "items": 400, "call_items": size}])).makespan_s
        for size in (1, 30, 400)
    ]
    assert times == pytest.approx([110.0] * 3, rel=0.02)


def test_calls_that_may_not_be_cut_end_with_the_last_one() -> None:
    work = [{"context": "m", "items": 300, "call_items": 100, "is_divisible": False}]
    outcome = simulate(scenario_of(work=work))
    assert outcome.makespan_s == pytest.approx(10.0 + 2 * 50.0, rel=0.01)
    assert (outcome.num_items, outcome.num_delivered) == (300, 300)


def test_last_call_has_what_is_left() -> None:
    work = [{"context": "m", "items": 105, "call_items": 50, "is_divisible": False}]
    pool = build(scenario_of(work=work))
    assert sorted(pool.call_items.values()) == [5, 50, 50]


def test_work_comes_when_it_is_said_to() -> None:
    scenario = scenario_of(
        work=[{"context": "m", "items": 10}, {"context": "m", "items": 10, "at_s": 500.0}]
    )
    submitted = [r.now for r in record_of(scenario) if isinstance(r.event, events.TaskSubmitted)]
    assert submitted == [0.0, 500.0]


def test_work_waits_for_a_share_of_the_first_nodes() -> None:
    pools = [
        {"gpu": "A10", "count": 3, "queue_wait_s": 20.0},
        {"gpu": "A10", "count": 1, "queue_wait_s": 300.0},
        {"gpu": "A10", "steps": [[1000, 5]]},
    ]
    for frac, begins_s in ((0.0, 0.0), (0.5, 20.0), (0.75, 20.0), (0.8, 300.0), (1.0, 300.0)):
        records = record_of(scenario_of(pools=pools, system={"waits_for_frac": frac}))
        submitted = [r.now for r in records if isinstance(r.event, events.TaskSubmitted)]
        assert submitted == [begins_s]


# --- nodes that come and go -------------------------------------------------------------------


def test_nodes_queue_before_they_join() -> None:
    pools = [{"gpu": "A10", "steps": [[0, 1], [60, 2]], "queue_wait_s": 15.0}]
    assert joins_of(record_of(scenario_of(pools=pools))) == [15.0, 75.0]


def test_node_queues_again_after_its_walltime() -> None:
    pools = [{"gpu": "A10", "count": 1, "queue_wait_s": 15.0, "walltime_s": 100.0}]
    records = record_of(scenario_of(pools=pools))
    joins, losses = joins_of(records), losses_of(records)
    assert len(joins) > 2
    assert joins[0] == 15.0
    assert [join - loss for join, loss in zip(joins[1:], losses, strict=False)] == pytest.approx(
        [15.0] * len(joins[1:]), abs=0.01
    )
    assert all(loss - join <= 100.01 for join, loss in zip(joins, losses, strict=False))


def test_walltime_loses_nothing_and_repeats_nothing() -> None:
    pools = [{"gpu": "A10", "count": 2, "queue_wait_s": 5.0, "walltime_s": 60.0}]
    outcome = simulate(scenario_of(pools=pools))
    assert (outcome.num_delivered, outcome.num_items_repeated) == (400, 0)
    assert outcome.num_nodes > 4


def test_notice_is_given_by_the_site_and_not_by_a_failure() -> None:
    taken = [{"gpu": "A10", "steps": [[0, 3], [40, 1]], "notice_s": 10.0}]
    closing = [
        r for r in record_of(scenario_of(pools=taken)) if isinstance(r.event, events.ManagerClosing)
    ]
    assert [record.now for record in closing] == [30.0, 30.0]
    assert len(joins_of(record_of(scenario_of(pools=taken)))) == 3
    failing = [{"gpu": "A10", "count": 3, "mtbf_s": 40.0, "notice_s": 10.0}]
    records = record_of(scenario_of(pools=failing))
    assert losses_of(records)
    assert not [r for r in records if isinstance(r.event, events.ManagerClosing)]


def test_node_that_vanished_is_missed_later() -> None:
    pools = [{"gpu": "A10", "steps": [[0, 2], [40, 1]], "detect_s": 7.0}]
    assert losses_of(record_of(scenario_of(pools=pools))) == [47.0]


def test_run_ends_when_no_node_will_come_any_more() -> None:
    outcome = simulate(scenario_of(pools=[{"gpu": "A10", "steps": [[0, 2], [60, 0]]}]))
    assert outcome.makespan_s is None
    assert 0 < outcome.num_delivered < 400
    assert outcome.num_never_delivered == 400 - outcome.num_delivered


def test_run_is_cut_off_when_it_is_said_to() -> None:
    outcome = simulate(scenario_of(stop_s=30.0))
    assert (outcome.makespan_s, outcome.ended_at_s) == (None, 30.0)


def test_run_that_comes_to_nothing_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "PATIENCE_S", 100.0)
    scenario = scenario_of(
        context={"load_s": 1.0, "item_s": 20.0}, pools=[{"gpu": "A10", "count": 1, "walltime_s": 9}]
    )
    outcome = simulate(scenario)
    assert (outcome.makespan_s, outcome.num_delivered) == (None, 0)
    assert 250.0 < outcome.ended_at_s < 350.0


def test_run_waits_for_nodes_that_come_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "PATIENCE_S", 10.0)
    outcome = simulate(scenario_of(pools=[{"gpu": "A10", "steps": [[5000, 2]]}]))
    assert outcome.makespan_s == pytest.approx(5110.0, rel=0.01)


def test_run_without_nodes_ends_at_once() -> None:
    outcome = simulate(scenario_of(pools=[{"gpu": "A10", "steps": [[0, 0]]}]))
    assert (outcome.makespan_s, outcome.ended_at_s) == (None, 0.0)


@pytest.mark.parametrize("is_elastic", [False, True])
def test_everything_at_once_loses_nothing(is_elastic: bool) -> None:
    outcome = simulate(with_site(HARD, is_elastic=is_elastic))
    assert (outcome.num_delivered, outcome.num_items) == (1605, 1605)
    assert outcome.num_delivered_twice == 0
    assert outcome.num_preempted > 0


def with_site(scenario: Scenario, *, is_elastic: bool) -> Scenario:
    site = msgspec.structs.replace(scenario.site, is_elastic=is_elastic)
    return msgspec.structs.replace(scenario, site=site)


# --- logs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_elastic", [False, True])
def test_log_is_replayed_to_the_same_decisions(tmp_path: Path, is_elastic: bool) -> None:
    simulate(with_site(HARD, is_elastic=is_elastic), log=tmp_path / "run")
    assert replay(tmp_path / "run") is None
    assert read_log(tmp_path / "run").header.label == "small"


def test_log_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(FileExistsError):
        simulate(scenario_of(), log=tmp_path / "run")
    assert (tmp_path / "run").read_text() == "mine"


def test_other_seed_gives_another_run() -> None:
    first, second = (simulate(HARD, seed).makespan_s for seed in (1, 2))
    assert first != second


SAME = """
import sys
from pathlib import Path
from test_simulator_campaign import HARD, with_site
from parsl_pcm.simulator.campaign import simulate
for is_elastic in (False, True):
    simulate(with_site(HARD, is_elastic=is_elastic), 3, log=Path(sys.argv[1]) / str(is_elastic))
"""


def test_same_seed_gives_the_same_log_byte_for_byte_in_any_process(tmp_path: Path) -> None:
    for hash_seed in ("1", "2"):
        folder = tmp_path / hash_seed
        folder.mkdir()
        environment = os.environ | {
            "PYTHONHASHSEED": hash_seed,
            "PYTHONPATH": str(Path(__file__).parent),
        }
        subprocess.run([sys.executable, "-c", SAME, folder], env=environment, check=True)
    for name in ("False", "True"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
