"""What must hold between any two steps of the scheduler. Called by tests and by replays."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from parsl_pcm.core.cluster import Cluster
from parsl_pcm.core.records import (
    ContextRecord,
    HostRecord,
    LeaseRecord,
    ManagerRecord,
    PieceRecord,
    TaskRecord,
)
from parsl_pcm.core.rooms import RESERVE_PARTS, Room, taken, whole_room
from parsl_pcm.core.transitions import HostState, ManagerState
from parsl_pcm.types import TaskId

SERVING = (HostState.STARTING, HostState.READY, HostState.WAKING)
"""States in which a context counts on a host."""
GOING = (HostState.READY, HostState.DOZING, HostState.STOPPING)
"""States in which a host may have to make room for another one."""


def check(cluster: Cluster) -> None:
    """Raise AssertionError, naming the record, if an invariant is broken. Takes linear time."""
    _check_items(cluster)
    _check_leases(cluster)
    for host in cluster.hosts.values():
        _check_host(cluster, host)
    for context in cluster.contexts.values():
        _check_context(cluster, context)
    _check_capacity(cluster)
    _check_roll(cluster)
    for manager in cluster.managers.values():
        _check_leaving(manager)


def _check_items(cluster: Cluster) -> None:
    """Nothing is lost: each item of an open task is over, leased or waiting, once."""
    pieces_of: dict[TaskId, list[PieceRecord]] = {task_id: [] for task_id in cluster.tasks}
    for piece in _pieces(cluster):
        if piece.task.is_open:
            pieces_of[piece.task.task_id].append(piece)
    for task in cluster.tasks.values():
        assert task.is_open, task.task_id
        pieces = sorted(pieces_of[task.task_id], key=lambda piece: piece.start)
        assert all(a.stop <= b.start for a, b in pairwise(pieces)), _story(task)
        num_held = sum(piece.num_items for piece in pieces)
        assert task.num_delivered + num_held == task.num_items, _story(task)


def _pieces(cluster: Cluster) -> Iterator[PieceRecord]:
    """Yield what waits, and what is leased and not done yet, each piece once."""
    for context in cluster.contexts.values():
        yield from context.backlog.pieces()
        yield from context.suspects.pieces()
    leased = dict.fromkeys(lease.piece for lease in cluster.leases.values())
    yield from (piece for piece in leased if piece.start < piece.stop)


def _check_leases(cluster: Cluster) -> None:
    """Nothing is leased twice but what is raced, and a race ends with its piece."""
    leases_of: dict[PieceRecord, list[LeaseRecord]] = {}
    for lease in cluster.leases.values():
        leases_of.setdefault(lease.piece, []).append(lease)
        _check_lease(lease)
    for piece, leases in leases_of.items():
        rivals = [lease.rival for lease in reversed(leases)]
        is_done = piece.start == piece.stop
        assert rivals == ([None] if len(leases) == 1 else leases), leases[0].lease_id
        assert not is_done or len(leases) == 1, leases[0].lease_id
        assert not is_done or leases[0].is_revoking, f"lease {leases[0].lease_id} lost and runs on"


def _check_lease(lease: LeaseRecord) -> None:
    piece = lease.piece
    assert lease.host.leases[lease.lease_id] is lease, lease.lease_id
    assert piece.task.leases[lease.lease_id] is lease, lease.lease_id
    assert lease.next_item <= piece.start <= piece.stop, lease.lease_id
    assert lease.next_item < piece.stop, lease.lease_id
    assert not piece.parts, lease.lease_id
    if lease.rival is not None:
        assert piece.task.is_mapped, lease.lease_id
        assert lease.was_raced, lease.lease_id
        assert lease.rival.host is not lease.host, lease.lease_id


def _story(task: TaskRecord) -> str:
    return (
        f"task {task.task_id}: {task.num_delivered} of {task.num_items} items are over, "
        f"{len(task.leases)} leases"
    )


def _check_host(cluster: Cluster, host: HostRecord) -> None:
    assert host.state is not HostState.GONE, host.host_id
    assert host.manager.hosts[host.host_id] is host, host.host_id
    assert all(cluster.leases[lease_id].host is host for lease_id in host.leases), host.host_id
    assert not host.leases or host.state is HostState.READY, host.host_id
    assert not host.is_exclusive or host.load == 1, f"host {host.host_id} runs a suspect not alone"
    num_items = sum(lease.piece.stop - lease.next_item for lease in host.leases.values())
    assert host.num_items == num_items, host.host_id
    running = host.running()
    assert all(lease.started_at is not None for lease in running), host.host_id
    is_available = (
        host.manager.state is ManagerState.ACTIVE
        and not host.is_out_of_time
        and not host.is_leaving
    )
    is_serving = is_available and host.state in SERVING
    assert (host.host_id in host.context.hosts) == is_serving, host.host_id
    takes_pieces = (
        is_available
        and host.state is HostState.READY
        and not host.is_exclusive
        and host.context.reserved is not host
    )
    assert (host.host_id in host.context.loads) == takes_pieces, host.host_id
    assert (host.host_id in cluster.idle) == (takes_pieces and host.load == 0), host.host_id
    is_asleep = host.state is HostState.ASLEEP
    is_known_asleep = is_asleep and host.manager.state is ManagerState.ACTIVE
    assert (host.host_id in host.context.asleep) == is_known_asleep, host.host_id
    is_on_its_way_out = host.state is HostState.STOPPING
    assert is_asleep or is_on_its_way_out or host.claim == host.awake_claim, host.host_id
    assert not is_asleep or (host.claim.cores, host.claim.num_hosts) == (0.0, 0), host.host_id
    is_promised = host.promised_to is not None
    assert not is_promised or host.state in GOING, f"host {host.host_id} is promised and stays"
    is_free_to_go = host.state is HostState.READY and host.load == 0
    assert not host.is_leaving or not is_free_to_go, f"host {host.host_id} does not leave"


def _check_context(cluster: Cluster, context: ContextRecord) -> None:
    states = Counter(host.state for host in context.hosts.values())
    num_starting = states[HostState.STARTING] + states[HostState.WAKING]
    assert context.num_starting == num_starting, context.name
    num_promised = sum(host.promised_to is context for host in cluster.hosts.values())
    assert context.num_promised == num_promised, context.name
    tasks = [task for task in cluster.tasks.values() if task.context is context]
    num_open = sum(task.num_items - task.num_delivered for task in tasks)
    assert context.num_open_items == num_open, context.name
    assert context.num_mapped == sum(task.is_mapped for task in tasks), context.name
    for queue in (context.backlog, context.suspects):
        pieces = queue.pieces()
        assert len(queue) == len(pieces), context.name
        assert all(piece.is_wanted for piece in pieces), context.name
        assert queue.num_items == sum(piece.num_items for piece in pieces), context.name
    rates = [host.rate for host in context.hosts.values() if host.rate]
    assert context.num_rated == len(rates), context.name
    assert math.isclose(context.total_rate, math.fsum(rates), rel_tol=1e-6), context.name


def _check_capacity(cluster: Cluster) -> None:
    """No node is given away twice, but for what was measured later."""
    for manager in cluster.managers.values():
        room = granted = whole_room(manager.resources)
        for host in manager.hosts.values():
            room = taken(room, host.claim, host.device_positions)
            granted = taken(granted, host.granted, host.device_positions)
        assert room == cluster.capacity.room(manager), manager.manager_id
        assert granted.num_hosts >= 0, manager.manager_id
        assert granted.cores >= 0, manager.manager_id
        assert granted.memory_bytes >= 0, manager.manager_id
        for position in range(len(granted.devices)):
            _check_device(manager, granted, position)
        num_leases = sum(host.load for host in manager.hosts.values())
        assert manager.num_leases == num_leases, manager.manager_id


def _check_device(manager: ManagerRecord, granted: Room, position: int) -> None:
    """Hosts that share a device leave the reserve free."""
    claims = [
        host.granted
        for host in manager.hosts.values()
        if position in host.device_positions and host.granted.gpu_memory_bytes != 0
    ]
    device = granted.devices[position]
    if None in [claim.gpu_memory_bytes for claim in claims]:
        assert sum(claim.is_awake for claim in claims) == 1, (manager.manager_id, position)
        assert device.free_bytes == 0, (manager.manager_id, position)
        return
    reserve_bytes = device.total_bytes // RESERVE_PARTS if len(claims) > 1 else 0
    free_bytes = device.free_bytes - device.asleep_bytes
    assert free_bytes >= reserve_bytes, (manager.manager_id, position)


def _check_roll(cluster: Cluster) -> None:
    """Check what is kept of managers so that nobody has to look at all of them."""
    roll, managers = cluster.roll, cluster.managers
    active = [m for m in managers.values() if m.state is ManagerState.ACTIVE]
    assert roll.unused.keys() == {m.manager_id for m in active if not m.num_leases}
    assert len(roll.lifetimes) == len(active)
    assert roll.num_ending == sum(m.whole_s != math.inf for m in managers.values())
    assert roll.by_silence.keys() == managers.keys()
    heard = [manager.last_heard for manager in roll.by_silence.values()]
    assert heard == sorted(heard)


def _check_leaving(manager: ManagerRecord) -> None:
    """Nobody waits for a host on a node that leaves, and a node without work does leave."""
    if manager.state is ManagerState.ACTIVE:
        assert not manager.is_closing, manager.manager_id
        return
    states = [host.state for host in manager.hosts.values()]
    assert not set(states) - {HostState.READY, HostState.STOPPING}, manager.manager_id
    if manager.state is ManagerState.DRAINING:
        assert manager.is_dismissed == (manager.num_leases == 0), manager.manager_id
