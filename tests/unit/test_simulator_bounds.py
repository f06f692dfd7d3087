"""How fast a campaign can be at best: sums that can be checked by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from parsl_pcm.simulator.results.bounds import lower_bound
from parsl_pcm.simulator.scenario import ContextModel, Pool, Scenario, Site, System, Work
from parsl_pcm.simulator.site.availability import lives


def bound(scenario: Scenario, seed: int = 1) -> float:
    return lower_bound(scenario, lives(scenario, seed), seed)


def campaign(*pools: Pool, items: int = 100, **changes: Any) -> Scenario:
    """A campaign of one context: 1 s an item; 10 s to load, 4 s to unpack, 6 s to read files."""
    model = ContextModel(
        name="model",
        item_s=1.0,
        import_s=2.0,
        load_s=7.0,
        warm_up_s=1.0,
        unpack_s=4.0,
        files="6 GB",
    )
    site = Site(shared_fs="2 GB", node_network="1 GB")
    whole: dict[str, Any] = {"contexts": (model,), "work": (work(items),), "site": site} | changes
    return Scenario(name="test", pools=pools, **whole)


def work(items: int, **changes: Any) -> Work:
    return Work(**{"context": "model", "items": items} | changes)


def a10(**changes: Any) -> Pool:
    return Pool(**{"gpu": "A10", "count": 1} | changes)


SETUP_S = 6.0 + 4.0 + 10.0


def test_one_gpu_loads_at_full_speed_and_then_works() -> None:
    assert bound(campaign(a10())) == pytest.approx(SETUP_S + 100.0)


def test_gpus_share_work_by_their_speeds() -> None:
    model = ContextModel(
        name="model", item_s={"A10": 1.0, "A40": 0.5}, load_s={"A10": 10, "A40": 40}
    )
    pools = (a10(), Pool(gpu="A40", count=2))
    # 1 x (T - 10) + 2 x 2 x (T - 40) = 100
    assert bound(campaign(*pools, contexts=(model,))) == pytest.approx(270.0 / 5.0)


def test_effort_counts() -> None:
    light = campaign(a10(), work=(work(100, effort=0.5),))
    assert bound(light) == pytest.approx(SETUP_S + 50.0)


def test_a_gpu_that_goes_before_it_is_warm_is_of_no_use() -> None:
    gone = Pool(gpu="A10", steps=((0.0, 1), (SETUP_S, 0)))
    assert bound(campaign(a10(), gone)) == bound(campaign(a10()))


def test_a_gpu_that_comes_back_loads_again() -> None:
    pool = Pool(gpu="A10", steps=((0.0, 1), (50.0, 0), (80.0, 1)))
    assert bound(campaign(pool)) == pytest.approx(80.0 + SETUP_S + 100.0 - (50.0 - SETUP_S))


def test_it_is_infinite_where_nothing_can_be_warm_or_all_gpus_go_for_good() -> None:
    assert bound(campaign(Pool(gpu="A10", steps=((0.0, 1), (SETUP_S + 99.0, 0))))) == math.inf
    assert bound(campaign(a10(walltime_s=SETUP_S))) == math.inf
    assert bound(campaign(a10(bad_frac=1.0))) == math.inf


def test_slow_gpus_take_longer() -> None:
    slow = a10(slow_frac=1.0, slow_factor=3.0)
    assert bound(campaign(slow)) == pytest.approx(SETUP_S + 300.0)


def test_each_walltime_costs_another_wait_and_load() -> None:
    pool = a10(queue_wait_s=30.0, walltime_s=SETUP_S + 60.0)
    assert bound(campaign(pool)) == pytest.approx(2 * (30.0 + SETUP_S) + 100.0)


def test_who_can_ask_for_nodes_beforehand_does_not_wait() -> None:
    pool = a10(queue_wait_s=30.0, walltime_s=SETUP_S + 60.0)
    site = Site(shared_fs="2 GB", node_network="1 GB", is_elastic=True)
    assert bound(campaign(pool, site=site)) == pytest.approx(SETUP_S + 100.0)


def test_it_counts_from_the_first_submission() -> None:
    late = (work(100, at_s=500.0), work(10, at_s=530.0))
    assert bound(campaign(a10(), work=late)) == pytest.approx(SETUP_S + 110.0)
    pool = a10(queue_wait_s=30.0)
    waiting = campaign(pool, system=System(waits_for_frac=0.95))
    assert bound(waiting) == pytest.approx(SETUP_S + 100.0)


def test_work_cannot_be_done_before_it_is_there() -> None:
    twice = (work(100), work(10, at_s=1000.0))
    assert bound(campaign(a10(), work=twice)) == pytest.approx(1010.0)


def test_hosts_that_share_a_gpu_and_places_of_a_host_work_at_the_same_time() -> None:
    half = ContextModel(name="model", item_s=1.0, gpu_memory="11 GB", max_concurrency=3)
    assert bound(campaign(a10(gpus_per_node=4), contexts=(half,))) == pytest.approx(
        100 / (4 * 2 * 3)
    )


def test_contexts_share_gpus() -> None:
    contexts = (
        ContextModel(name="model", item_s=1.0, load_s=20.0),
        ContextModel(name="other", item_s=2.0, load_s=10.0),
    )
    both = (work(100), work(100, context="other"))
    assert bound(campaign(a10(), contexts=contexts, work=both)) == pytest.approx(10.0 + 300.0)


def test_contexts_on_cpus_take_nothing_from_those_on_gpus() -> None:
    contexts = (
        ContextModel(name="model", item_s=1.0),
        ContextModel(name="other", item_s=2.0, gpus=0, cores=4.0),
    )
    both = (work(100), work(100, context="other"))
    assert bound(campaign(a10(cores=16.0), contexts=contexts, work=both)) == pytest.approx(100.0)


def test_each_gpu_does_what_it_is_better_at() -> None:
    contexts = (
        ContextModel(name="model", item_s={"A10": 1.0, "A40": 4.0}),
        ContextModel(name="other", item_s={"A10": 4.0, "A40": 1.0}),
    )
    both = (work(100), work(100, context="other"))
    found = bound(campaign(a10(), Pool(gpu="A40", count=1), contexts=contexts, work=both))
    assert found == pytest.approx(100.0)
