"""Numbers of random runs with faults: those that the pool itself counted."""

from __future__ import annotations

import pytest

from tests.simulated.test_core_random import NODES, RandomRun, SlowHostsRun
from tests.unit.test_metrics import metrics_of


@pytest.mark.parametrize("kind", [RandomRun, SlowHostsRun])
@pytest.mark.parametrize("seed", range(2))
def test_numbers_agree_with_the_pool_and_nothing_is_kept_of_what_is_over(
    kind: type[RandomRun | SlowHostsRun], seed: int
) -> None:
    run = kind(seed)
    run.run(100)
    for node in NODES:
        run.pool.register(node)
    run.pool.finish()
    pool, metrics = run.pool, metrics_of(run.pool)
    ended = list(pool.ended.values())
    assert metrics.num_submitted == len(ended)
    assert metrics.num_finished == ended.count("finished")
    assert metrics.num_cancelled == ended.count("cancelled")
    assert metrics.num_failed == len(ended) - metrics.num_finished - metrics.num_cancelled
    assert metrics.num_items_delivered == sum(map(len, pool.delivered.values()))
    assert metrics.num_items_failed == sum(map(len, pool.failed_items.values()))
    assert metrics.num_races == len(pool.raced) / 2
    cluster = pool.scheduler.cluster
    assert metrics._leases.keys() == cluster.leases.keys()
    assert metrics._hosts.keys() <= cluster.hosts.keys()
    assert metrics._managers.keys() <= cluster.managers.keys()
    assert not metrics._open_tasks
    assert not metrics._lost_starts
