"""What the executor may ask: answers are plain data, with the keys that Parsl's tools expect."""

from __future__ import annotations

from typing import Any

import msgspec

from parsl_pcm.core import events
from parsl_pcm.core.cluster import Cluster
from parsl_pcm.core.demand import ContextDemand, block_uses, context_demands
from parsl_pcm.core.events import Event
from parsl_pcm.core.policy import Policy
from parsl_pcm.core.records import ContextRecord, ManagerRecord
from parsl_pcm.core.scheduler import Scheduler
from parsl_pcm.core.transitions import HostState, ManagerState
from parsl_pcm.interchange.peers import Peer, Peers
from parsl_pcm.types import ContextKey, ManagerId
from parsl_pcm.wire.codec import ProtocolError
from parsl_pcm.wire.messages import Command


def order_of(command: Command) -> Event | None:
    """Return the event of an order of the executor; None if it is a question.

    A WARM order has the number of hosts, then the key of the context, as ``"3 <key>"``.
    """
    argument = command.argument or ""
    match command.name:
        case "HOLD_MANAGER":
            return events.ManagerHeld(manager_id=ManagerId(argument))
        case "WARM":
            num_hosts, _, key = argument.partition(" ")
            return events.WarmRequested(context_key=ContextKey(key), num_hosts=int(num_hosts))
        case "EVICT":
            return events.EvictRequested(context_key=ContextKey(argument))
        case _:
            return None


def answer(question: str, scheduler: Scheduler, peers: Peers, now: float) -> Any:
    """Return the answer to a question of the executor.

    Raises
    ------
    ProtocolError
        If there is no such question.
    """
    cluster = scheduler.cluster
    match question:
        case "MANAGERS":
            return describe_managers(cluster, peers, now)
        case "MANAGERS_PACKAGES":
            return {peer.manager_id: peer.registration.packages for peer in peers.all()}
        case "CONNECTED_BLOCKS":
            return peers.blocks_seen
        case "CONTEXTS":
            return describe_contexts(cluster)
        case "DEMAND":
            return describe_demand(cluster, scheduler.policy, now)
        case _:
            raise ProtocolError(f"unknown command: {question!r}")


def describe_managers(cluster: Cluster, peers: Peers, now: float) -> list[dict[str, Any]]:
    """Return one dictionary for each manager, with HighThroughputExecutor's keys and ours."""
    return [
        _describe_manager(cluster.managers[peer.manager_id], peer, now)
        for peer in peers.all()
        if peer.manager_id in cluster.managers
    ]


def _describe_manager(manager: ManagerRecord, peer: Peer, now: float) -> dict[str, Any]:
    registration = peer.registration
    return {
        "manager": manager.manager_id,
        "block_id": manager.block_id,
        "worker_count": len(manager.hosts),
        "tasks": manager.num_leases,
        "idle_duration": 0.0 if manager.num_leases else now - manager.idle_since,
        "active": manager.state is ManagerState.ACTIVE,
        "draining": manager.state is ManagerState.DRAINING,
        "parsl_version": registration.parsl_version,
        "python_version": registration.python_version,
        "hostname": registration.hostname,
        "devices": [device.name for device in manager.resources.devices],
        "contexts": sorted({host.context.name for host in manager.hosts.values()}),
    }


def describe_contexts(cluster: Cluster) -> list[dict[str, Any]]:
    """Return one dictionary for each declared context."""
    return [_describe_context(context) for context in cluster.contexts.values()]


def _describe_context(context: ContextRecord) -> dict[str, Any]:
    hosts = context.hosts.values()
    num_held = sum(host.load for host in hosts)
    num_running = sum(len(host.running()) for host in hosts)
    return {
        "name": context.name,
        "context_key": context.context_key,
        "loading": context.num_starting,
        "warm": sum(host.state is HostState.READY for host in hosts),
        "queued": context.num_waiting + num_held - num_running,
        "running": num_running,
        "setup_s": context.setup_s.value,
        "item_s": context.service_s.value,
    }


def describe_demand(cluster: Cluster, policy: Policy, now: float) -> dict[str, Any]:
    """Return what the contexts could use, and what each block does."""
    return {
        "contexts": [_describe_demand(demand) for demand in context_demands(cluster, policy, now)],
        "blocks": [use._asdict() for use in block_uses(cluster, now)],
    }


def _describe_demand(demand: ContextDemand) -> dict[str, Any]:
    context = demand.context
    return {
        "name": context.name,
        "context_key": context.context_key,
        "requirements": msgspec.to_builtins(context.requirements),
        "num_wanted": demand.num_wanted,
        "num_hosts": demand.num_hosts,
        "num_open": demand.num_open,
        "setup_s": context.setup_s.value,
        "item_s": context.service_s.value,
    }
