"""Bad nodes and bad recipes at once: what is good goes on."""

from __future__ import annotations

from random import Random

import pytest

from parsl_pcm.types import Requirements
from tests.fakes import FakePool, cpu_node


@pytest.mark.parametrize("seed", range(5))
def test_one_node_in_ten_and_one_recipe_in_five_are_bad_and_all_else_goes_on(seed: int) -> None:
    pool = FakePool(Random(seed))
    keys = [pool.declare(f"context {number}", Requirements(cores=1.0)) for number in range(5)]
    pool.broken.add(keys[2])
    for _ in range(20):
        pool.register(cpu_node(2.0))
    pool.bad_nodes |= set(pool.random.sample(sorted(pool.managers), 2))
    tasks = [(key, pool.submit(key)) for _ in range(15) for key in keys]
    pool.finish()
    for key, task_id in tasks:
        assert pool.ended[task_id] == ("setup_failed" if key in pool.broken else "finished")
