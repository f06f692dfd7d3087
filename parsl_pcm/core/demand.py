"""What the work could use, and what each block does: told to whoever asks the site for blocks.

Its cost grows with contexts, hosts and managers, never with tasks: it is asked every second or so.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from parsl_pcm.core.cluster import Cluster
from parsl_pcm.core.policy import Policy
from parsl_pcm.core.records import ContextRecord, ManagerRecord
from parsl_pcm.core.rooms import Room, fit, taken
from parsl_pcm.core.transitions import HostState
from parsl_pcm.types import BlockId, ContextKey, ManagerId

MOST_HOSTS = 1000
"""Of one context on a node: more processes than that are no use to anybody."""
COMING = (HostState.STARTING, HostState.WAKING)


class ContextDemand(NamedTuple):
    """What one context could use now; its ``ways`` say on which devices."""

    context: ContextRecord
    num_wanted: int
    """Hosts that could share its open work, in total, or those that shall be warm if more."""
    num_hosts: int
    """Hosts that take its pieces, will soon, or sleep and can wake up where they are.

    Not those that only finish what they hold: their node goes, or their place is wanted.
    """
    num_open: int
    """Its items that wait, or are leased to those hosts."""


class BlockUse(NamedTuple):
    """What goes on in one block."""

    block_id: BlockId
    num_managers: int
    num_leases: int
    num_starting: int
    """Hosts that are being built."""
    idle_s: float
    """Seconds since its last lease ended, or since it came; 0.0 while it has leases."""
    setup_s: float | None
    """Mean set-up time of the context warm there that takes longest; None: nothing is warm."""
    keep_warm_s: float = 0.0
    """How long it is to be kept without work, for the sake of its hosts."""


def describe_demand(cluster: Cluster, policy: Policy, now: float) -> dict[str, Any]:
    """Return what the contexts could use, and what each block does, as plain data."""
    return {
        "contexts": [
            _describe_demand(demand, cluster) for demand in context_demands(cluster, policy, now)
        ],
        "blocks": [use._asdict() for use in block_uses(cluster, now)],
    }


def _describe_demand(demand: ContextDemand, cluster: Cluster) -> dict[str, Any]:
    context = demand.context
    return {
        "name": context.name,
        "context_key": context.context_key,
        "ways": msgspec.to_builtins(context.ways),
        "num_wanted": demand.num_wanted,
        "num_warm": context.num_warm,
        "hosts_per_gpu": hosts_per_gpu(cluster.capacity.kinds(), context),
        "num_hosts": demand.num_hosts,
        "num_open": demand.num_open,
        "setup_s": context.setup_s.value,
        "item_s": context.service_s.value,
    }


def context_demands(cluster: Cluster, policy: Policy, now: float) -> list[ContextDemand]:
    """Return an entry for each context that has open work or hosts, or shall be warm."""
    leaving: Counter[ContextKey] = Counter()
    for host in cluster.hosts.values():
        if host.num_items and host.host_id not in host.context.hosts:
            leaving[host.context.context_key] += host.num_items
    can_wake = cluster.capacity.fits_back
    demands = []
    for context in cluster.contexts.values():
        num_open = max(0, context.num_open_items - leaving[context.context_key])
        num_hosts = context.num_hosts + sum(map(can_wake, context.asleep.values()))
        if num_open or num_hosts or context.num_warm:
            num_useful = policy.hosts_wanted(context, num_open, now) if num_open else 0
            num_wanted = max(num_useful, context.num_warm)
            demands.append(ContextDemand(context, num_wanted, num_hosts, num_open))
    return demands


def block_uses(cluster: Cluster, now: float) -> list[BlockUse]:
    """Return an entry for each block that has a manager, in the order in which they came."""
    managers_of: dict[BlockId, list[ManagerRecord]] = {}
    for manager in cluster.managers.values():
        managers_of.setdefault(manager.block_id, []).append(manager)
    kept = keep_times_s(cluster)
    return [_use(block_id, managers, kept, now) for block_id, managers in managers_of.items()]


def _use(
    block_id: BlockId, managers: list[ManagerRecord], kept: Mapping[ManagerId, float], now: float
) -> BlockUse:
    num_leases = num_starting = 0
    idle_since = -math.inf
    keep_s = 0.0
    setups_s = []
    for manager in managers:
        num_leases += manager.num_leases
        idle_since = max(idle_since, manager.idle_since)
        keep_s = max(keep_s, kept.get(manager.manager_id, 0.0))
        for host in manager.hosts.values():
            if host.state is HostState.READY:
                setups_s.append(host.context.setup_s.value)
            elif host.state in COMING:
                num_starting += 1
    return BlockUse(
        block_id=block_id,
        num_managers=len(managers),
        num_leases=num_leases,
        num_starting=num_starting,
        idle_s=0.0 if num_leases else now - idle_since,
        setup_s=max((seconds for seconds in setups_s if seconds is not None), default=None),
        keep_warm_s=keep_s,
    )


def keep_times_s(cluster: Cluster) -> dict[ManagerId, float]:
    """Return how long each node is to be kept after its last lease, for the sake of its hosts.

    For ever if one of them is held warm: of each context the oldest, as many as were asked for.
    """
    kept: dict[ManagerId, float] = defaultdict(float)
    for context in cluster.contexts.values():
        for rank, host in enumerate(context.hosts.values()):
            wish_s = host.requirements.keep_warm_s or 0.0
            keep_s = math.inf if rank < context.num_warm else wish_s
            node = host.manager.manager_id
            kept[node] = max(kept[node], keep_s)
    return kept


def num_hosts_alone(room: Room, context: ContextRecord) -> int:
    """Return how many hosts of a context fit into a room; no more are counted than a node has."""
    for num_hosts in range(MOST_HOSTS):
        spot = fit(room, context)
        if spot is None:
            return num_hosts
        room = taken(room, spot.claim, spot.device_positions)
    return MOST_HOSTS


def hosts_per_gpu(kinds: Iterable[Room], context: ContextRecord) -> float | None:
    """Return how many hosts of a context a GPU of the nodes that were ever there holds.

    None for a context that is built without GPUs, and before a node with one came.
    """
    rooms = [room for room in kinds if room.devices] if context.requirements.gpus else []
    num_hosts = sum(num_hosts_alone(room, context) for room in rooms)
    return num_hosts / sum(len(room.devices) for room in rooms) if rooms else None
