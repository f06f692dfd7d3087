"""What the work could use, at any moment of a random run."""

from __future__ import annotations

from tests.simulated.test_core_random import RandomRun
from tests.unit.test_core_demand import demands, uses


def test_demand_is_told_at_any_moment_of_a_run() -> None:
    run = RandomRun(7)
    for _ in range(40):
        run.run(10)
        told = {name: row for name, *row in demands(run.pool)}
        for context in run.pool.scheduler.cluster.contexts.values():
            if run.pool.policy.wants_another_host(context, run.pool.now):
                assert told[context.name][0] > context.num_hosts
        assert sum(u.num_leases for u in uses(run.pool)) == len(run.pool.scheduler.cluster.leases)
