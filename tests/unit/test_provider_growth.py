"""What Growth answers to what happened. Times are seconds of an imagined clock."""

from collections.abc import Mapping
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from parsl_pcm.provider.flavours import Flavour
from parsl_pcm.provider.growth.demand import BlockRequest, BlockUse, Demand, Limits
from parsl_pcm.provider.growth.growth import Growth
from parsl_pcm.provider.schedulers.observations import Ending, Job, JobPhase
from parsl_pcm.types import Requirements

GB = 10**9
PROBE: Any = SimpleNamespace()
ONE_GPU = Requirements(gpus=1)


def flavour(name: str = "a10", *, has_probe: bool = True, **options: Any) -> Flavour:
    def provider(_: int) -> Any:
        return SimpleNamespace()

    options.setdefault("partition", name)
    return Flavour(name, provider, probe=PROBE if has_probe else None, **options)


def growth(*flavours: Flavour, keep_warm_s: float | None = None, **limits: Any) -> Growth:
    return Growth(flavours or (flavour(),), Limits(**limits), keep_warm_s=keep_warm_s)


def demand(
    num_wanted: int,
    num_hosts: int = 0,
    *,
    name: str = "llama",
    needs: Requirements = ONE_GPU,
    setup_s: float | None = None,
) -> Demand:
    return Demand(
        name=name,
        ways=(needs,),
        num_wanted=num_wanted,
        num_hosts=num_hosts,
        setup_s=setup_s,
    )


def use(job_id: str, *, idle_s: float | None = None, setup_s: float | None = None) -> BlockUse:
    """Return a block with a manager: busy, or idle for so long."""
    return BlockUse(
        job_id=job_id,
        num_managers=1,
        num_leases=1 if idle_s is None else 0,
        num_starting=0,
        idle_s=idle_s or 0.0,
        setup_s=setup_s,
    )


def job(
    job_id: str,
    phase: JobPhase = JobPhase.RUNNING,
    ending: Ending | None = None,
    *,
    num_restarts: int = 0,
    words: str = "",
) -> Job:
    return Job(job_id=job_id, phase=phase, ending=ending, num_restarts=num_restarts, words=words)


def found(*jobs: Job) -> Mapping[str, Job]:
    return {each.job_id: each for each in jobs}


def names(requests: list[BlockRequest]) -> list[str]:
    return [request.flavour for request in requests]


def submit(state: Growth, now: float, prefix: str = "j") -> list[str]:
    """Ask for all that is wanted; return the job ids."""
    job_ids = []
    for request in state.wanted(now):
        job_ids.append(f"{prefix}{len(state.blocks)}")
        state.submitted(job_ids[-1], request, now)
    return job_ids


def run(state: Growth, job_ids: list[str], now: float) -> None:
    state.saw_jobs(job_ids, found(*(job(job_id) for job_id in job_ids)), now)


def end(state: Growth, job_id: str, ending: Ending, now: float, words: str = "") -> None:
    state.saw_jobs([job_id], found(job(job_id, JobPhase.ENDED, ending, words=words)), now)


def with_running_blocks(num_blocks: int, *flavours: Flavour, **limits: Any) -> Growth:
    """Return a state with blocks j0, j1, ... that run since 0 and have registered."""
    state = growth(*flavours, **limits)
    state.saw_demand([demand(num_blocks)], [], 0.0)
    for each in flavours or (flavour(),):
        state.saw_idle(each.name, num_blocks, 0.0)
    while len(state.blocks) < num_blocks:
        run(state, submit(state, 0.0), 0.0)
    for job_id in state.blocks:
        state.manager_registered(job_id, 0.0)
    return state


# --- asking -------------------------------------------------------------------------------------


def test_nothing_is_wanted_without_demand() -> None:
    state = growth()
    state.saw_demand([], [], 0.0)
    state.saw_idle("a10", 8, 0.0)
    assert state.wanted(0.0) == []
    assert state.waiting_for(0.0) == ""


def test_missing_hosts_get_a_block_each_on_idle_gpus() -> None:
    state = growth()
    state.saw_demand([demand(3, num_hosts=1)], [], 0.0)
    state.saw_idle("a10", 8, 0.0)
    assert state.wanted(0.0) == 2 * [BlockRequest(flavour="a10", num_gpus=1, context="llama")]
    assert state.room(0.0) == 2


def test_no_more_is_wanted_than_is_idle() -> None:
    state = growth()
    state.saw_demand([demand(3)], [], 0.0)
    state.saw_idle("a10", 1, 0.0)
    assert len(state.wanted(0.0)) == 1
    assert state.waiting_for(0.0) == (
        "llama could use 2 more hosts: a10: 1 GPUs are idle, 1 of them for blocks that wait "
        "already: 0 may be taken"
    )


def test_nothing_is_wanted_before_the_first_look_or_after_a_look_that_failed() -> None:
    state = growth()
    state.saw_demand([demand(1)], [], 0.0)
    assert state.wanted(0.0) == []
    assert "have not been seen yet" in state.waiting_for(0.0)
    state.saw_idle("a10", 1, 1.0)
    assert len(state.wanted(1.0)) == 1
    state.saw_idle("a10", None, 2.0, "sinfo: Unable to contact slurm controller")
    assert state.wanted(2.0) == []
    assert "Unable to contact slurm controller" in state.waiting_for(2.0)
    state.saw_idle("a10", 1, 3.0)
    assert len(state.wanted(3.0)) == 1


