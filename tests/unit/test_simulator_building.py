"""What a virtual pool is made of, by what a scenario says."""

from __future__ import annotations

import math
import statistics
from random import Random

import pytest

from parsl_pcm.simulator.engine.parts import Way
from parsl_pcm.simulator.engine.timeline import Timeline
from parsl_pcm.simulator.scenario import (
    ContextModel,
    Gpu,
    Keeps,
    Pool,
    Scenario,
    Site,
    System,
    Work,
)
from parsl_pcm.simulator.scenarios import building
from parsl_pcm.simulator.site.availability import Life
from parsl_pcm.types import ManagerId

GIB = 2**30


def scenario_of(
    context: ContextModel | None = None,
    *pools: Pool,
    site: Site | None = None,
    system: System | None = None,
    gpus: tuple[Gpu, ...] = (),
) -> Scenario:
    return Scenario(
        name="s",
        contexts=(context or ContextModel(name="m", item_s=1.0),),
        work=(Work(context="m", items=1),),
        pools=pools or (Pool(gpu="A10", count=1),),
        site=site or Site(),
        system=system or System(),
        gpus=gpus,
    )


def way_of(context: ContextModel, *pools: Pool) -> Way:
    (model,) = building.models_of(scenario_of(context, *pools), Random(1))
    return model.ways[0]


def life_of(pool: int = 0, gpu: str | None = "A10", *, fails: bool = False) -> Life:
    return Life(
        pool=pool,
        machine=3,
        gpu=gpu,
        from_s=5.0,
        until_s=math.inf,
        speed=0.5,
        is_bad=True,
        fails=fails,
    )


def test_context_asks_for_what_it_declares() -> None:
    context = ContextModel(
        name="m",
        item_s=1.0,
        gpus=2,
        gpu_memory="8 GB",
        host_memory="1 GiB",
        cores=4.0,
        max_concurrency=8,
        keep_warm_s=60.0,
        gpu_types=("A100", "H100"),
        can_sleep=True,
    )
    needs = building.requirements_of(context)
    assert (needs.gpus, needs.gpu_memory_bytes, needs.host_memory_bytes) == (2, 8 * 10**9, GIB)
    assert (needs.cores, needs.max_concurrency, needs.keep_warm_s) == (4.0, 8, 60.0)
    assert (needs.gpu_types, needs.can_sleep) == (("a100", "h100"), True)
    assert building.requirements_of(ContextModel(name="m", item_s=1.0)).gpu_memory_bytes is None


def test_costs_are_those_of_the_devices_of_a_host() -> None:
    context = ContextModel(
        name="m",
        gpus=2,
        files="7 GB",
        unpack_s={"A10": 3.0, "default": 9.0},
        import_s=1.0,
        load_s={"A10": 2.0, "default": 4.0},
        warm_up_s=8.0,
        load_cv=0.25,
        item_s={"A10": 0.5, "default": 0.5},
        piece_s=0.125,
        sleep_s=1.5,
        wake_s=2.5,
    )
    way = way_of(context, Pool(gpu="A10", count=1), Pool(gpu="T4", count=1))
    assert way.setup_s == {"A10, A10": 11.0, "T4, T4": 13.0}
    assert way.unpack_s == {"A10, A10": 3.0, "T4, T4": 9.0}
    assert (way.files_bytes, way.setup_cv, way.sleep_s, way.wake_s) == (7 * 10**9, 0.25, 1.5, 2.5)
    assert way.time_on("A10, A10")(4, 0.0, 1) == 2.125
    slower = 320 / 600  # the bandwidth of a T4 beside that of an A10
    assert way.time_on("T4, T4")(4, 0.0, 1) == pytest.approx(0.125 + 2.0 / slower)


def test_items_differ_as_much_as_is_said() -> None:
    way = way_of(ContextModel(name="m", item_s=0.5, item_cv=0.4))
    times = [way.time_on("A10")(1, 0.0, 1) for _ in range(4000)]
    assert statistics.fmean(times) == pytest.approx(0.5, rel=0.03)
    assert statistics.stdev(times) == pytest.approx(0.2, rel=0.06)


