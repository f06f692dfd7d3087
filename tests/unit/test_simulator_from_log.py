"""A scenario from a log: what was measured, and what can be made of it."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from parsl_pcm.core import actions, events
from parsl_pcm.eventlog import EventLog, EventLogError, LogHeader
from parsl_pcm.simulator.campaign import simulate
from parsl_pcm.simulator.engine.parts import GB, gpus
from parsl_pcm.simulator.scenario import Scenario
from parsl_pcm.simulator.scenarios.from_log import MEASURED, find_log, scenario_from_log
from parsl_pcm.simulator.scenarios.measured import Times
from parsl_pcm.simulator.scenarios.reading import ScenarioError
from parsl_pcm.simulator.scenarios.what_if import change
from parsl_pcm.types import HostId, LeaseId, Requirements
from tests.core_words import hold, lose, new_pool, ready, submit, submit_map, take_back
from tests.fakes import FakePool, WholePiecePolicy, cpu_node

HEADER = LogHeader(
    label="gpus",
    started_wall_s=0.0,
    max_attempts=5,
    heartbeat_threshold_s=120.0,
    fixed_prefetch=None,
    notice_s=10.0,
    possible_nodes=(),
)


def scenario_of(pool: FakePool, folder: Path) -> Scenario:
    with EventLog(folder / "events.jsonl", HEADER) as log:
        for now, event, decided in pool.history:
            log.append(now, event, decided)
    return scenario_from_log(folder)


def finished(pool: FakePool, lease: int, run_s: float, start: int = 0, stop: int = 1) -> None:
    pool.feed(events.PieceFinished(lease_id=LeaseId(lease), start=start, stop=stop, run_s=run_s))


def decided(pool: FakePool, kind: type[Any]) -> list[Any]:
    return [each for _, _, acts in pool.history for each in acts if isinstance(each, kind)]


def hosts_on(pool: FakePool, manager: str) -> list[int]:
    starts = decided(pool, actions.StartHost)
    return [start.host_id for start in starts if start.manager_id == manager]


# --- measures ---------------------------------------------------------------------------------


def test_spread_of_items_is_found_in_pieces_of_any_size() -> None:
    random = Random(1)
    times = Times()
    for _ in range(4000):
        num = random.choice([1, 3, 40])
        times.add(sum(random.gammavariate(4.0, 0.5) for _ in range(num)), num)
    assert times.mean_s == pytest.approx(2.0, rel=0.02)
    assert times.cv == pytest.approx(0.5, rel=0.05)


def test_few_times_have_no_spread() -> None:
    times = Times()
    assert (times.mean_s, times.cv) == (0.0, 0.0)
    times.add(4.0, 2)
    assert (times.mean_s, times.cv) == (2.0, 0.0)


# --- from histories that are spelled out ------------------------------------------------------


def test_calls_on_a_node_without_gpus(tmp_path: Path) -> None:
    pool = new_pool(cpu_node(4.0, max_hosts=2))
    pool.now = 10.0
    submit(pool)
    submit(pool)
    pool.now = 25.0
    ready(pool, 1, setup_s=13.0)
    ready(pool, 2, setup_s=14.0)
    pool.now = 29.0
    finished(pool, 1, 4.0)
    finished(pool, 2, 2.0)
    scenario = scenario_of(pool, tmp_path)
    (context,), (work,), (nodes,) = scenario.contexts, scenario.work, scenario.pools
    assert (context.name, context.item_s, context.load_s, context.import_s) == ("c", 3.0, 13.5, 1.0)
    assert context.item_cv == pytest.approx(2**0.5 / 3.0, abs=1e-4)
    assert (work.items, work.call_items, work.is_divisible, work.at_s) == (2, 1, False, 0.0)
    assert (nodes.gpu, nodes.count, nodes.cores, nodes.queue_wait_s) == (None, 1, 2.0, 0.0)
    assert (scenario.name, scenario.system.max_attempts) == ("gpus", 5)
    assert scenario.published is not None
    assert (scenario.published.makespan_s, scenario.published.source) == (19.0, MEASURED)


def test_map_is_one_map_again_whatever_its_segments(tmp_path: Path) -> None:
    pool = new_pool(cpu_node(), policy=WholePiecePolicy())
    submit_map(pool, 10)
    pool.now = 30.0
    submit_map(pool, 5)
    ready(pool)
    finished(pool, 1, 20.0, 0, 10)
    (work,) = scenario_of(pool, tmp_path).work
    assert (work.items, work.call_items, work.is_divisible) == (15, None, True)


def test_calls_after_a_pause_are_work_of_their_own(tmp_path: Path) -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    pool.now = 5.0
    submit(pool)
    pool.now = 100.0
    submit(pool)
    ready(pool)
    finished(pool, 1, 1.0)
    work = scenario_of(pool, tmp_path).work
    assert [(each.at_s, each.items) for each in work] == [(0.0, 2), (100.0, 1)]


def test_times_are_kept_by_gpu_and_known_for_any_other(tmp_path: Path) -> None:
    pool = FakePool(Random(0), policy=WholePiecePolicy())
    pool.declare("c", Requirements(cores=2.0, gpus=1))
    pool.register(gpus(24 * GB, 24 * GB, kind="NVIDIA A10"))
    pool.register(gpus(80 * GB, kind="a GPU of tomorrow"))
    for _ in range(3):
        submit_map(pool, 4)
    first, *_ = small = hosts_on(pool, "m0")
    (large,) = hosts_on(pool, "m1")
    for host in (*small, large):
        ready(pool, host, {first: 30.0, large: 10.0}.get(host, 34.0))
    for sent in decided(pool, actions.SendPiece):
        finished(pool, sent.lease_id, 2.0 if sent.host_id == large else 8.0, 0, 4)
    scenario = scenario_of(pool, tmp_path)
    (context,) = scenario.contexts
    known, unknown = "NVIDIA A10", "a GPU of tomorrow"
    assert context.item_s == {known: 2.0, unknown: 0.5, "default": 1.5}
    assert context.load_s == {known: 32.0, unknown: 10.0, "default": pytest.approx(24.67)}
    assert {gpu.name: gpu.memory for gpu in scenario.gpus} == {
        known: "24000000000 B",
        unknown: "80000000000 B",
    }
    assert [(each.gpus_per_node, each.count) for each in scenario.pools] == [(2, 1), (1, 1)]
    assert simulate(change(scenario, "pools.0.gpu=L40S", "pools.0.count=9")).makespan_s


def test_nodes_that_left_make_steps(tmp_path: Path) -> None:
    pool = new_pool(cpu_node(), cpu_node())
    submit_map(pool, 8)
    ready(pool, 1)
    ready(pool, 2)
    pool.now = 50.0
    finished(pool, 1, 6.0, 0, 1)
    take_back(pool, "m1", 30.0)
    pool.now = 80.0
    lose(pool, "m1")
    pool.now = 100.0
    pool.register(cpu_node())
    scenario = scenario_of(pool, tmp_path)
    (nodes,) = scenario.pools
    assert nodes.count is None
    assert nodes.steps is not None
    assert [number for _, number in nodes.steps] == [2, 1, 2]
    assert nodes.notice_s == 30.0
    counted = change(scenario, "pools.0.count=40").pools[0]
    assert (counted.count, counted.steps) == (40, None)


def test_node_whose_walltime_ended_is_followed_by_the_next_one(tmp_path: Path) -> None:
    pool = new_pool()
    submit_map(pool, 100)
    pool.now = 20.0
    pool.register(cpu_node(), remaining_s=600.0)
    ready(pool)
    pool.now = 40.0
    finished(pool, 1, 20.0, 0, 1)
    pool.now = 619.0
    lose(pool, "m0")
    pool.now = 650.0
    pool.register(cpu_node(), remaining_s=600.0)
    ready(pool, 2)
    (nodes,) = scenario_of(pool, tmp_path).pools
    assert (nodes.count, nodes.steps, nodes.walltime_s) == (1, None, 600.0)
    assert nodes.queue_wait_s == 31.0
    assert nodes.notice_s is None


def test_node_that_was_given_back_can_be_had_again(tmp_path: Path) -> None:
    pool = new_pool(cpu_node(), cpu_node())
    submit_map(pool, 100)
    ready(pool, 1)
    ready(pool, 2)
    pool.now = 40.0
    finished(pool, 1, 20.0, 0, 1)
    hold(pool, "m1")
    pool.now = 45.0
    lose(pool, "m1")
    pool.now = 90.0
    pool.register(cpu_node())
    scenario = scenario_of(pool, tmp_path)
    (nodes,) = scenario.pools
    assert (nodes.count, nodes.steps, nodes.queue_wait_s) == (2, None, 0.0)
    assert scenario.site.is_elastic


def test_contexts_of_one_name_are_told_apart_and_idle_ones_left_out(tmp_path: Path) -> None:
    pool = new_pool(cpu_node(4.0))
    pool.feed(
        events.ContextDeclared(
            context_key=msgspec.convert("k2", Any), name="c", requirements=Requirements(cores=1.0)
        )
    )
    submit(pool)
    submit(pool, "k2")
    ready(pool, 1)
    ready(pool, 2)
    finished(pool, 1, 1.0)
    finished(pool, 2, 5.0)
    assert [context.name for context in scenario_of(pool, tmp_path).contexts] == ["c", "c-2"]


def test_sleep_and_wake_are_measured(tmp_path: Path) -> None:
    pool = new_pool(cpu_node(), needs=Requirements(cores=1.0, can_sleep=True))
    submit(pool)
    ready(pool)
    finished(pool, 1, 1.0)
    pool.feed(events.HostAsleep(host_id=HostId(1), sleep_s=0.5))
    pool.feed(events.HostAwake(host_id=HostId(1), wake_s=2.0))
    (context,) = scenario_of(pool, tmp_path).contexts
    assert (context.can_sleep, context.sleep_s, context.wake_s) == (True, 0.5, 2.0)


def test_log_that_measured_nothing_is_refused(tmp_path: Path) -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    ready(pool)
    with pytest.raises(ScenarioError, match="no speed was measured; give a longer run"):
        scenario_of(pool, tmp_path)


def test_log_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(b'{"format_version": 99, "pcm_version": "9.9"}\n')
    with pytest.raises(EventLogError, match=r"of format 99, written by parsl_pcm 9\.9"):
        scenario_from_log(tmp_path)


# --- where it is ------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [".", "runinfo", "runinfo/001", "runinfo/001/gpus"])
def test_log_is_found_from_any_folder_of_its_run(tmp_path: Path, given: str) -> None:
    for run in ("000", "001"):
        (tmp_path / "runinfo" / run / "gpus").mkdir(parents=True)
        (tmp_path / "runinfo" / run / "gpus" / "events.jsonl").touch()
    if given == ".":
        with pytest.raises(ScenarioError, match="no event log"):
            find_log(tmp_path)
    else:
        found = find_log(tmp_path / given)
        assert found == tmp_path / "runinfo" / "001" / "gpus" / "events.jsonl"


def test_run_with_several_executors_asks_for_one(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "events.jsonl").touch()
    with pytest.raises(ScenarioError, match=r"several executors have logs; give .*a or .*b"):
        find_log(tmp_path)