def test_nothing_is_wanted_while_the_state_of_our_jobs_is_unknown() -> None:
    state = with_running_blocks(1)
    state.saw_demand([demand(2, num_hosts=1)], [use("j0")], 1.0)
    state.saw_idle("a10", 1, 1.0)
    assert len(state.wanted(1.0)) == 1
    state.could_not_see_jobs("a10", "squeue: timed out")
    assert state.wanted(1.0) == []
    assert "squeue: timed out" in state.waiting_for(1.0)
    run(state, ["j0"], 2.0)
    assert len(state.wanted(2.0)) == 1


def test_gpus_of_blocks_that_wait_are_not_idle_any_more() -> None:
    state = growth()
    state.saw_demand([demand(4)], [], 0.0)
    state.saw_idle("a10", 2, 0.0)
    assert len(submit(state, 0.0)) == 2
    assert state.wanted(0.0) == []
    state.saw_idle("a10", 2, 5.0)  # the look still shows the GPUs of the two that wait
    assert state.wanted(5.0) == []
    run(state, ["j0", "j1"], 6.0)  # started after the look
    assert state.wanted(6.0) == []
    state.saw_idle("a10", 1, 7.0)
    assert len(state.wanted(7.0)) == 1


def test_blocks_on_their_way_count_until_a_snapshot_shows_their_manager() -> None:
    state = growth()
    state.saw_demand([demand(1)], [], 0.0)
    state.saw_idle("a10", 8, 0.0)
    assert submit(state, 0.0) == ["j0"]
    run(state, ["j0"], 1.0)
    state.manager_registered("j0", 2.0)
    state.saw_demand([demand(1)], [], 2.1)  # the snapshot is from before the registration
    assert state.wanted(2.1) == []
    state.saw_demand([demand(1, num_hosts=1)], [use("j0")], 3.0)
    assert state.wanted(3.0) == []
    state.saw_demand([demand(2, num_hosts=1)], [use("j0")], 4.0)
    assert len(state.wanted(4.0)) == 1


def test_fastest_idle_flavour_goes_first() -> None:
    slow, fast, unknown = flavour("t4", gpu_type="t4"), flavour("h100", gpu_type="h100"), flavour()
    state = growth(unknown, slow, fast)
    state.saw_demand([demand(3)], [], 0.0)
    for name in ("a10", "t4", "h100"):
        state.saw_idle(name, 1, 0.0)
    assert names(state.wanted(0.0)) == ["h100", "t4", "a10"]
    state.saw_idle("h100", 0, 1.0)
    assert names(state.wanted(1.0)) == ["t4", "a10"]


def test_context_that_few_flavours_serve_goes_before_one_that_fits_anywhere() -> None:
    state = growth(flavour("t4", gpu_type="t4"), flavour("h100", gpu_type="h100"))
    large = Requirements(gpus=1, gpu_memory_bytes=60 * GB)
    demands = [demand(1, name="a-small"), demand(1, name="b-large", needs=large)]
    state.saw_demand(demands, [], 0.0)
    state.saw_idle("t4", 1, 0.0)
    state.saw_idle("h100", 1, 0.0)
    assert [(each.context, each.flavour) for each in state.wanted(0.0)] == [
        ("b-large", "h100"),
        ("a-small", "t4"),
    ]


def test_contexts_of_one_name_are_told_apart_by_their_keys() -> None:
    state = growth()
    demands = [
        Demand(name="f", context_key=key, ways=(ONE_GPU,), num_wanted=2, num_hosts=0)
        for key in ("k1", "k2")
    ]
    state.saw_demand(demands, [], 0.0)
    state.saw_idle("a10", 8, 0.0)
    assert [each.context for each in state.wanted(0.0)] == ["k1", "k1", "k2", "k2"]


def test_context_that_needs_several_gpus_gets_one_larger_block() -> None:
    state = growth()
    state.saw_demand([demand(1, needs=Requirements(gpus=4))], [], 0.0)
    state.saw_idle("a10", 3, 0.0)
    assert state.wanted(0.0) == []
    state.saw_idle("a10", 4, 1.0)
    assert state.wanted(1.0) == [BlockRequest(flavour="a10", num_gpus=4, context="llama")]


def test_hosts_that_share_a_gpu_share_a_block() -> None:
    state = growth(flavour(gpu_type="a10"))
    needs = Requirements(gpus=1, gpu_memory_bytes=7 * GB)
    state.saw_demand([demand(7, needs=needs)], [], 0.0)
    state.saw_idle("a10", 8, 0.0)
    assert len(state.wanted(0.0)) == 3, "three hosts on each"
    submit(state, 0.0)
    assert state.wanted(0.0) == []


def test_context_without_gpus_takes_what_others_miss_least() -> None:
    flavours = [
        flavour("h100", gpu_type="h100"),
        flavour("t4", gpu_type="t4"),
        flavour("cpu", gpus_per_block=0),
    ]
    state = growth(*flavours)
    for each in flavours:
        state.saw_idle(each.name, 1, 0.0)
    state.saw_demand([demand(1, needs=Requirements())], [], 0.0)
    assert names(state.wanted(0.0)) == ["cpu"]


