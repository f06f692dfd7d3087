from __future__ import annotations

from pathlib import Path
from random import Random

from parsl_pcm.core import actions, events
from parsl_pcm.core.actions import Action
from parsl_pcm.eventlog import EventLog, LogHeader, LogRecord
from parsl_pcm.metrics import Metrics
from parsl_pcm.metrics_records import ContextLoads
from parsl_pcm.types import (
    BlockId,
    ContextKey,
    HostId,
    LeaseId,
    ManagerId,
    Requirements,
    TaskId,
    Variant,
)
from tests.core_words import (
    exited,
    hold,
    lose,
    new_pool,
    pass_time,
    raised,
    ready,
    setup_failed,
    submit,
    submit_map,
    take_back,
)
from tests.fakes import FakePool, WholePiecePolicy, cpu_node
from tests.unit.test_core_racing import racing_pool


def metrics_of(pool: FakePool) -> Metrics:
    metrics = Metrics()
    for now, event, decided in pool.history:
        metrics.observe(LogRecord(now=now, event=event, actions=decided))
    return metrics


def finished(pool: FakePool, lease: int, run_s: float = 1.0, start: int = 0, stop: int = 1) -> None:
    pool.feed(events.PieceFinished(lease_id=LeaseId(lease), start=start, stop=stop, run_s=run_s))


def test_run_of_two_tasks() -> None:
    pool = new_pool(cpu_node())
    pool.now = 5.0
    submit(pool, num_items=3)
    submit(pool)
    pool.now = 15.0
    ready(pool, setup_s=9.5)
    pool.now = 21.0
    finished(pool, 1, run_s=6.0, stop=3)
    pool.now = 25.0
    finished(pool, 2, run_s=2.0)
    metrics = metrics_of(pool)
    assert (metrics.num_submitted, metrics.num_finished, metrics.num_failed) == (2, 2, 0)
    assert metrics.num_items_delivered == 4
    assert metrics.makespan_s == 20.0
    assert metrics.goodput_per_s == 0.2
    assert (metrics.num_hosts_started, metrics.num_cold_starts) == (1, 1)
    expected = ContextLoads("c", 1, 1, 9.5, 9.5, num_pieces=2, num_hits=1)
    assert metrics.contexts[ContextKey("c")] == expected
    assert metrics.busy_frac == 0.8


def test_host_that_runs_several_pieces_at_once_counts_as_often() -> None:
    pool = FakePool(Random(0))
    pool.declare("c", Requirements(cores=1.0, max_concurrency=4))
    pool.register(cpu_node())
    submit(pool)
    ready(pool)
    pool.now = 10.0
    finished(pool, 1, run_s=10.0)
    assert metrics_of(pool).busy_frac == 0.25


def test_cancelled_and_failed_tasks_are_not_finished_ones() -> None:
    pool = new_pool(cpu_node())
    for _ in range(3):
        submit(pool)
    ready(pool)
    pool.feed(events.PieceFailed(lease_id=LeaseId(1)))
    pool.cancel(TaskId(1))
    pool.cancel(TaskId(1))
    metrics = metrics_of(pool)
    assert (metrics.num_finished, metrics.num_failed, metrics.num_cancelled) == (0, 1, 1)
    finished(pool, 2)  # of the cancelled one: no duplicate, but nobody wants it
    assert metrics_of(pool).num_duplicates_dropped == 0


def test_loss_of_a_node_is_counted_with_what_it_held() -> None:
    pool = new_pool(cpu_node(), cpu_node())
    submit(pool)
    ready(pool)
    lose(pool, "m0")
    ready(pool, 2)
    finished(pool, 2)
    finished(pool, 1)
    metrics = metrics_of(pool)
    assert (metrics.num_managers, metrics.num_managers_lost) == (2, 1)
    assert (metrics.num_leases_lost, metrics.num_pieces_repeated) == (1, 1)
    assert metrics.num_duplicates_dropped == 1
    assert metrics.num_hosts_died == 0
    assert metrics.num_items_delivered == 1


def test_death_of_a_host_is_counted_with_what_it_held() -> None:
    pool = new_pool(cpu_node(), max_attempts=2)
    submit(pool)
    ready(pool)
    exited(pool, 1)
    ready(pool, 2)
    exited(pool, 2)
    metrics = metrics_of(pool)
    assert (metrics.num_hosts_died, metrics.num_failed) == (2, 1)
    # After the second death the task was given up, not put back.
    assert (metrics.num_leases_lost, metrics.num_pieces_repeated) == (1, 0)


