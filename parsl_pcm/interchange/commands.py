"""What the executor may ask: answers are plain data, with the keys that Parsl's tools expect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from parsl_pcm.core import events
from parsl_pcm.core.cluster import Cluster
from parsl_pcm.core.demand import describe_demand, keep_times_s, num_hosts_alone
from parsl_pcm.core.events import Event
from parsl_pcm.core.records import ContextRecord, HostRecord, ManagerRecord
from parsl_pcm.core.rooms import whole_room
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


def answer(command: Command, scheduler: Scheduler, peers: Peers, now: float) -> Any:
    """Return the answer to a command of the executor; an order was carried out before.

    Raises
    ------
    ProtocolError
        If there is no such command.
    """
    cluster = scheduler.cluster
    value: Any
    match command.name:
        case "HOLD_MANAGER" | "EVICT":
            value = None
        case "WARM":
            _, _, key = (command.argument or "").partition(" ")
            value = describe_warm(cluster, cluster.contexts[ContextKey(key)])
        case "MANAGERS":
            value = describe_managers(cluster, peers, now)
        case "MANAGERS_PACKAGES":
            value = {peer.manager_id: peer.registration.packages for peer in peers.all()}
        case "CONNECTED_BLOCKS":
            value = peers.blocks_seen
        case "CONTEXTS":
            value = describe_contexts(cluster)
        case "DEMAND":
            value = describe_demand(cluster, scheduler.policy, now)
        case _:
            raise ProtocolError(f"unknown command: {command.name!r}")
    return value


def describe_managers(cluster: Cluster, peers: Peers, now: float) -> list[dict[str, Any]]:
    """Return one dictionary for each manager, with HighThroughputExecutor's keys and ours."""
    kept = keep_times_s(cluster)
    return [
        _describe_manager(manager, peer, _idle_s(manager, kept.get(peer.manager_id, 0.0), now))
        for peer in peers.all()
        if (manager := cluster.managers.get(peer.manager_id)) is not None
    ]


def _idle_s(manager: ManagerRecord, keep_s: float, now: float) -> float:
    """Return for how long a node could have been given back: 0.0 while it is to be kept."""
    idle_s = 0.0 if manager.num_leases else now - manager.idle_since
    return idle_s if idle_s >= keep_s else 0.0


def _describe_manager(manager: ManagerRecord, peer: Peer, idle_s: float) -> dict[str, Any]:
    registration = peer.registration
    return {
        "manager": manager.manager_id,
        "block_id": manager.block_id,
        "worker_count": len(manager.hosts),
        "tasks": manager.num_leases,
        "idle_duration": idle_s,
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
    present = [*hosts, *context.asleep.values()]
    num_held = sum(host.load for host in hosts)
    num_running = sum(len(host.running()) for host in hosts)
    most = context.memory.anywhere()
    return {
        "name": context.name,
        "context_key": context.context_key,
        "variants": Counter(context.names[host.variant] for host in present if context.variants),
        "devices": _count_devices(present),
        "loading": context.num_starting,
        "warm": _num_live(context),
        "asleep": len(context.asleep),
        "held_warm": context.num_warm,
        "queued": context.num_waiting + num_held - num_running,
        "running": num_running,
        "gpu_memory_bytes": most.gpu_memory_bytes or None,
        "host_memory_bytes": most.host_memory_bytes or None,
        "setup_s": context.setup_s.value,
        "wake_s": context.wake_s.value,
        "item_s": context.service_s.value,
        "hits": context.num_hits,
        "loads": context.num_loads,
        "deaths": context.num_deaths,
        "trouble": context.trouble,
    }


def describe_warm(cluster: Cluster, context: ContextRecord) -> dict[str, Any]:
    """Return what there is of a context, and how many of its hosts each node could hold."""
    nodes = [each for each in cluster.managers.values() if each.state is ManagerState.ACTIVE]
    return {
        "name": context.name,
        "ways": msgspec.to_builtins(context.ways),
        "warm": _num_live(context),
        "coming": context.num_coming,
        "nodes": [num_hosts_alone(whole_room(node.resources), context) for node in nodes],
        "num_blocks": len({node.block_id for node in nodes}),
    }


def _count_devices(hosts: Iterable[HostRecord]) -> Counter[str]:
    """Return how many devices hosts are on, by name: one that they share counts once."""
    name_of: dict[tuple[ManagerId, int | None], str] = {}
    for host in hosts:
        manager, positions = host.manager, host.device_positions or (None,)
        names = manager.device_names(host.device_positions)
        for position, name in zip(positions, names, strict=True):
            name_of[manager.manager_id, position] = name
    return Counter(name_of.values())


def _num_live(context: ContextRecord) -> int:
    return sum(host.state is HostState.READY for host in context.hosts.values())