def test_what_no_flavour_serves_is_told() -> None:
    state = growth(flavour("t4", gpu_type="t4"))
    state.saw_idle("t4", 4, 0.0)
    large = Requirements(gpus=1, gpu_memory_bytes=60 * GB)
    state.saw_demand([demand(1, needs=large)], [], 0.0)
    assert state.wanted(0.0) == []
    assert "no flavour has nodes that are large enough" in state.waiting_for(0.0)


def test_flavour_without_probe_is_idle_always() -> None:
    state = growth(flavour(has_probe=False))
    state.saw_demand([demand(3)], [], 0.0)
    assert len(state.wanted(0.0)) == 3


def test_unknown_demand_wants_what_limits_allow() -> None:
    state = growth(max_blocks=3)
    state.saw_idle("a10", 2, 0.0)
    assert state.wanted(0.0) == 2 * [BlockRequest(flavour="a10", num_gpus=1)]
    state.saw_idle("a10", 9, 0.0)
    assert state.room(0.0) == 3
    state.saw_idle("a10", 0, 0.0)
    assert state.waiting_for(0.0) == "no block may be asked for: a10: no GPU is idle"


def test_block_for_anybody_is_the_wanted_one_else_the_fastest_that_is_idle() -> None:
    state = growth(flavour("t4", gpu_type="t4"), flavour("h100", gpu_type="h100"))
    state.saw_demand([], [], 0.0)
    assert state.any_block(0.0) is None
    state.saw_idle("t4", 1, 0.0)
    state.saw_idle("h100", 1, 0.0)
    assert state.any_block(0.0) == BlockRequest(flavour="h100", num_gpus=1)
    state.saw_demand([demand(1, needs=Requirements())], [], 0.0)
    assert state.any_block(0.0) == BlockRequest(flavour="t4", num_gpus=1, context="llama")


# --- limits -------------------------------------------------------------------------------------


def test_max_blocks_of_all_and_of_a_flavour() -> None:
    fast, slow = flavour("fast", speed=2.0, max_blocks=1), flavour("slow", speed=1.0)
    state = growth(fast, slow, max_blocks=3)
    state.saw_demand([demand(9)], [], 0.0)
    state.saw_idle("fast", 9, 0.0)
    state.saw_idle("slow", 9, 0.0)
    assert names(state.wanted(0.0)) == ["fast", "slow", "slow"]
    assert "fast: max_blocks=3 is reached" in state.waiting_for(0.0)


@pytest.mark.parametrize("is_total", [False, True])
@pytest.mark.parametrize(
    ("limits", "num_allowed"),
    [
        ({"max_share": 0.5}, 4),
        ({"max_share": 0.5, "keep_free": 6}, 2),
        ({"keep_free": 3}, 5),
        ({"keep_free": 9}, 0),
        ({"max_share": 0.01}, 0),
    ],
)
def test_share_and_what_is_kept_free(
    limits: dict[str, Any], num_allowed: int, is_total: bool
) -> None:
    state = growth(flavour(), **limits) if is_total else growth(flavour(**limits))
    state.saw_demand([demand(99)], [], 0.0)
    state.saw_idle("a10", 8, 0.0)
    num_taken = 0
    for _ in range(3):
        job_ids = submit(state, 0.0)
        num_taken += len(job_ids)
        run(state, job_ids, 1.0)
    assert num_taken == num_allowed
    state.saw_idle("a10", 8 - num_taken, 2.0)
    assert state.wanted(2.0) == [], "the share is of the idle ones and ours"


def test_flavours_on_the_same_gpus_do_not_take_them_twice() -> None:
    short = flavour("short", partition="p", gpu_type="a10")
    long = flavour("long", partition="p", gpu_type="a10")
    state = growth(short, long)
    state.saw_demand([demand(9)], [], 0.0)
    state.saw_idle("short", 2, 0.0)
    state.saw_idle("long", 2, 0.0)
    assert len(state.wanted(0.0)) == 2


def test_blocks_that_wait_for_one_flavour_take_nothing_of_another() -> None:
    fast, slow = flavour("fast", speed=2.0), flavour("slow", speed=1.0)
    state = growth(fast, slow, keep_free=1)
    state.saw_demand([demand(9)], [], 0.0)
    state.saw_idle("slow", 0, 0.0)
    state.saw_idle("fast", 4, 0.0)
    assert len(submit(state, 0.0)) == 3
    state.saw_idle("fast", 0, 1.0)
    state.saw_idle("slow", 2, 1.0)
    assert names(state.wanted(1.0)) == ["slow"]


def test_limits_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="min_blocks=3 is above max_blocks=2"):
        Limits(min_blocks=3, max_blocks=2)
    with pytest.raises(ValueError, match="min_blocks=-1"):
        Limits(min_blocks=-1)
    with pytest.raises(ValueError, match="max_share=0"):
        Limits(max_share=0.0)