def test_failed_setups_are_no_deaths() -> None:
    pool = new_pool(cpu_node(), cpu_node(), cpu_node())
    submit(pool)
    setup_failed(pool, 1)
    exited(pool, 2)
    metrics = metrics_of(pool)
    assert (metrics.num_setups_failed, metrics.num_hosts_died) == (2, 0)
    assert (metrics.num_hosts_started, metrics.num_cold_starts) == (3, 0)


def test_nodes_that_drained_or_were_held_are_not_lost_ones() -> None:
    pool = new_pool(cpu_node())
    pool.register(cpu_node(), drain_s=10.0)
    pool.register(cpu_node())
    hold(pool, "m0")
    lose(pool, "m0")
    pass_time(pool, 10.0)
    pass_time(pool, 60.0)  # m2 was never heard
    metrics = metrics_of(pool)
    assert (metrics.num_managers, metrics.num_managers_lost) == (3, 1)


def test_nodes_that_the_site_took_back_with_notice_are_counted_apart() -> None:
    pool = new_pool(cpu_node(), cpu_node())
    for _ in range(2):
        submit(pool)
    ready(pool, 1)
    ready(pool, 2)
    take_back(pool, "m0", None)
    take_back(pool, "m0", 5.0)
    pass_time(pool, 5.0)  # its piece is abandoned
    finished(pool, 1)
    finished(pool, 2)
    finished(pool, 3)  # that piece, on m1
    submit(pool)
    take_back(pool, "m1", None)
    exited(pool, 2)
    metrics = metrics_of(pool)
    assert (metrics.num_managers_preempted, metrics.num_managers_lost) == (2, 0)
    assert (metrics.num_hosts_died, metrics.num_evictions) == (0, 0)
    assert metrics.num_duplicates_dropped == 1
    assert (metrics.num_leases_lost, metrics.num_pieces_repeated) == (2, 1)
    assert metrics.num_items_delivered == 2


def test_nodes_that_we_gave_back_or_whose_time_was_over_were_not_preempted() -> None:
    pool = new_pool(cpu_node())
    hold(pool, "m0")
    take_back(pool, "m0", 5.0)
    pool.register(cpu_node(), remaining_s=20.0)
    pool.register(cpu_node(), remaining_s=20.0)
    pass_time(pool, 16.0)
    metrics = metrics_of(pool)
    assert (metrics.num_managers, metrics.num_managers_preempted) == (3, 0)
    assert metrics.num_managers_lost == 0


def test_evictions_are_hosts_that_made_room_for_others() -> None:
    pool = new_pool(cpu_node(), cpu_node())
    for _ in range(2):
        submit(pool)
    for host in (1, 2):
        ready(pool, host)
    for lease in (1, 2):
        finished(pool, lease)
    hold(pool, "m1")
    pool.declare("d", Requirements(cores=1.0))
    submit(pool, "d")
    exited(pool, 1)
    metrics = metrics_of(pool)
    assert (metrics.num_evictions, metrics.num_hosts_died) == (1, 0)


def test_items_that_fail_are_counted_beside_the_task_that_finishes() -> None:
    pool = new_pool(cpu_node(), policy=WholePiecePolicy(), max_attempts=1)
    submit_map(pool, 3, is_tolerant=True)
    ready(pool)
    raised(pool, 1)
    raised(pool, 2)
    finished(pool, 3, start=1, stop=3)
    submit_map(pool, 1, is_tolerant=True)
    exited(pool, 1)
    metrics = metrics_of(pool)
    assert (metrics.num_items_delivered, metrics.num_items_failed) == (2, 2)
    assert (metrics.num_finished, metrics.num_failed) == (2, 0)


def test_race_costs_what_both_hosts_report() -> None:
    pool = racing_pool()
    finished(pool, 3, stop=1)
    finished(pool, 2, stop=2)
    finished(pool, 3, start=1, stop=2)
    metrics = metrics_of(pool)
    assert (metrics.num_races, metrics.num_items_raced_in_vain) == (1, 2)
    assert (metrics.num_items_repeated, metrics.num_items_delivered) == (2, 4)
    assert (metrics.num_duplicates_dropped, metrics.num_leases_lost) == (0, 0)


def test_host_that_is_lost_in_a_race_puts_nothing_back() -> None:
    pool = racing_pool()
    lose(pool, "m1")
    finished(pool, 3, stop=2)
    finished(pool, 2, stop=2)
    metrics = metrics_of(pool)
    assert (metrics.num_leases_lost, metrics.num_managers_lost) == (0, 1)
    assert (metrics.num_items_repeated, metrics.num_items_raced_in_vain) == (2, 0)


