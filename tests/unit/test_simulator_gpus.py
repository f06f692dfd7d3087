"""What a scenario may leave unsaid of a GPU, and how values by GPU are looked up."""

from __future__ import annotations

import math

import pytest

from parsl_pcm.simulator.scenario import ContextModel, Gpu
from parsl_pcm.simulator.site.gpus import find_model, is_same, item_s, ready_s, value_on

GIB = 2**30

# The eight major models of arXiv 2509.13201, table 1, and those that clouds rent out.
CAMPUS = [
    "Quadro RTX 6000",
    "A10",
    "TITAN X (Pascal)",
    "GTX 1080 Ti",
    "RTX 6000 Ada",
    "GTX TITAN X",
    "A40",
    "H100 80GB HBM3",
]
CLOUD = ["T4", "V100", "L4", "L40S", "A100 40GB", "A100 80GB", "H100", "H200", "B200"]


@pytest.mark.parametrize("name", [*CAMPUS, *CLOUD])
def test_usual_gpu_is_known(name: str) -> None:
    model = find_model(name)
    assert model is not None
    assert 10 * GIB < model.memory_bytes < 200 * GIB
    assert 5.0 <= model.compute_capability <= 10.0
    assert 0.4 < model.speed < 15.0


def test_speed_follows_memory_bandwidth_beside_an_a10() -> None:
    a10, titan, b200 = (find_model(name) for name in ("A10", "TITAN X (Pascal)", "B200"))
    assert a10
    assert titan
    assert b200
    assert (a10.speed, titan.speed) == (1.0, 0.8)
    assert b200.speed > 10.0


def test_unknown_gpu_is_none_and_the_scenario_may_describe_it() -> None:
    own = Gpu(name="MyCard 9", memory="10 GB", compute_capability=9.9, speed=2.5)
    assert find_model("mycard-9") is None
    found = find_model("mycard-9", [own])
    assert found is not None
    assert (found.memory_bytes, found.compute_capability, found.speed) == (10 * 10**9, 9.9, 2.5)


def test_what_a_scenario_says_of_a_known_gpu_counts_more() -> None:
    own = Gpu(name="A10", memory="12 GB", compute_capability=8.6, speed=0.5)
    found = find_model("A10", [own])
    assert found is not None
    assert found.speed == 0.5


def test_names_are_compared_without_signs_and_capitals() -> None:
    assert is_same("TITAN X (Pascal)", "titan-x_pascal")
    assert not is_same("A10", "A100")


def test_number_counts_on_every_gpu_alike() -> None:
    context = ContextModel(name="m", item_s=0.3)
    assert item_s(context, find_model("H100")) == item_s(context, None) == 0.3


def test_own_value_counts_before_the_default_which_is_for_speed_one() -> None:
    context = ContextModel(name="m", item_s={"A10": 0.27, "default": 0.4, "cpu": 9.0})
    assert item_s(context, find_model("a10")) == 0.27
    assert item_s(context, find_model("TITAN X (Pascal)")) == pytest.approx(0.5)
    assert item_s(context, None) == 9.0


def test_nothing_said_of_a_gpu_is_not_a_number() -> None:
    assert math.isnan(item_s(ContextModel(name="m", item_s={"A10": 0.3}), find_model("T4")))
    assert value_on({"A10": 0.3}, "T4") is None


def test_times_until_ready_add_up_by_gpu() -> None:
    context = ContextModel(
        name="m",
        item_s=1.0,
        unpack_s={"A10": 1.0, "default": 2.0},
        import_s=4.0,
        load_s={"A10": 8.0, "default": 16.0},
        warm_up_s=32.0,
    )
    assert ready_s(context, "A10") == 45.0
    assert ready_s(context, "T4") == 54.0