def test_min_blocks_are_held_without_demand_and_replaced_when_lost() -> None:
    state = growth(min_blocks=2)
    state.saw_demand([], [], 0.0)
    state.saw_idle("a10", 8, 0.0)
    assert submit(state, 0.0) == ["j0", "j1"]
    run(state, ["j0", "j1"], 1.0)
    idle = [use("j0", idle_s=999.0), use("j1", idle_s=999.0)]
    state.saw_demand([], idle, 1000.0)
    assert state.to_give_back(1000.0) == []
    end(state, "j0", Ending.PREEMPTED, 1001.0)
    assert len(state.wanted(1001.0)) == 1


# --- holding back -------------------------------------------------------------------------------


def test_blocks_start_slowly_until_some_have_started() -> None:
    state = growth()
    state.saw_demand([demand(100)], [], 0.0)
    state.saw_idle("a10", 100, 0.0)
    first = submit(state, 0.0)
    assert len(first) == 4
    assert state.wanted(0.0) == []
    assert "4 blocks of it wait to be started already" in state.waiting_for(0.0)
    run(state, first[:2], 1.0)
    assert len(state.wanted(1.0)) == 16 - 2


def test_fewer_are_asked_for_where_blocks_stay_waiting_though_gpus_are_idle() -> None:
    state = growth()
    state.saw_demand([demand(100)], [], 0.0)
    state.saw_idle("a10", 100, 0.0)
    run(state, submit(state, 0.0)[:3], 1.0)  # may have 32 waiting now
    waiting = [job_id for job_id in submit(state, 1.0) if job_id not in ("j0", "j1", "j2")]
    pending = found(*(job(job_id, JobPhase.PENDING) for job_id in waiting))
    state.saw_jobs(waiting, pending, 50.0)
    assert state._holds["a10"].window == 32
    for now, window in [(61.5, 16), (62.0, 16), (121.5, 8), (999.0, 4)]:
        state.saw_jobs(waiting, pending, now)
        assert state._holds["a10"].window == window


def test_waiting_is_no_setback_where_no_gpu_is_idle() -> None:
    state = growth()
    state.saw_demand([demand(1)], [], 0.0)
    state.saw_idle("a10", 1, 0.0)
    submit(state, 0.0)
    state.saw_idle("a10", 0, 1.0)
    state.saw_jobs(["j0"], found(job("j0", JobPhase.PENDING)), 500.0)
    assert state._holds["a10"].window == 4


def refused_once(state: Growth, now: float, *, is_transient: bool = False) -> None:
    state.refused(state.wanted(now)[0], "sbatch: error: no", now, is_transient=is_transient)


@pytest.mark.parametrize("is_transient", [False, True])
def test_refusals_are_answered_with_longer_and_longer_waits(is_transient: bool) -> None:
    state = growth()
    state.saw_demand([demand(1)], [], 0.0)
    state.saw_idle("a10", 1, 0.0)
    now, waits = 0.0, []
    for _ in range(9):
        refused_once(state, now, is_transient=is_transient)
        refused_at = now
        while not state.wanted(now):
            now += 1.0
        waits.append(now - refused_at)
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    submit(state, now)
    end(state, "j0", Ending.CANCELLED, now)
    refused_once(state, now, is_transient=is_transient)
    assert "next try in 5 s" in state.waiting_for(now)
    assert "sbatch: error: no" in state.waiting_for(now)


def test_size_that_a_site_refuses_does_not_hold_back_others() -> None:
    state = growth()
    large = demand(1, name="large", needs=Requirements(gpus=8))
    state.saw_demand([demand(1), large], [], 0.0)
    state.saw_idle("a10", 16, 0.0)
    requests = state.wanted(0.0)
    assert sorted(each.num_gpus for each in requests) == [1, 8]
    huge = next(each for each in requests if each.num_gpus == 8)
    state.refused(huge, "node configuration is not available", 0.0, is_transient=False)
    assert [each.num_gpus for each in state.wanted(0.0)] == [1]


def test_end_of_a_block_may_lift_what_a_limit_of_the_site_refused() -> None:
    state = with_running_blocks(2)
    state.saw_idle("a10", 8, 1.0)
    state.saw_demand([demand(4, num_hosts=2)], [use("j0"), use("j1")], 1.0)
    for now in (1.0, 10.0, 30.0, 60.0, 110.0):
        refused_once(state, now)
    assert "next try in 80 s" in state.waiting_for(110.0)
    end(state, "j0", Ending.FINISHED, 110.0)
    assert "next try in 5 s" in state.waiting_for(110.0)


def lose_one(state: Growth, now: float, lived_s: float) -> None:
    (job_id, *_) = submit(state, now)
    run(state, [job_id], now)
    end(state, job_id, Ending.PREEMPTED, now + lived_s)


def test_blocks_that_had_a_warm_context_are_replaced_at_once_however_short_they_lived() -> None:
    state = growth()
    for turn in range(6):
        now = 10.0 * turn
        state.saw_idle("a10", 1, now)
        state.saw_demand([demand(1, setup_s=2.0)], [], now)
        (job_id,) = submit(state, now, f"turn{turn}-")
        run(state, [job_id], now + 1)
        state.saw_demand([demand(1, 1, setup_s=2.0)], [use(job_id, setup_s=2.0)], now + 4)
        end(state, job_id, Ending.PREEMPTED, now + 5)