MANAGER, HOST = ManagerId("m0"), HostId(1)
START = actions.StartHost(
    manager_id=MANAGER, host_id=HOST, context_key=ContextKey("c"), device_ids=(), variant=1
)
SLEEP = actions.SleepHost(manager_id=MANAGER, host_id=HOST)
EVICT = actions.StopHost(manager_id=MANAGER, host_id=HOST, is_eviction=True)
READY = events.HostReady(host_id=HOST, setup_s=4.0, gpu_memory_bytes=10**9)


def slept_and_woken(*more: tuple[float, events.Event, list[Action]]) -> Metrics:
    """Return the numbers of a host, ready at 10, that slept from 20 to 30, and of what follows."""
    two_at_once = Variant(name="v1", requirements=Requirements(cores=1.0, max_concurrency=2))
    declared = events.ContextDeclared(
        context_key=ContextKey("c"),
        name="c",
        requirements=Requirements(cores=1.0),
        variants=(two_at_once,),
    )
    registered = events.ManagerRegistered(
        manager_id=MANAGER, block_id=BlockId("0"), resources=cpu_node()
    )
    history: list[tuple[float, events.Event, list[Action]]] = [
        (0.0, declared, []),
        (0.0, registered, [START]),
        (10.0, READY, []),
        (20.0, events.TimePassed(), [SLEEP]),
        (21.0, events.HostAsleep(host_id=HOST, sleep_s=1.0), []),
        (29.5, events.TimePassed(), [actions.WakeHost(manager_id=MANAGER, host_id=HOST)]),
        (30.0, events.HostAwake(host_id=HOST, wake_s=0.5), []),
    ]
    metrics = Metrics()
    for now, event, decided in [*history, *more]:
        metrics.observe(LogRecord(now=now, event=event, actions=decided))
    return metrics


def test_sleeping_and_waking_is_counted_beside_loading() -> None:
    metrics = slept_and_woken()
    loads = metrics.contexts[ContextKey("c")]
    assert (loads.num_loads, loads.num_sleeps, loads.num_wakes) == (1, 1, 1)
    assert (loads.total_s, loads.wake_s, loads.loading_s) == (4.0, 0.5, 4.5)
    assert (metrics.num_sleeps, metrics.loading_s) == (1, 4.5)


def test_time_asleep_is_no_time_in_which_a_host_could_have_worked() -> None:
    metrics = slept_and_woken((40.0, events.HostExited(host_id=HOST, description="killed"), []))
    metrics.run_s = 20.0
    assert metrics.busy_frac == 0.5, "20 s awake, in a variant that runs two pieces at once"
    assert (metrics.num_hosts_died, metrics.num_setups_failed) == (1, 0)


def test_host_that_does_not_wake_up_has_died_and_is_no_failed_setup() -> None:
    metrics = slept_and_woken(
        (40.0, events.TimePassed(), [SLEEP]),
        (41.0, events.HostExited(host_id=HOST, description="wake() raised"), []),
    )
    assert (metrics.num_hosts_died, metrics.num_setups_failed) == (1, 0)


def test_sleep_that_fails_is_counted() -> None:
    metrics = slept_and_woken(
        (40.0, events.TimePassed(), [SLEEP]),
        (41.0, events.SleepFailed(host_id=HOST, message="no"), [EVICT]),
        (42.0, events.HostExited(host_id=HOST, description="ended"), []),
    )
    assert (metrics.num_sleeps, metrics.num_sleeps_failed, metrics.num_hosts_died) == (2, 1, 0)
    assert metrics.contexts[ContextKey("c")].num_evictions == 1


def test_pieces_that_come_to_a_warm_host_are_hits() -> None:
    pool = new_pool(cpu_node())
    for _ in range(2):
        submit(pool)
    pool.now = 10.0
    ready(pool)
    pool.now = 11.0
    finished(pool, 1)
    loads = metrics_of(pool).contexts[ContextKey("c")]
    assert (loads.num_pieces, loads.num_hits) == (2, 1), "the first one came with the load"


def test_log_gives_the_same_numbers(tmp_path: Path) -> None:
    pool = new_pool(cpu_node())
    submit(pool)
    ready(pool)
    finished(pool, 1)
    header = LogHeader(
        label="pcm",
        started_wall_s=0.0,
        max_attempts=3,
        heartbeat_threshold_s=60.0,
        fixed_prefetch=None,
        notice_s=10.0,
        possible_nodes=(),
    )
    with EventLog(tmp_path / "events.jsonl", header) as log:
        for now, event, decided in pool.history:
            log.append(now, event, decided)
    assert Metrics.from_log(tmp_path / "events.jsonl") == metrics_of(pool)
