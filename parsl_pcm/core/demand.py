"""What the work could use, and what each block does: told to whoever asks the site for blocks.

Its cost grows with contexts, hosts and managers, never with tasks: it is asked every second or so.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from parsl_pcm.core.cluster import Cluster
from parsl_pcm.core.policy import Policy
from parsl_pcm.core.records import ContextRecord, ManagerRecord
from parsl_pcm.core.transitions import HostState
from parsl_pcm.types import BlockId, ContextKey


class ContextDemand(NamedTuple):
    """What one context could use now."""

    context: ContextRecord
    num_wanted: int
    """Hosts that could share its open work, in total."""
    num_hosts: int
    """Hosts that take its pieces or will soon; not those that only finish what they hold."""
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


def context_demands(cluster: Cluster, policy: Policy, now: float) -> list[ContextDemand]:
    """Return an entry for each context that has open work or hosts."""
    leaving: Counter[ContextKey] = Counter()
    for host in cluster.hosts.values():
        if host.num_items and host.host_id not in host.context.hosts:
            leaving[host.context.context_key] += host.num_items
    demands = []
    for context in cluster.contexts.values():
        num_open = max(0, context.num_open_items - leaving[context.context_key])
        if num_open or context.num_hosts:
            num_wanted = policy.hosts_wanted(context, num_open, now) if num_open else 0
            demands.append(ContextDemand(context, num_wanted, context.num_hosts, num_open))
    return demands


def block_uses(cluster: Cluster, now: float) -> list[BlockUse]:
    """Return an entry for each block that has a manager, in the order in which they came."""
    managers_of: dict[BlockId, list[ManagerRecord]] = {}
    for manager in cluster.managers.values():
        managers_of.setdefault(manager.block_id, []).append(manager)
    return [_use(block_id, managers, now) for block_id, managers in managers_of.items()]


def _use(block_id: BlockId, managers: list[ManagerRecord], now: float) -> BlockUse:
    hosts = [host for manager in managers for host in manager.hosts.values()]
    num_leases = sum(manager.num_leases for manager in managers)
    measured = [
        host.context.setup_s.value
        for host in hosts
        if host.state is HostState.READY and host.context.setup_s.value is not None
    ]
    return BlockUse(
        block_id=block_id,
        num_managers=len(managers),
        num_leases=num_leases,
        num_starting=sum(host.state is HostState.STARTING for host in hosts),
        idle_s=0.0 if num_leases else now - max(manager.idle_since for manager in managers),
        setup_s=max(measured, default=None),
    )