def test_job_that_waits_to_be_started_again_goes_when_another_was_asked_for() -> None:
    state = with_running_blocks(1)
    state.saw_jobs(["j0"], found(job("j0", JobPhase.PENDING, num_restarts=1)), 10.0)
    state.saw_demand([demand(1)], [], 10.0)
    assert state.to_give_back(10.0) == []
    state.saw_idle("a10", 1, 11.0)
    (new,) = submit(state, 11.0, "new")
    assert state.to_give_back(11.0) == ["j0"]
    state.given_back("j0", 11.0)
    run(state, [new], 12.0)
    assert state.to_give_back(12.0) == []


def test_job_that_was_started_again_before_it_was_given_back_stays() -> None:
    state = with_running_blocks(1)
    state.saw_jobs(["j0"], found(job("j0", JobPhase.PENDING, num_restarts=1)), 10.0)
    state.saw_demand([demand(2)], [], 10.0)
    state.saw_idle("a10", 1, 11.0)
    submit(state, 11.0, "new")
    state.saw_jobs(["j0"], found(job("j0", num_restarts=1)), 12.0)
    assert state.to_give_back(12.0) == []


def test_storm_of_preemptions_is_sat_out() -> None:
    state = growth()
    state.saw_demand([demand(1)], [], 0.0)
    state.saw_idle("a10", 1, 0.0)
    now, waits = 0.0, []
    for _ in range(10):
        lose_one(state, now, lived_s=1.0)
        lost_at = now = now + 1.0
        while not state.wanted(now):
            now += 1.0
        waits.append(now - lost_at)
    assert waits == [0, 0, 5, 10, 20, 40, 80, 120, 120, 120]
    lose_one(state, now, lived_s=61.0)
    lose_one(state, now + 70.0, lived_s=1.0)
    assert state.wanted(now + 71.0), "one that lived has ended the storm"


def test_life_of_a_block_is_reckoned_from_what_loading_takes() -> None:
    state = growth()
    state.saw_demand([demand(1, setup_s=100.0)], [], 0.0)
    state.saw_idle("a10", 1, 0.0)
    for now in (0.0, 200.0, 400.0):
        lose_one(state, now, lived_s=110.0)
    assert "3 blocks in a row were lost" in state.waiting_for(510.0)


def test_many_blocks_lost_at_once_are_one_event() -> None:
    state = with_running_blocks(20)
    state.saw_demand([demand(20)], [], 1.0)
    state.saw_idle("a10", 20, 1.0)
    ended = [job(job_id, JobPhase.ENDED, Ending.NODE_FAILED) for job_id in state.blocks]
    state.saw_jobs(list(state.blocks), found(*ended), 1.0)
    assert "next try in 5 s" in state.waiting_for(1.0)
    assert len(state.wanted(6.0)) == 20


def test_block_that_the_site_starts_again_was_lost_too() -> None:
    state = with_running_blocks(1)
    for num_restarts, now in enumerate((1.0, 2.0, 3.0), start=1):
        state.saw_jobs(["j0"], found(job("j0", num_restarts=num_restarts)), now)
    state.saw_demand([demand(2)], [], 3.0)
    state.saw_idle("a10", 2, 3.0)
    assert "3 blocks in a row were lost" in state.waiting_for(3.0)


def test_what_we_end_ourselves_is_no_loss() -> None:
    state = with_running_blocks(4)
    for job_id in list(state.blocks):
        state.given_back(job_id, 1.0)
        end(state, job_id, Ending.CANCELLED, 2.0)
    state.saw_demand([demand(1)], [], 3.0)
    state.saw_idle("a10", 1, 3.0)
    assert state.wanted(3.0)


# --- the lives of blocks ------------------------------------------------------------------------


def test_block_counts_until_its_end_is_certain() -> None:
    state = with_running_blocks(1, max_blocks=1)
    state.saw_demand([demand(1)], [], 1.0)
    state.saw_idle("a10", 5, 1.0)
    assert state.saw_jobs(["j0"], {}, 20.0) == []
    assert state.wanted(20.0) == []
    run(state, ["j0"], 21.0)
    assert state.saw_jobs(["j0"], {}, 22.0) == [], "looks in a row"
    (ended,) = state.saw_jobs(["j0"], {}, 23.0)
    assert (ended.job_id, ended.ending) == ("j0", Ending.VANISHED)
    assert len(state.wanted(23.0)) == 1


def test_new_job_may_take_a_while_to_be_listed() -> None:
    state = growth(max_blocks=1)
    state.saw_demand([demand(1)], [], 0.0)
    state.saw_idle("a10", 5, 0.0)
    submit(state, 0.0)
    for now in (1.0, 2.0, 9.9):
        assert state.saw_jobs(["j0"], {}, now) == []
    assert len(state.saw_jobs(["j0"], {}, 10.0)) == 1


def test_unlisted_job_whose_manager_is_there_has_not_ended() -> None:
    state = with_running_blocks(1)
    state.saw_demand([demand(1, num_hosts=1)], [use("j0")], 20.0)
    for now in (21.0, 22.0, 23.0):
        assert state.saw_jobs(["j0"], {}, now) == []
    state.saw_demand([demand(1)], [], 24.0)
    assert len(state.saw_jobs(["j0"], {}, 25.0)) == 1


