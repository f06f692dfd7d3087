"""When nodes can be had and what they are like: by chance, the same for each seed."""

from __future__ import annotations

import itertools
import math
import statistics
from pathlib import Path

import pytest

from parsl_pcm.simulator.scenario import Churn, ContextModel, Pool, Scenario, Work
from parsl_pcm.simulator.site.availability import Life, Stay, lives, queue_waits, stays


def scenario_of(*pools: Pool, items: int = 1, stop_s: float | None = None) -> Scenario:
    return Scenario(
        name="s",
        contexts=(ContextModel(name="m", item_s={"A10": 1.0, "default": 2.0}),),
        work=(Work(context="m", items=items),),
        pools=pools,
        stop_s=stop_s,
    )


def lives_of(pool: Pool, seed: int = 1, stop_s: float | None = None) -> list[Life]:
    return lives(scenario_of(pool, stop_s=stop_s), seed)


def spans(found: list[Life]) -> list[tuple[float, float]]:
    return [(life.from_s, life.until_s) for life in found]


def num_there(found: list[Life], t_s: float) -> int:
    return sum(life.from_s <= t_s < life.until_s for life in found)


def trace_file(folder: Path, *lines: str) -> str:
    path = folder / "t.csv"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_count_is_there_always() -> None:
    found = lives_of(Pool(gpu="A10", count=3))
    assert spans(found) == [(0.0, math.inf)] * 3
    assert [life.machine for life in found] == [0, 1, 2]
    assert {(life.gpu, life.speed, life.is_bad, life.fails) for life in found} == {
        ("A10", 1.0, False, False)
    }


def test_lives_of_all_pools_come_in_order() -> None:
    found = lives(scenario_of(Pool(steps=((5.0, 1),)), Pool(steps=((0.0, 1), (9.0, 2)))), 1)
    assert [(life.from_s, life.pool) for life in found] == [(0.0, 1), (5.0, 0), (9.0, 1)]


def test_steps_are_followed_exactly() -> None:
    steps = ((0.0, 2), (10.0, 5), (20.0, 1), (30.0, 0), (40.0, 3))
    found = lives_of(Pool(gpu="A10", steps=steps))
    assert [num_there(found, t_s) for t_s in (0, 10, 20, 30, 40, 1e9)] == [2, 5, 1, 0, 3, 3]
    assert max(life.machine for life in found) == 4


def test_who_goes_is_left_to_chance() -> None:
    pool = Pool(gpu="A10", steps=((0.0, 20), (10.0, 10)))
    gone = [
        {life.machine for life in lives_of(pool, seed) if life.until_s == 10.0} for seed in range(5)
    ]
    assert all(len(each) == 10 for each in gone)
    assert any(each != gone[0] for each in gone)


def test_trace_of_events_is_replayed(tmp_path: Path) -> None:
    trace = trace_file(tmp_path, "t_s,event,node", "0,add,a", "5,add,b", "60,remove,a")
    assert spans(lives_of(Pool(trace=trace))) == [(0.0, 60.0), (5.0, math.inf)]


def test_trace_may_begin_in_the_middle(tmp_path: Path) -> None:
    trace = trace_file(tmp_path, "t_s,event,node", "0,add,a", "5,add,b", "60,remove,a", "90,add,c")
    found = lives_of(Pool(trace=trace, starts_at_s=60.0))
    assert spans(found) == [(0.0, math.inf), (30.0, math.inf)]
    found = lives_of(Pool(trace=trace, starts_at_s=20.0))
    assert spans(found) == [(0.0, 40.0), (0.0, math.inf), (70.0, math.inf)]


@pytest.mark.parametrize(("scale", "wanted"), [(1.0, 10), (2.5, 25), (0.3, 3), (0.01, 0)])
def test_trace_of_events_is_scaled(tmp_path: Path, scale: float, wanted: int) -> None:
    lines = [f"0,add,n{number}" for number in range(10)]
    trace = trace_file(tmp_path, "t_s,event,node", *lines)
    assert len(lives_of(Pool(trace=trace, scale=scale))) == wanted


