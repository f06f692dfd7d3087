from __future__ import annotations

from typing import Any

import pytest

from parsl_pcm.slots import slots_wanted


def demand(num_wanted: int, item_s: float | None, **requirements: Any) -> dict[str, Any]:
    needs = {"gpus": 0, "cores": 1.0} | requirements
    return {"num_wanted": num_wanted, "item_s": item_s, "ways": [needs], "hosts_per_gpu": None}


def wanted(*demands: dict[str, Any], num_slots: int = 4) -> int:
    return slots_wanted(demands, num_slots=num_slots, cores_per_slot=1.0)


def test_measured_work_counts_as_the_hosts_that_it_pays_for() -> None:
    assert wanted(demand(17, 0.1), demand(3, 2.0)) == 20


def test_unmeasured_work_asks_for_twice_what_there_is_at_most() -> None:
    assert wanted(demand(10_000, None), num_slots=4) == 8
    assert wanted(demand(10_000, None), num_slots=0) == 1
    assert wanted(demand(3, None), num_slots=4) == 3


def test_measured_work_is_not_held_back_by_unmeasured_work() -> None:
    assert wanted(demand(50, 1.0), demand(10_000, None), num_slots=2) == 54


def test_open_work_wants_a_slot_at_least() -> None:
    assert wanted() == 1
    assert wanted(demand(0, 0.1)) == 1


@pytest.mark.parametrize(
    ("requirements", "expected"),
    [({"gpus": 2, "cores": 0.0}, 6), ({"cores": 4.0}, 12), ({"cores": 0.5}, 3), ({"cores": 0}, 3)],
)
def test_a_host_may_take_several_slots(requirements: dict[str, Any], expected: int) -> None:
    assert wanted(demand(3, 1.0, **requirements)) == expected


def test_a_host_that_fills_its_slot_exactly_takes_one() -> None:
    demands = [demand(3, 1.0, cores=0.1)]
    assert slots_wanted(demands, num_slots=1, cores_per_slot=0.1) == 3


def test_hosts_that_share_a_gpu_share_its_slot() -> None:
    on_gpus = demand(7, 1.0, gpus=1)
    assert wanted(on_gpus) == 7
    assert wanted(on_gpus | {"hosts_per_gpu": 3.0}) == 3
    assert wanted(demand(3, 1.0, gpus=2) | {"hosts_per_gpu": 0.5}) == 6
    assert wanted(on_gpus | {"hosts_per_gpu": 0.0}) == 7, "no node so far holds one"