def test_block_that_the_site_took_back_is_replaced_at_once_where_gpus_are_idle() -> None:
    state = with_running_blocks(1)
    state.saw_demand([demand(1)], [], 100.0)
    state.saw_idle("a10", 1, 100.0)
    state.saw_jobs(["j0"], found(job("j0", JobPhase.PENDING, num_restarts=1)), 100.0)
    assert len(state.wanted(100.0)) == 1
    submit(state, 100.0)
    assert state.wanted(100.0) == []
    state.saw_demand([demand(1)], [], 101.0)
    state.saw_demand([demand(1)], [], 107.0)
    assert state.to_give_back(107.0) == ["j0"], "its replacement is enough"


def test_manager_of_the_life_before_does_not_pass_for_a_new_one() -> None:
    state = with_running_blocks(1)
    state.saw_demand([demand(1, num_hosts=1)], [use("j0")], 10.0)
    state.saw_jobs(["j0"], found(job("j0", JobPhase.PENDING, num_restarts=1)), 100.0)
    state.saw_demand([demand(1, num_hosts=1)], [use("j0")], 101.0)  # it is not noticed yet
    assert state.blocks["j0"].phase is JobPhase.PENDING
    state.saw_demand([demand(1)], [], 102.0)
    run(state, ["j0"], 230.0)
    state.saw_demand([demand(1)], [], 230.0)
    assert state.to_give_back(230.0) == [], "its new manager is about to come"
    assert state.wanted(230.0) == []


def test_unknown_jobs_are_nobodys_business() -> None:
    state = growth()
    assert state.saw_jobs(["stranger"], found(job("stranger")), 0.0) == []
    state.manager_registered("stranger", 0.0)
    state.given_back("stranger", 0.0)
    assert not state.blocks


def test_block_that_waits_for_long_does_not_keep_work_from_other_flavours() -> None:
    fast, slow = flavour("fast", speed=2.0), flavour("slow", speed=1.0)
    state = growth(fast, slow)
    state.saw_demand([demand(1)], [], 0.0)
    state.saw_idle("fast", 1, 0.0)
    state.saw_idle("slow", 0, 0.0)
    assert names(state.wanted(0.0)) == ["fast"]
    submit(state, 0.0)
    state.saw_idle("slow", 1, 30.0)
    assert state.wanted(30.0) == []
    assert names(state.wanted(60.0)) == ["slow"]


def test_block_that_waits_for_long_makes_way_where_max_blocks_forbids_a_better_one() -> None:
    fast, slow = flavour("fast", speed=2.0), flavour("slow", speed=1.0)
    state = growth(fast, slow, max_blocks=2)
    state.saw_demand([demand(4)], [], 0.0)
    state.saw_idle("fast", 2, 0.0)
    state.saw_idle("slow", 0, 0.0)
    submit(state, 0.0)
    state.saw_idle("slow", 1, 61.0)
    assert state.wanted(61.0) == []
    assert state.to_give_back(61.0) == ["j0"]
    state.given_back("j0", 61.0)
    assert state.to_give_back(62.0) == [], "one idle GPU, one block"
    end(state, "j0", Ending.CANCELLED, 63.0)
    assert names(state.wanted(63.0)) == ["slow"]


# --- giving back --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setup_s", "keep_warm_s", "kept_s"),
    [(None, None, 30.0), (5.0, None, 30.0), (90.0, None, 90.0), (90.0, 3.0, 3.0), (5.0, 0.0, 0.0)],
)
def test_idle_block_is_kept_for_as_long_as_loading_again_would_take(
    setup_s: float | None, keep_warm_s: float | None, kept_s: float
) -> None:
    state = growth(keep_warm_s=keep_warm_s)
    state.saw_demand([demand(1)], [], 0.0)
    state.saw_idle("a10", 1, 0.0)
    run(state, submit(state, 0.0), 0.0)
    if kept_s:
        state.saw_demand([demand(0)], [use("j0", idle_s=kept_s - 0.1, setup_s=setup_s)], 500.0)
        assert state.to_give_back(500.0) == []
    state.saw_demand([demand(0)], [use("j0", idle_s=kept_s, setup_s=setup_s)], 501.0)
    assert state.to_give_back(501.0) == ["j0"]


def test_in_the_tail_blocks_with_nothing_left_to_do_go_at_once() -> None:
    state = with_running_blocks(4)
    uses = [use("j0"), use("j1", idle_s=0.1), use("j2", idle_s=0.2), use("j3")]
    state.saw_demand([demand(2, num_hosts=4)], uses, 10.0)
    assert state.to_give_back(10.0) == ["j2", "j1"]
    state.saw_demand([demand(3, num_hosts=4)], uses, 10.0)
    assert state.to_give_back(10.0) == ["j2"]
    state.saw_demand([demand(4, num_hosts=4)], uses, 10.0)
    assert state.to_give_back(10.0) == []


