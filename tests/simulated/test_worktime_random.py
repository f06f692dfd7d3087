"""Where the time of devices went, in random runs: as the books of the scheduler have it."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import pytest

from parsl_pcm.core.records import HostRecord
from parsl_pcm.core.transitions import HostState
from parsl_pcm.simulator.engine.parts import GB, Node, cpu_model, gpu_model, gpus
from parsl_pcm.simulator.engine.pool import VirtualPool
from parsl_pcm.worktime import WorkTime
from parsl_pcm.worktime_records import MAX_BINS


def devices_of(host: HostRecord) -> set[tuple[str, int]]:
    positions = host.device_positions or (() if host.manager.resources.devices else (-1,))
    return {(host.manager.manager_id, position) for position in positions}


class Follower:
    """Watches a run, and keeps books of its own by those of the scheduler."""

    def __init__(self) -> None:
        self.worktime = WorkTime()
        self.working_s = 0.0
        self.loading_s = 0.0
        self.perhaps_loading_s = 0.0
        """Of hosts that were told to stop, and may have been loading."""
        self._since = 0.0
        self._counts = (0, 0, 0)

    def watch(self, pool: VirtualPool) -> None:
        passed_s, self._since = pool.now - self._since, pool.now
        self.working_s += self._counts[0] * passed_s
        self.loading_s += self._counts[1] * passed_s
        self.perhaps_loading_s += self._counts[2] * passed_s
        hosts = pool.scheduler.cluster.hosts.values()
        working = set[tuple[str, int]]().union(*(devices_of(h) for h in hosts if h.leases))
        loading = self._in_states(hosts, HostState.STARTING, HostState.WAKING) - working
        stopping = self._in_states(hosts, HostState.STOPPING) - working - loading
        self._counts = (len(working), len(loading), len(stopping))

    @staticmethod
    def _in_states(hosts: Iterable[HostRecord], *states: HostState) -> set[tuple[str, int]]:
        return set[tuple[str, int]]().union(*(devices_of(h) for h in hosts if h.state in states))


@pytest.mark.parametrize("seed", range(20))
def test_random_run_agrees_with_the_books_of_the_scheduler(seed: int) -> None:
    random = Random(seed)
    follower = Follower()
    nodes = [
        Node(
            gpus(*[random.choice([16, 24, 80]) * GB for _ in range(random.randint(0, 3))]),
            joins_at=random.uniform(0.0, 50.0),
            leaves_at=random.choice([1e9, random.uniform(60.0, 200.0)]),
        )
        for _ in range(6)
    ]
    models = [
        gpu_model("a", 0.3, 10.0, gpu_bytes=8 * GB),
        gpu_model("b", 1.0, 4.0, gpu_bytes=None),
        cpu_model("c", 0.5, 1.0),
    ]
    pool = VirtualPool(
        [*nodes, Node(gpus(80 * GB))],
        models,
        observe=follower.worktime.observe,
        watch=follower.watch,
    )
    for name in "abc":
        pool.submit_map(name, random.randint(50, 400), at=random.uniform(0.0, 30.0))
        pool.submit_calls(name, 20, every_s=random.uniform(0.0, 3.0))
    pool.run()
    worktime = follower.worktime
    spent = worktime.until_done()
    assert spent.num_delivered == worktime.num_items
    assert worktime.num_delivered_twice == 0
    assert spent.working_s == pytest.approx(follower.working_s)
    assert spent.wasted_s <= spent.working_s
    assert spent.loading_s >= follower.loading_s - 1e-6
    assert spent.loading_s <= follower.loading_s + follower.perhaps_loading_s + 1e-6
    bins = worktime.history.bins
    assert sum(each.working_s for each in bins) == pytest.approx(worktime.total.working_s)
    assert sum(each.device_s for each in bins) == pytest.approx(worktime.total.device_s)
    assert sum(each.num_delivered for each in bins) == spent.num_delivered
    assert len(bins) <= MAX_BINS
