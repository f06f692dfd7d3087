"""What Growth makes of contexts with several ways, held warm, or several to a GPU."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from parsl_pcm.provider.growth.demand import BlockRequest, BlockUse, Demand
from parsl_pcm.types import Requirements
from tests.unit.test_provider_growth import (
    GB,
    flavour,
    growth,
    names,
    run,
    submit,
    use,
    with_running_blocks,
)

NEW_GPU = Requirements(gpus=1, gpu_memory_bytes=60 * GB, min_compute_capability=8.0)
TWO_OLD_GPUS = Requirements(gpus=2, gpu_memory_bytes=12 * GB)
CPU = Requirements(cores=4.0)


def demand(num_wanted: int, *ways: Requirements, **options: Any) -> Demand:
    options.setdefault("num_hosts", 0)
    return Demand(
        name="llama", ways=ways or (Requirements(gpus=1),), num_wanted=num_wanted, **options
    )


def idle_use(job_id: str, idle_s: float, keep_warm_s: float = 0.0) -> BlockUse:
    return msgspec.structs.replace(use(job_id, idle_s=idle_s), keep_warm_s=keep_warm_s)


# --- several ways -------------------------------------------------------------------------------


def test_each_flavour_serves_the_way_that_its_gpus_allow_with_blocks_of_its_size() -> None:
    state = growth(
        flavour("h100", gpu_type="h100"),
        flavour("v100", gpu_type="v100"),
        flavour("k80", gpu_type="k80"),
    )
    state.saw_demand([demand(5, NEW_GPU, TWO_OLD_GPUS)], [], 0.0)
    for name in ("h100", "v100", "k80"):
        state.saw_idle(name, 4, 0.0)
    requests = state.wanted(0.0)
    assert names(requests) == [*4 * ["h100"], "v100"]
    assert [request.num_gpus for request in requests] == [1, 1, 1, 1, 2]


def test_way_without_gpus_asks_for_blocks_without_gpus_where_no_gpu_is_idle() -> None:
    state = growth(flavour("h100", gpu_type="h100"), flavour("cpu", gpus_per_block=0))
    state.saw_demand([demand(2, NEW_GPU, CPU)], [], 0.0)
    state.saw_idle("h100", 1, 0.0)
    assert names(state.wanted(0.0)) == ["h100", "cpu"]


def test_context_without_a_way_for_any_flavour_says_so() -> None:
    state = growth(flavour("k80", gpu_type="k80"))
    state.saw_demand([demand(1, NEW_GPU, TWO_OLD_GPUS)], [], 0.0)
    assert state.wanted(0.0) == []
    assert "no flavour has nodes that are large enough" in state.waiting_for(0.0)


def test_several_hosts_to_a_gpu_need_fewer_blocks() -> None:
    state = growth(flavour("a10", gpu_type="a10"))
    state.saw_demand([demand(7, Requirements(gpus=1, gpu_memory_bytes=7 * GB))], [], 0.0)
    state.saw_idle("a10", 8, 0.0)
    assert len(state.wanted(0.0)) == 3, "three of 7 GB fit into 24 GB"


# --- held warm ----------------------------------------------------------------------------------


def test_hosts_that_somebody_wants_warm_get_blocks_without_any_work() -> None:
    state = growth()
    state.saw_demand([demand(2, num_warm=2)], [], 0.0)
    state.saw_idle("a10", 8, 0.0)
    assert state.wanted(0.0) == 2 * [BlockRequest(flavour="a10", num_gpus=1, context="llama")]
    submit(state, 0.0)
    run(state, ["j0", "j1"], 5.0)
    state.saw_demand([demand(2, num_hosts=2, num_warm=2)], [], 6.0)
    assert state.wanted(6.0) == []


def test_blocks_with_hosts_that_are_held_warm_stay_however_long_they_idle() -> None:
    state = with_running_blocks(3)
    held = [idle_use(f"j{i}", 1000.0 + i, keep_warm_s=math.inf) for i in range(2)]
    state.saw_demand([demand(2, num_hosts=3, num_warm=2)], [*held, idle_use("j2", 40.0)], 1000.0)
    assert state.to_give_back(1000.0) == ["j2"], "one more than is wanted"


def test_block_is_not_useless_because_not_all_that_shall_be_warm_fits() -> None:
    state = with_running_blocks(1)
    held = idle_use("j0", 1000.0, keep_warm_s=math.inf)
    state.saw_demand([demand(4, num_hosts=1, num_warm=4)], [held], 1000.0)
    assert state.to_give_back(1000.0) == []


def test_blocks_of_others_go_as_ever_while_a_context_is_held_warm() -> None:
    state = with_running_blocks(2)
    held = idle_use("j0", 40.0, keep_warm_s=math.inf)
    wish = [demand(1, num_hosts=1, num_warm=1)]
    state.saw_demand(wish, [held, idle_use("j1", 29.0)], 50.0)
    assert state.to_give_back(50.0) == [], "as long as building again would take"
    state.saw_demand(wish, [held, idle_use("j1", 30.0)], 51.0)
    assert state.to_give_back(51.0) == ["j1"]


def test_block_with_a_host_that_is_to_be_kept_for_a_time_is_kept_so_long() -> None:
    state = with_running_blocks(2)
    uses = [use("j0"), idle_use("j1", 299.0, keep_warm_s=300.0)]
    state.saw_demand([demand(1, num_hosts=2)], uses, 300.0)
    assert state.to_give_back(300.0) == [], "not even in the tail"
    uses[1] = idle_use("j1", 300.0, keep_warm_s=300.0)
    state.saw_demand([demand(1, num_hosts=2)], uses, 301.0)
    assert state.to_give_back(301.0) == ["j1"]


# --- what may come ------------------------------------------------------------------------------


def test_hosts_that_may_come_are_as_many_as_the_limits_allow() -> None:
    flavours = [flavour("h100", gpu_type="h100", max_blocks=4), flavour("k80", gpu_type="k80")]
    seven_gb = (Requirements(gpus=1, gpu_memory_bytes=7 * GB),)
    assert growth(*flavours).hosts_to_come(seven_gb, 0) is None, "as many as are idle"
    assert growth(*flavours, max_blocks=10).hosts_to_come(seven_gb, 3) == 7 * 11
    assert growth(*flavours).hosts_to_come((NEW_GPU,), 1) == 3, "the other one does not serve it"
    assert growth(*flavours, max_blocks=2).hosts_to_come((NEW_GPU,), 5) == 0
    assert growth(flavours[1]).hosts_to_come((NEW_GPU,), 0) == 0, "none serves it"