def test_block_that_can_do_nothing_of_what_is_open_goes_at_once() -> None:
    state = with_running_blocks(1, flavour("t4", gpu_type="t4"))
    large = Requirements(gpus=1, gpu_memory_bytes=60 * GB)
    state.saw_demand([demand(5, needs=large)], [use("j0", idle_s=0.1)], 10.0)
    assert state.to_give_back(10.0) == ["j0"]


def test_block_that_loads_or_works_stays() -> None:
    state = with_running_blocks(2)
    loading = BlockUse(job_id="j0", num_managers=1, num_leases=0, num_starting=1, idle_s=99.0)
    state.saw_demand([demand(1, num_hosts=2)], [loading, use("j1")], 10.0)
    assert state.to_give_back(10.0) == []


def test_block_that_loads_goes_when_there_has_been_no_work_for_as_long_as_idle_ones_are_kept() -> (
    None
):
    state = with_running_blocks(2, keep_warm_s=50.0)
    loading = BlockUse(job_id="j0", num_managers=1, num_leases=0, num_starting=1, idle_s=99.0)
    kept = msgspec.structs.replace(loading, job_id="j1", keep_warm_s=80.0)
    state.saw_demand([demand(1, num_hosts=2)], [loading, kept], 100.0)
    given_back = {}
    for now in (110.0, 159.0, 160.0, 189.0, 190.0):
        state.saw_demand([demand(0, num_hosts=2)], [loading, kept], now)
        given_back[now] = state.to_give_back(now)
    state.saw_demand([demand(1, num_hosts=2)], [loading, kept], 200.0)
    state.saw_demand([demand(0, num_hosts=2)], [loading, kept], 210.0)
    assert given_back == {110.0: [], 159.0: [], 160.0: ["j0"], 189.0: ["j0"], 190.0: ["j0", "j1"]}
    assert state.to_give_back(210.0) == [], "somebody wanted something meanwhile"


def test_tail_that_was_only_a_lull_is_learned_from() -> None:
    state = with_running_blocks(2)
    uses = [use("j0"), use("j1", idle_s=0.1)]
    state.saw_demand([demand(1, num_hosts=2)], uses, 10.0)
    assert state.to_give_back(10.0) == ["j1"]
    state.given_back("j1", 10.0)
    end(state, "j1", Ending.CANCELLED, 11.0)
    state.saw_demand([demand(2, num_hosts=1)], [use("j0")], 15.0)  # the next wave
    state.saw_idle("a10", 1, 15.0)
    (again,) = submit(state, 15.0, prefix="k")
    run(state, [again], 16.0)
    uses = [use("j0"), use(again, idle_s=0.1)]
    state.saw_demand([demand(1, num_hosts=2)], uses, 20.0)
    assert state.to_give_back(20.0) == [], "kept warm this time"
    state.saw_demand([demand(1, num_hosts=2)], [use("j0"), use(again, idle_s=30.0)], 50.0)
    assert state.to_give_back(50.0) == [again]


def test_block_that_stays_idle_while_work_waits_for_it_goes_and_is_not_asked_for_again_soon() -> (
    None
):
    state = with_running_blocks(1)
    state.saw_idle("a10", 1, 20.0)
    state.saw_demand([demand(1)], [use("j0", idle_s=9.0)], 20.0)
    assert state.to_give_back(20.0) == []
    state.saw_demand([demand(1)], [use("j0", idle_s=10.0)], 21.0)
    assert state.to_give_back(21.0) == ["j0"]
    state.given_back("j0", 21.0)
    assert "could not be used, next try in 5 s" in state.waiting_for(21.0)


def test_waiting_block_that_nobody_needs_any_more_is_cancelled() -> None:
    state = growth()
    state.saw_demand([demand(2)], [], 0.0)
    state.saw_idle("a10", 2, 0.0)
    submit(state, 0.0)
    state.saw_demand([demand(1)], [], 1.0)
    state.saw_demand([demand(1)], [], 5.9)
    assert state.to_give_back(5.9) == []
    assert state.to_give_back(6.0) == ["j1"], "the younger one"
    state.saw_demand([demand(2)], [], 6.5)
    assert state.to_give_back(20.0) == [], "needed again"


def test_block_that_was_never_needed_is_not_cancelled_while_it_waits() -> None:
    state = growth()
    state.saw_demand([], [], 0.0)
    state.saw_idle("a10", 1, 0.0)
    request = state.any_block(0.0)
    assert request is not None
    state.submitted("init", request, 0.0)
    state.saw_demand([], [], 1.0)
    assert state.to_give_back(100.0) == []
    state.saw_demand([], [use("init", idle_s=30.0)], 200.0)
    assert state.to_give_back(200.0) == ["init"]


def test_min_blocks_stay() -> None:
    state = with_running_blocks(3, min_blocks=2)
    uses = [use(f"j{i}", idle_s=100.0 + i) for i in range(3)]
    state.saw_demand([demand(0)], uses, 300.0)
    assert state.to_give_back(300.0) == ["j2"]
    state.given_back("j2", 300.0)
    assert state.to_give_back(301.0) == []


def test_cancelling_that_had_no_effect_is_asked_for_again() -> None:
    state = with_running_blocks(1)
    state.given_back("j0", 10.0)
    assert state.to_give_back(39.0) == []
    assert state.to_give_back(40.0) == ["j0"]
    state.given_back("j0", 40.0)
    assert state.to_give_back(41.0) == []