def test_counts_and_steps_are_scaled(tmp_path: Path) -> None:
    trace = trace_file(tmp_path, "t_s,available", "0,4", "10,1")
    for pool in (Pool(trace=trace, scale=2.5), Pool(steps=((0.0, 4), (10.0, 1)), scale=2.5)):
        found = lives_of(pool)
        assert (num_there(found, 0), num_there(found, 10)) == (10, 2)


def test_fitted_trace_takes_another_course_for_each_seed() -> None:
    pool = Pool(gpu="V100", trace="spot-v100", is_fitted=True)
    one, other = (lives_of(pool, seed, stop_s=40_000.0) for seed in (1, 2))
    assert spans(one) != spans(other)
    replay = lives_of(Pool(gpu="V100", trace="spot-v100"))
    means = [
        statistics.fmean(num_there(found, t_s) for t_s in range(0, 40_000, 500))
        for found in (one, other, replay)
    ]
    assert means == pytest.approx([means[2]] * 3, rel=0.1)


# --- churn ------------------------------------------------------------------------------------


@pytest.mark.parametrize("life_cv", [0.0, 0.5, 1.0, 2.0])
def test_churn_is_as_it_will_be_from_the_beginning(life_cv: float) -> None:
    churn = Churn(count=1600, life_s=600.0, gap_s=200.0, life_cv=life_cv)
    found = lives_of(Pool(churn=churn), stop_s=3000.0)
    there = [num_there(found, t_s) for t_s in (0.0, 100.0, 700.0, 2900.0)]
    assert there == pytest.approx([1200] * 4, rel=0.04)
    later = [life.until_s - life.from_s for life in found if 0.0 < life.from_s < 500.0]
    assert all(span > 0 for span in later)


def test_churn_has_lives_as_it_says() -> None:
    churn = Churn(count=800, life_s=100.0, gap_s=50.0, life_cv=0.5)
    found = lives_of(Pool(churn=churn), stop_s=3000.0)
    whole = [life.until_s - life.from_s for life in found if 0.0 < life.from_s < 2000.0]
    assert statistics.fmean(whole) == pytest.approx(100.0, rel=0.02)
    assert statistics.stdev(whole) == pytest.approx(50.0, rel=0.05)


def test_model_ends_where_the_run_is_cut_off_and_then_nothing_changes() -> None:
    churn = Churn(count=50, life_s=100.0, gap_s=50.0)
    found = lives_of(Pool(churn=churn), stop_s=1000.0)
    assert all(life.from_s < 1000.0 for life in found)
    assert all(life.until_s < 1000.0 or life.until_s == math.inf for life in found)


def test_model_lasts_longer_than_the_work_could() -> None:
    churn = Churn(count=2, life_s=86_400.0, gap_s=86_400.0)
    long = lives(scenario_of(Pool(churn=churn), items=10**6), 1)
    assert max(life.from_s for life in long) > 10**6


# --- what nodes are like ----------------------------------------------------------------------


def test_mix_has_its_shares_exactly() -> None:
    found = lives_of(Pool(gpu_mix={"A10": 2.0, "T4": 1.0, "L4": 1.0}, count=40))
    names = [life.gpu for life in found]
    assert {name: names.count(name) for name in names} == {"A10": 20, "T4": 10, "L4": 10}
    assert names != sorted(names, key=str)


def test_machine_keeps_what_it_is_like_in_all_its_lives() -> None:
    pool = Pool(
        gpu_mix={"A10": 1.0, "T4": 1.0},
        churn=Churn(count=20, life_s=100.0, gap_s=10.0),
        speed_cv=0.3,
        bad_frac=0.3,
    )
    of_machine: dict[int, set[tuple[str | None, float, bool]]] = {}
    for life in lives_of(pool, stop_s=2000.0):
        kinds = of_machine.setdefault(life.machine, set())
        kinds.add((life.gpu, life.speed, life.is_bad))
    assert all(len(kinds) == 1 for kinds in of_machine.values())


def test_some_nodes_are_slow_and_some_are_bad() -> None:
    pool = Pool(count=4000, slow_frac=0.25, slow_factor=3.0, bad_frac=0.1)
    found = lives_of(pool)
    assert sum(life.speed == 1 / 3 for life in found) == pytest.approx(1000, rel=0.1)
    assert sum(life.is_bad for life in found) == pytest.approx(400, rel=0.15)