def test_context_without_gpus_costs_what_is_said_of_cpus() -> None:
    context = ContextModel(name="m", gpus=0, item_s={"cpu": 3.0, "A10": 1.0})
    way = way_of(context, Pool(gpu="A10", count=1), Pool(count=1))
    assert way.time_on("cpu")(2, 0.0, 1) == 6.0


def test_what_is_kept_is_that_of_the_system() -> None:
    scenario = scenario_of(system=System(keeps=Keeps.FILES))
    assert [model.keeps for model in building.models_of(scenario, Random(1))] == [Keeps.FILES]


def test_node_has_the_gpus_of_its_pool() -> None:
    pool = Pool(gpu="H100", count=1, gpus_per_node=4, cores=64.0, memory="512 GB")
    scenario = scenario_of(None, pool)
    found = building.resources_of(scenario, pool, "H100")
    assert (found.cores, found.memory_bytes) == (64.0, 512 * 10**9)
    assert [device.name for device in found.devices] == ["H100"] * 4
    assert len({device.device_id for device in found.devices}) == 4
    assert found.devices[0].compute_capability == 9.0
    assert found.devices[0].memory_bytes > 79 * GIB


def test_node_without_gpus_has_no_devices() -> None:
    pool = Pool(count=1)
    assert building.resources_of(scenario_of(None, pool), pool, None).devices == ()


def test_gpu_of_the_scenario_counts_before_the_catalogue() -> None:
    own = Gpu(name="A10", memory="12 GB", compute_capability=7.0)
    scenario = scenario_of(gpus=(own,))
    (device,) = building.resources_of(scenario, scenario.pools[0], "A10").devices
    assert (device.memory_bytes, device.compute_capability) == (12 * 10**9, 7.0)


def test_possible_nodes_are_all_kinds_once() -> None:
    pools = (
        Pool(gpu_mix={"A10": 1.0, "T4": 2.0}, count=5),
        Pool(gpu="T4", count=1),
        Pool(count=1),
    )
    kinds = building.possible_nodes(scenario_of(None, *pools))
    assert [[device.name for device in kind.devices] for kind in kinds] == [["A10"], ["T4"], []]


def test_node_of_a_life_is_as_its_pool_and_its_chance_made_it() -> None:
    pool = Pool(gpu="A10", count=1, notice_s=30.0, walltime_s=600.0, detect_s=9.0)
    node = building.node_of(scenario_of(None, pool), life_of())
    assert (node.joins_at, node.leaves_at) == (5.0, math.inf)
    assert (node.notice_s, node.walltime_s, node.detect_s) == (30.0, 600.0, 9.0)
    assert (node.speed, node.is_broken) == (0.5, True)


def test_failure_gives_no_notice() -> None:
    pool = Pool(gpu="A10", count=1, notice_s=30.0)
    assert building.node_of(scenario_of(None, pool), life_of(fails=True)).notice_s is None


@pytest.mark.parametrize(
    ("site", "took_s"),
    [
        (Site(), 0.0),
        (Site(shared_fs="1 GB"), 20.0),
        (Site(node_network="2 GB"), 5.0),
    ],
)
def test_files_come_as_fast_as_the_site_is(site: Site, took_s: float) -> None:
    time = Timeline()
    staging = building.staging_of(scenario_of(site=site), time)
    arrived: list[float] = []
    for node in ("a", "b"):
        staging.fetch(ManagerId(node), "m", 10 * 10**9, lambda: arrived.append(time.now))
    while time.next_at() < math.inf:
        time.step()
    assert arrived == pytest.approx([took_s, took_s])


def test_scheduler_has_the_settings_of_the_system() -> None:
    system = System(is_prefetching=False, max_attempts=7)
    header = building.header_of(scenario_of(system=system))
    assert (header.label, header.fixed_prefetch, header.max_attempts) == ("s", 0, 7)
    assert header.started_wall_s == 0.0
    assert building.header_of(scenario_of()).fixed_prefetch is None