def test_job_that_runs_on_without_its_manager_is_ended() -> None:
    state = with_running_blocks(1, min_blocks=1)
    state.saw_demand([demand(1, num_hosts=1)], [use("j0")], 10.0)
    state.saw_demand([demand(1)], [], 20.0)
    assert state.to_give_back(79.0) == []
    assert state.to_give_back(80.0) == ["j0"]


def test_nothing_is_given_back_under_an_executor_without_contexts() -> None:
    state = with_running_blocks(1)
    state.saw_demand(None, [], 1.0)
    assert state.to_give_back(1000.0) == []


# --- giving up ----------------------------------------------------------------------------------


def fail_to_start(state: Growth, ending: Ending, now: float, words: str = "FAILED") -> None:
    (job_id, *_) = submit(state, now)
    run(state, [job_id], now)
    end(state, job_id, ending, now + 1.0, words)


def ready(*flavours: Flavour) -> Growth:
    state = growth(*flavours)
    state.saw_demand([demand(1)], [], 0.0)
    for each in flavours or (flavour(),):
        state.saw_idle(each.name, 1, 0.0)
    return state


def test_site_that_refuses_every_block_is_given_up_with_its_words() -> None:
    state = ready()
    for now in (0.0, 10.0):
        refused_once(state, now)
        assert state.reason_to_give_up() is None
    refused_once(state, 30.0)
    assert "a10: 3 blocks in a row were refused: sbatch: error: no" in (
        state.reason_to_give_up() or ""
    )


def test_silence_of_a_scheduler_is_no_reason_to_give_up() -> None:
    state = ready()
    for now in (0.0, 10.0, 30.0, 100.0, 300.0):
        refused_once(state, now, is_transient=True)
    assert state.reason_to_give_up() is None


def test_environment_that_never_works_is_given_up_with_what_it_printed() -> None:
    state = ready()
    for now in (0.0, 10.0, 20.0):
        assert state.reason_to_give_up() is None
        fail_to_start(state, Ending.FAILED, now)
    state.saw_output("a10", "bash: parsl-pcm-manager: command not found")
    reason = state.reason_to_give_up() or ""
    assert "a10: 3 blocks in a row ended before their manager registered" in reason
    assert "command not found" in reason


@pytest.mark.parametrize("ending", [Ending.PREEMPTED, Ending.NODE_FAILED, Ending.VANISHED])
def test_what_the_site_did_is_no_reason_to_give_up(ending: Ending) -> None:
    state = ready()
    for now in (0.0, 10.0, 20.0, 100.0, 300.0, 900.0):
        fail_to_start(state, ending, now)
    assert state.reason_to_give_up() is None


def test_environment_that_has_worked_once_is_not_given_up() -> None:
    state = with_running_blocks(1)
    end(state, "j0", Ending.PREEMPTED, 100.0)
    state.saw_demand([demand(1)], [], 100.0)
    state.saw_idle("a10", 1, 100.0)
    for now in (100.0, 200.0, 300.0, 400.0):
        fail_to_start(state, Ending.FAILED, now)
    assert state.reason_to_give_up() is None


def test_one_hopeful_flavour_is_enough_to_go_on_unless_it_serves_nothing() -> None:
    bad, other = flavour("bad", speed=2.0, gpu_type="a100"), flavour("other", gpu_type="t4")
    state = ready(bad, other)
    for now in (0.0, 10.0, 30.0):
        request = BlockRequest(flavour="bad", num_gpus=1)
        state.refused(request, "Invalid account", now, is_transient=False)
    assert state.reason_to_give_up() is None
    large = Requirements(gpus=1, gpu_memory_bytes=30 * GB)
    state.saw_demand([demand(1, needs=large)], [], 31.0)
    assert "bad: 3 blocks in a row were refused: Invalid account" in (
        state.reason_to_give_up() or ""
    )


def test_limit_on_jobs_is_no_reason_to_give_up_while_some_wait() -> None:
    state = ready()
    state.saw_idle("a10", 4, 0.0)
    state.saw_demand([demand(4)], [], 0.0)
    state.submitted("j0", state.wanted(0.0)[0], 0.0)
    for now in (0.0, 10.0, 30.0):
        refused_once(state, now)
    assert state.reason_to_give_up() is None


# --- cost ---------------------------------------------------------------------------------------


def test_answers_are_quick_with_a_thousand_blocks() -> None:
    flavours = [flavour(f"f{i}", speed=float(i)) for i in range(8)]
    state = with_running_blocks(1000, *flavours)
    for each in flavours:
        state.saw_idle(each.name, 1250, 1.0)
    demands = [demand(2000, num_hosts=100, name=f"c{i}") for i in range(10)]
    uses = [use(job_id, idle_s=None if i % 2 else 5.0) for i, job_id in enumerate(state.blocks)]
    state.saw_demand(demands, uses, 1.0)
    begin = perf_counter()
    assert len(state.wanted(1.0)) > 1000
    state.to_give_back(1.0)
    state.saw_demand(demands, uses, 1.0)
    assert perf_counter() - begin < 1.0, "some 0.03 s; much more would be quadratic"
