from __future__ import annotations

from parsl_pcm.metrics import Metrics
from parsl_pcm.metrics_records import ContextLoads
from parsl_pcm.types import ContextKey


def loads(
    name: str, num_loads: int, total_s: float, max_s: float
) -> dict[ContextKey, ContextLoads]:
    return {ContextKey(name): ContextLoads(name, 1, num_loads, total_s, max_s)}


def test_summary_of_a_large_run() -> None:
    metrics = Metrics(
        num_submitted=10_000,
        num_finished=9_990,
        num_failed=8,
        num_cancelled=2,
        num_items_delivered=40_000,
        first_submit_s=1.0,
        last_delivery_s=724.0,
        contexts=loads("smollm2", 20, 624.0, 45.25) | loads("judge", 1, 12.0, 12.0),
        num_setups_failed=1,
        num_evictions=2,
        num_managers=20,
        num_managers_lost=3,
        num_managers_preempted=5,
        num_hosts_died=1,
        num_leases_lost=14,
        num_pieces_repeated=13,
        num_duplicates_dropped=1,
    )
    assert metrics.summary("runinfo/000/pcm/events.jsonl").splitlines() == [
        "Tasks: 10,000 submitted, 9,990 finished (40,000 items), 8 failed, 2 cancelled",
        "Speed: 40,000 items in 12 min 3 s, 55.3 items/s",
        "Contexts: smollm2 loaded 20 times (mean 31.2 s, longest 45.2 s); judge loaded once "
        "(12.0 s); 1 set-up failed; 2 evictions",
        "Losses: 3 of 20 nodes, 5 nodes preempted with notice, 1 host, "
        "14 pieces put back (13 finished elsewhere), 1 late result dropped",
        "Event log: runinfo/000/pcm/events.jsonl",
    ]


def test_summary_of_a_map_with_bad_items_and_races() -> None:
    metrics = Metrics(
        num_submitted=10,
        num_finished=10,
        num_items_delivered=998,
        num_items_failed=2,
        num_races=1,
        num_items_repeated=40,
        first_submit_s=0.0,
        last_delivery_s=10.0,
        num_managers=1,
    )
    lines = metrics.summary("log").splitlines()
    assert lines[0] == "Tasks: 10 submitted, all finished (998 items), 2 items failed"
    assert lines[3] == "Losses: 1 piece raced, 40 items run twice"


def test_summary_of_one_task() -> None:
    metrics = Metrics(
        num_submitted=1,
        num_finished=1,
        num_items_delivered=1,
        first_submit_s=0.0,
        last_delivery_s=0.25,
        contexts=loads("tiny", 1, 0.2, 0.2),
        num_managers=1,
    )
    assert metrics.summary("log").splitlines() == [
        "Tasks: 1 submitted, 1 finished",
        "Speed: 1 item in 250 ms, 4 items/s",
        "Contexts: tiny loaded once (200 ms)",
        "Losses: none",
        "Event log: log",
    ]


def test_summary_of_nothing() -> None:
    assert Metrics().summary("log").splitlines() == [
        "Tasks: none",
        "Speed: no result was delivered",
        "Contexts: none loaded",
        "Losses: none",
        "Event log: log",
    ]


def test_summary_names_the_contexts_that_took_longest_only() -> None:
    metrics = Metrics(num_submitted=3, num_finished=3, num_items_delivered=3)
    for number in range(5):
        metrics.contexts |= loads(f"c{number}", 2, 2.0 * (number + 1), number + 1.0)
    assert metrics.summary("log").splitlines()[2] == (
        "Contexts: c4 loaded 2 times (mean 5.0 s, longest 5.0 s); "
        "c3 loaded 2 times (mean 4.0 s, longest 4.0 s); "
        "c2 loaded 2 times (mean 3.0 s, longest 3.0 s); 2 others loaded 4 times"
    )
    assert metrics.summary("log").splitlines()[0] == "Tasks: 3 submitted, all finished"


def test_summary_tells_hours_and_fast_rates() -> None:
    metrics = Metrics(
        num_submitted=20_000_000,
        num_finished=19_999_999,
        num_items_delivered=19_999_999,
        first_submit_s=0.0,
        last_delivery_s=3 * 3600 + 61.0,
    )
    tasks, speed, *_ = metrics.summary("log").splitlines()
    assert tasks == "Tasks: 20,000,000 submitted, 19,999,999 finished, 1 still open"
    assert speed == "Speed: 19,999,999 items in 3 h 1 min, 1,841 items/s"


def test_summary_of_contexts_that_slept() -> None:
    metrics = Metrics(
        contexts={
            ContextKey("a"): ContextLoads("a", 1, 1, 90.0, 90.0, num_wakes=3, wake_s=3.6),
            ContextKey("b"): ContextLoads("b", 1, 2, 20.0, 12.0, num_wakes=1, wake_s=4e-5),
        },
        num_sleeps=5,
        num_sleeps_failed=1,
    )
    assert metrics.summary("log").splitlines()[2] == (
        "Contexts: a loaded once (90.0 s) and woken 3 times (mean 1.2 s); b loaded 2 times "
        "(mean 10.0 s, longest 12.0 s) and woken once (mean 40 us); 1 host could not be put to "
        "sleep"
    )
