"""No run without chance is faster than its bound."""

from __future__ import annotations

from random import Random

import pytest

from parsl_pcm.simulator.campaign import simulate
from parsl_pcm.simulator.scenario import ContextModel, Pool
from tests.unit.test_simulator_bounds import bound, campaign, work


@pytest.mark.parametrize("seed", range(6))
def test_no_run_without_chance_is_faster(seed: int) -> None:
    random = Random(seed)
    contexts = tuple(
        ContextModel(
            name=name,
            item_s={"A10": random.uniform(0.5, 3.0), "A40": random.uniform(0.5, 3.0)},
            load_s=random.uniform(1.0, 60.0),
            unpack_s=random.uniform(0.0, 9.0),
            files="5 GB",
            gpu_memory=random.choice([None, "9 GB", "20 GB"]),
        )
        for name in ("model", "other")[: random.randint(1, 2)]
    )
    pools = (
        Pool(gpu="A10", count=random.randint(1, 3), queue_wait_s=random.choice([0.0, 50.0])),
        Pool(gpu="A40", steps=((random.uniform(0.0, 300.0), 2), (400.0, 1))),
    )
    tasks = tuple(
        work(random.randint(50, 200), context=context.name, at_s=random.choice([0.0, 90.0]))
        for context in contexts
    )
    scenario = campaign(*pools, contexts=contexts, work=tasks)
    outcome = simulate(scenario, seed)
    assert outcome.makespan_s is not None
    assert bound(scenario, seed) <= outcome.makespan_s