def test_speeds_differ_as_much_as_is_said() -> None:
    speeds = [life.speed for life in lives_of(Pool(count=4000, speed_cv=0.2))]
    assert statistics.fmean(speeds) == pytest.approx(1.0, rel=0.02)
    assert statistics.stdev(speeds) == pytest.approx(0.2, rel=0.05)


def test_failures_cut_lives_and_the_machine_can_be_had_again() -> None:
    found = lives_of(Pool(count=200, mtbf_s=1000.0), stop_s=5000.0)
    assert sum(life.fails for life in found) == pytest.approx(1000, rel=0.1)
    assert num_there(found, 4321.0) == 200
    ends = [life for life in found if not life.fails]
    assert {life.until_s for life in ends} == {math.inf}


def test_failure_ends_no_life_that_the_site_ends_before() -> None:
    pool = Pool(steps=((0.0, 100), (10.0, 0)), mtbf_s=1000.0)
    found = lives_of(pool)
    assert all(life.until_s <= 10.0 for life in found)
    assert any(not life.fails for life in found)


def test_other_settings_leave_the_course_as_it_is() -> None:
    churn = Churn(count=20, life_s=100.0, gap_s=10.0)
    plain = lives_of(Pool(churn=churn), stop_s=1000.0)
    other = lives_of(Pool(churn=churn, speed_cv=0.3, bad_frac=0.5), stop_s=1000.0)
    assert spans(plain) == spans(other)


def test_same_seed_gives_the_same_lives_and_another_one_others() -> None:
    pool = Pool(churn=Churn(count=20, life_s=100.0, gap_s=10.0), mtbf_s=50.0, speed_cv=0.1)
    assert lives_of(pool, 3, 900.0) == lives_of(pool, 3, 900.0) != lives_of(pool, 4, 900.0)


# --- stays ------------------------------------------------------------------------------------


def stays_of(pool: Pool) -> list[Stay]:
    scenario = scenario_of(pool)
    return list(itertools.islice(stays(scenario, lives(scenario, 1), 1), 100))


def test_node_is_ours_after_its_wait_in_the_queue() -> None:
    found = stays_of(Pool(steps=((0.0, 1), (100.0, 0)), queue_wait_s=30.0))
    assert [(stay.from_s, stay.until_s) for stay in found] == [(30.0, 100.0)]


def test_node_that_goes_while_we_queue_is_never_ours() -> None:
    assert not stays_of(Pool(steps=((0.0, 1), (100.0, 0)), queue_wait_s=100.0))


def test_walltime_ends_a_stay_and_the_node_queues_again() -> None:
    pool = Pool(steps=((0.0, 1), (100.0, 0)), queue_wait_s=5.0, walltime_s=40.0)
    found = [(stay.from_s, stay.until_s) for stay in stays_of(pool)]
    assert found == [(5.0, 45.0), (50.0, 90.0), (95.0, 100.0)]


def test_stays_without_end_come_in_order_as_they_are_asked_for() -> None:
    found = stays_of(Pool(count=3, queue_wait_s=5.0, queue_wait_cv=1.0, walltime_s=40.0))
    starts = [stay.from_s for stay in found]
    assert starts == sorted(starts)
    assert len(found) == 100


def test_no_more_lives_are_read_than_are_needed() -> None:
    scenario = scenario_of(Pool(count=1, queue_wait_s=2.0))
    (life,) = lives(scenario, 1)
    for_ever = (life._replace(machine=number, from_s=float(number)) for number in itertools.count())
    found = itertools.islice(stays(scenario, for_ever, 1), 50)
    assert [stay.from_s for stay in found] == [number + 2.0 for number in range(50)]


def test_waits_of_a_life_are_the_same_each_time() -> None:
    scenario = scenario_of(Pool(count=2, queue_wait_s=60.0, queue_wait_cv=0.5))
    first, second = lives(scenario, 1)
    waits = [
        list(itertools.islice(queue_waits(scenario, life, 1), 1000))
        for life in (first, first, second)
    ]
    assert waits[0] == waits[1] != waits[2]
    assert statistics.fmean(waits[0]) == pytest.approx(60.0, rel=0.1)
