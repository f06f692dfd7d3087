"""The budget of memory, over many random placements: nothing is given away twice."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from parsl_pcm.core.check import check
from parsl_pcm.core.cluster import Cluster
from parsl_pcm.core.memory import Held
from parsl_pcm.core.records import ContextRecord, HostRecord, ManagerRecord
from parsl_pcm.core.transitions import HostState
from parsl_pcm.types import BlockId, ContextKey, HostId, ManagerId, Requirements
from tests.fakes import GB, gpu_node

NODES = [
    gpu_node(12, 16, memory_bytes=40 * GB),
    gpu_node(24, 24, 40, 40, memory_bytes=100 * GB),
    gpu_node(80, memory_bytes=60 * GB),
]


def random_needs(random: Random) -> Requirements:
    memory_gb = random.choice([None, 1, 3, 5, 8, 11, 12, 20, 23])
    return Requirements(
        cores=random.choice([0.1, 0.5, 1.0]),
        gpus=random.choice([1, 1, 1, 2]),
        gpu_memory_bytes=None if memory_gb is None else memory_gb * GB,
        host_memory_bytes=random.choice([0, 1, 9]) * GB,
        can_sleep=random.random() < 0.3,
    )


class RandomPlacements:
    """Hosts of many contexts come, are measured, sleep, wake up and go, as fast as there is room.

    An account of its own is kept, of what each host was known to need when it got its place.
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.cluster = Cluster()
        self.contexts = [
            ContextRecord(ContextKey(str(n)), str(n), random_needs(self.random)) for n in range(24)
        ]
        self.cluster.contexts = {context.context_key: context for context in self.contexts}
        for number, node in enumerate(NODES):
            manager = ManagerRecord(ManagerId(f"m{number}"), BlockId("0"), node, 0.0)
            self.cluster.add_manager(manager)
        self.needed: dict[HostId, int | None] = {}
        """On each of its devices, by the hosts that are awake; None: all of it."""
        self.num_placed = 0

    def step(self) -> None:
        self.cluster.now += 1.0
        hosts = list(self.cluster.hosts.values())
        act = self.random.choice([self.place, self.place, self.measure, self.change, self.change])
        if act == self.place or not hosts:
            self.place()
        else:
            act(self.random.choice(hosts))
        self.check_budget()

    def place(self, _: HostRecord | None = None) -> None:
        context = self.random.choice(self.contexts)
        place = self.cluster.capacity.find(context)
        if place is not None:
            host = self.cluster.add_host(context, place)
            self.needed[host.host_id] = self.known_need(host)
            self.num_placed += 1

    def known_need(self, host: HostRecord) -> int | None:
        declared = host.requirements.gpu_memory_bytes
        known = host.context.memory.on(0, host.device_kind.split(", ")[0]).gpu_memory_bytes
        return None if declared is None else max(declared, known)

    def measure(self, host: HostRecord) -> None:
        declared = host.requirements.gpu_memory_bytes or GB
        gpu_bytes = int(declared * self.random.choice([0.5, 0.99, 1.0, 1.05]))
        self.cluster.measure(host, Held(gpu_bytes, self.random.randrange(3 * GB)))

    def change(self, host: HostRecord) -> None:
        """Let a host go on in its life."""
        cluster, now = self.cluster, self.cluster.now
        if self.random.random() < 0.2:
            cluster.remove_host(host, now)
            self.needed.pop(host.host_id, None)
        elif host.state is HostState.STARTING:
            cluster.host_ready(host, now)
        elif host.state is HostState.READY and host.requirements.can_sleep:
            cluster.host_dozing(host)
        elif host.state is HostState.DOZING:
            cluster.host_asleep(host, Held(GB // 4, GB))
            del self.needed[host.host_id]
        elif host.state is HostState.ASLEEP and cluster.capacity.fits_back(host):
            cluster.host_waking(host)
            self.needed[host.host_id] = self.known_need(host)
        elif host.state is HostState.WAKING:
            cluster.host_awake(host, now)

    def check_budget(self) -> None:
        for manager in self.cluster.managers.values():
            for position, device in enumerate(manager.resources.devices):
                sharers = [
                    self.needed[host.host_id]
                    for host in manager.hosts.values()
                    if position in host.device_positions and host.host_id in self.needed
                ]
                if len(sharers) > 1:
                    assert None not in sharers, "a whole device is shared"
                    assert sum(filter(None, sharers)) <= 0.98 * device.memory_bytes


@pytest.mark.parametrize("seed", range(3))
def test_budget_is_never_exceeded_over_a_thousand_random_placements(seed: int) -> None:
    run = RandomPlacements(seed)
    num_shared = num_asleep = 0
    while run.num_placed < 1000:
        for _ in range(20):
            run.step()
        check(run.cluster)
        hosts = run.cluster.hosts.values()
        devices = Counter((h.manager.manager_id, p) for h in hosts for p in h.device_positions)
        num_shared += max(devices.values(), default=0) > 1
        num_asleep += any(context.asleep for context in run.contexts)
    assert num_shared > 20
    assert num_asleep > 20
