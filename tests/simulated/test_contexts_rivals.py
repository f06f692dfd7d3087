"""What several contexts are compared with in ``benchmarks/contexts.py``."""

from __future__ import annotations

import pytest
from contexts_rivals import Job, Kind, LeastRecentlyUsed, best_fixed, done_at


def job(num_items: int, setup_s: float = 0.0, **item_s: float) -> Job:
    times = item_s or {"gpu": 1.0}
    return Job(num_items=num_items, item_s=times, setup_s=dict.fromkeys(times, setup_s))


def test_best_assignment_gives_devices_by_work() -> None:
    best = best_fixed({"a": job(30), "b": job(10)}, [Kind("gpu", 4, 1)])
    assert best.makespan_s == pytest.approx(10.0)
    assert best.num_loads == 4


def test_load_that_saves_no_time_is_left_out() -> None:
    best = best_fixed({"a": job(10, setup_s=100.0), "b": job(200)}, [Kind("gpu", 3, 1)])
    assert best.makespan_s == pytest.approx(110.0)
    assert best.num_loads == 3
    assert best_fixed({"a": job(10, setup_s=100.0)}, [Kind("gpu", 1, 2)]).num_loads == 1


def test_device_loads_its_contexts_one_after_the_other() -> None:
    jobs = {"a": job(10, setup_s=5.0), "b": job(10, setup_s=5.0)}
    assert best_fixed(jobs, [Kind("gpu", 1, 2)]).makespan_s == pytest.approx(20.0)
    assert best_fixed(jobs, [Kind("gpu", 2, 1)]).makespan_s == pytest.approx(15.0)


def test_contexts_go_to_the_kinds_of_devices_that_suit_them() -> None:
    jobs = {"a": job(10, fast=1.0, slow=9.0), "b": job(10, fast=1.0, slow=1.0)}
    best = best_fixed(jobs, [Kind("fast", 1, 1), Kind("slow", 1, 1)])
    assert best.makespan_s == pytest.approx(10.0)


def test_context_that_no_device_can_run_is_never_done() -> None:
    assert best_fixed({"a": job(1, other=1.0)}, [Kind("gpu", 1, 1)]).makespan_s == float("inf")


def test_host_that_is_ready_too_late_has_no_share() -> None:
    assert done_at(10, [(0.0, 1.0), (100.0, 1.0)]) == pytest.approx(10.0)
    assert done_at(10, [(0.0, 1.0), (4.0, 1.0)]) == pytest.approx(7.0)


def test_least_recently_used_loads_for_every_call_that_alternates() -> None:
    worker = LeastRecentlyUsed(num_workers=1, setup_s=10.0, item_s=1.0)
    assert worker.run([(0.0, "a"), (0.0, "b"), (0.0, "a")]) == pytest.approx(33.0)
    assert worker.num_loads == 3


def test_least_recently_used_keeps_what_is_asked_again() -> None:
    workers = LeastRecentlyUsed(num_workers=2, setup_s=10.0, item_s=1.0)
    assert workers.run([(0.0, "a"), (0.0, "b"), (20.0, "a"), (20.0, "b")]) == pytest.approx(21.0)
    assert workers.num_loads == 2
