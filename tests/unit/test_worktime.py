"""Where the time of devices went: exact on histories that are spelled out, and in random runs."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from parsl_pcm.core import events
from parsl_pcm.eventlog import EventLog, LogHeader, LogRecord
from parsl_pcm.simulator.engine.parts import GB
from parsl_pcm.types import ContextKey, LeaseId, Requirements, TaskId
from parsl_pcm.worktime import WorkTime
from parsl_pcm.worktime_records import MAX_BINS, History, Ranges
from tests.core_words import (
    exited,
    hold,
    lose,
    new_pool,
    pass_time,
    raised,
    ready,
    submit,
    submit_map,
    take_back,
)
from tests.fakes import FakePool, WholePiecePolicy, cpu_node, gpu_node
from tests.unit.test_core_racing import racing_pool


def worktime_of(pool: FakePool, call_items: dict[TaskId, int] | None = None) -> WorkTime:
    worktime = WorkTime(call_items)
    for now, event, decided in pool.history:
        worktime.observe(LogRecord(now=now, event=event, actions=decided))
    return worktime


def finished(
    pool: FakePool,
    now: float,
    lease: int,
    start: int = 0,
    stop: int = 1,
    *,
    run_s: float | None = None,
) -> None:
    """Let results come; the piece ran all the time unless something else is said."""
    pool.now = now
    run_s = 1e9 if run_s is None else run_s
    pool.feed(events.PieceFinished(lease_id=LeaseId(lease), start=start, stop=stop, run_s=run_s))


def gpu_pool(*gpu_gb: int, needs: Requirements) -> FakePool:
    pool = FakePool(Random(0))
    pool.declare("c", needs)
    pool.register(gpu_node(*gpu_gb))
    return pool


def test_node_loads_then_works_then_idles() -> None:
    pool = new_pool(cpu_node())
    pool.now = 5.0
    submit(pool)
    pool.now = 15.0
    ready(pool)
    finished(pool, 21.0, 1)
    pass_time(pool, 24.0)
    hold(pool, "m0")
    worktime = worktime_of(pool)
    spent = worktime.until_done()
    assert (spent.idle_s, spent.loading_s, spent.working_s, spent.wasted_s) == (5.0, 10.0, 6.0, 0.0)
    assert (spent.num_delivered, worktime.num_items) == (1, 1)
    assert spent.device_s == 21.0
    assert (worktime.num_nodes, worktime.num_devices, worktime.first_join_s) == (1, 1, 0.0)


def test_every_device_of_a_node_counts_and_a_host_takes_all_of_its_own() -> None:
    pool = gpu_pool(24, 24, 24, needs=Requirements(cores=1.0, gpus=2))
    submit(pool)
    pool.now = 10.0
    ready(pool)
    finished(pool, 14.0, 1)
    spent = worktime_of(pool).until_done()
    assert (spent.loading_s, spent.working_s, spent.idle_s) == (20.0, 8.0, 14.0)


def test_shared_device_works_if_one_of_its_hosts_does() -> None:
    pool = gpu_pool(24, needs=Requirements(cores=1.0, gpus=1, gpu_memory_bytes=8 * GB))
    submit(pool)
    submit(pool)
    pool.now = 10.0
    ready(pool, 1)
    finished(pool, 14.0, 1)
    assert worktime_of(pool).until_done().working_s == 4.0


def test_host_that_vanishes_wastes_what_it_had_begun_and_nothing_that_waited() -> None:
    pool = new_pool(cpu_node(), policy=WholePiecePolicy())
    submit_map(pool, 4)
    submit_map(pool, 2)
    ready(pool)
    finished(pool, 3.0, 1, 0, 1)
    pool.now = 5.0
    exited(pool, 1)
    worktime = worktime_of(pool)
    assert worktime.total.wasted_s == 2.0
    assert worktime.num_items_lost == 3


def test_lost_calls_count_as_many_items_as_each_is_given() -> None:
    pool = new_pool(cpu_node(), max_attempts=1)
    submit(pool)
    ready(pool)
    exited(pool, 1)
    submit(pool)
    ready(pool, 2)
    finished(pool, 9.0, 2)
    worktime = worktime_of(pool, {TaskId(0): 100, TaskId(1): 40})
    assert worktime.num_items == 140
    assert worktime.num_items_lost == 100
    assert worktime.total.num_delivered == 40


def test_pieces_that_run_at_once_share_their_device() -> None:
    pool = FakePool(Random(0))
    pool.declare("c", Requirements(cores=1.0, max_concurrency=2))
    pool.register(cpu_node())
    submit(pool)
    submit(pool)
    ready(pool)
    pool.now = 10.0
    lose(pool, "m0")
    worktime = worktime_of(pool)
    assert worktime.total.working_s == worktime.total.wasted_s == 10.0
    assert worktime.num_items_lost == 2


def test_loser_of_a_race_has_worked_in_vain() -> None:
    pool = racing_pool()
    began_at = pool.now
    finished(pool, began_at + 2.0, 3, 0, 2)
    finished(pool, began_at + 5.0, 2, 0, 2)
    worktime = worktime_of(pool)
    assert worktime.total.wasted_s == began_at + 5.0
    assert worktime.num_delivered_twice == 0
    assert worktime.total.num_delivered == 4


def test_host_is_idle_while_its_piece_is_held_up_on_the_way() -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    ready(pool)
    finished(pool, 10.0, 1, run_s=4.0)
    worktime = worktime_of(pool)
    spent = worktime.until_done()
    assert (spent.idle_s, spent.working_s) == (6.0, 4.0)
    assert sum(each.idle_s for each in worktime.history.bins) == 6.0
    assert worktime.idle_since(6.0) == 0.0


def test_piece_that_raised_is_no_loss_of_ours() -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    ready(pool)
    pool.now = 7.0
    raised(pool, 1)
    spent = worktime_of(pool).until_done()
    assert (spent.working_s, spent.wasted_s, spent.num_delivered) == (7.0, 0.0, 0)


@pytest.mark.parametrize("remaining_s", [None, 30.0])
def test_node_that_is_taken_back_is_preempted_once(remaining_s: float | None) -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    ready(pool)
    pool.now = 4.0
    take_back(pool, "m0", remaining_s)
    take_back(pool, "m0", 2.0)
    pool.now = 6.0
    lose(pool, "m0")
    worktime = worktime_of(pool)
    assert worktime.total.num_preempted == 1
    assert worktime.total.device_s == 6.0
    assert worktime.num_items_lost == 1


def test_node_that_vanishes_is_preempted_and_one_that_was_held_is_not() -> None:
    pool = new_pool(cpu_node(), cpu_node())
    hold(pool, "m0")
    lose(pool, "m0")
    assert worktime_of(pool).total.num_preempted == 0
    lose(pool, "m1")
    assert worktime_of(pool).total.num_preempted == 1


def test_end_of_a_walltime_is_no_preemption() -> None:
    pool = new_pool()
    pool.register(cpu_node(), remaining_s=100.0)
    pool.now = 99.0
    lose(pool, "m0")
    assert worktime_of(pool).total.num_preempted == 0


def test_time_without_any_node_counts_while_somebody_waits() -> None:
    pool = new_pool()
    pool.now = 3.0
    submit(pool)
    pool.now = 8.0
    pool.register(cpu_node())
    ready(pool)
    finished(pool, 10.0, 1)
    lose(pool, "m0")
    pool.now = 20.0
    pool.register(cpu_node())
    assert worktime_of(pool).total.empty_s == 5.0


def test_time_without_any_node_counts_until_nobody_waits_any_more() -> None:
    pool = new_pool()
    task_id = pool.submit(ContextKey("c"))
    pool.now = 8.0
    pool.cancel(task_id)
    pool.now = 9.0
    pool.register(cpu_node())
    assert worktime_of(pool).until_done().empty_s == 8.0


def test_what_comes_after_the_last_task_is_not_part_of_the_campaign() -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    ready(pool)
    finished(pool, 2.0, 1)
    pool.now = 50.0
    lose(pool, "m0")
    worktime = worktime_of(pool)
    assert worktime.until_done().device_s == 2.0
    assert worktime.total.device_s == 50.0


def test_campaign_that_goes_on_is_counted_until_now() -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    ready(pool)
    pass_time(pool, 2.0)
    worktime = worktime_of(pool)
    assert worktime.until_done().working_s == 2.0
    assert worktime.until_done(now=5.0).working_s == 5.0
    assert worktime.until_done().working_s == 5.0


def test_idle_time_at_the_end_is_what_comes_after_the_last_new_piece() -> None:
    pool = new_pool(cpu_node(), cpu_node())
    submit(pool)
    submit(pool)
    ready(pool, 1)
    ready(pool, 2)
    finished(pool, 4.0, 1)
    finished(pool, 10.0, 2)
    worktime = worktime_of(pool)
    assert worktime.last_new_piece_s == 0.0
    assert worktime.idle_since(0.0) == pytest.approx(6.0)
    assert worktime.idle_since(7.0) == pytest.approx(3.0)
    assert worktime.idle_since(1e6) == 0.0


def test_log_of_a_run_gives_the_same_as_watching_it(tmp_path: Path) -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    ready(pool)
    finished(pool, 2.0, 1)
    header = LogHeader(
        label="x",
        started_wall_s=0.0,
        max_attempts=3,
        heartbeat_threshold_s=120.0,
        fixed_prefetch=None,
        notice_s=10.0,
        possible_nodes=(),
    )
    with EventLog(tmp_path / "events.jsonl", header) as log:
        for now, event, decided in pool.history:
            log.append(now, event, decided)
    assert WorkTime.from_log(tmp_path / "events.jsonl").total == worktime_of(pool).total


# --- parts ------------------------------------------------------------------------------------


def test_history_of_any_length_has_few_bins_and_loses_nothing() -> None:
    history = History()
    for hour in range(24 * 7):
        history.at(3600.0 * hour).num_delivered += 1
        history.spend(3600.0 * hour, 3600.0 * (hour + 1), (2, 1, 0), is_empty=False)
    assert MAX_BINS / 2 <= len(history.bins) <= MAX_BINS
    assert sum(spent.num_delivered for spent in history.bins) == 24 * 7
    assert sum(spent.working_s for spent in history.bins) == pytest.approx(2 * 3600.0 * 24 * 7)


@pytest.mark.parametrize("seed", range(20))
def test_ranges_count_what_comes_twice(seed: int) -> None:
    random = Random(seed)
    ranges, items = Ranges(), set[int]()
    for _ in range(200):
        start = random.randrange(300)
        new = set(range(start, start + random.randint(1, 8)))
        assert ranges.add(min(new), max(new) + 1) == len(items & new)
        items |= new
