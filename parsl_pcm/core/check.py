"""What must hold between any two steps of the scheduler. Called by tests and by replays."""

from __future__ import annotations

from collections import Counter

from parsl_pcm.core.capacity import taken, whole_room
from parsl_pcm.core.cluster import Cluster
from parsl_pcm.core.records import ContextRecord, HostRecord, ManagerRecord, TaskRecord
from parsl_pcm.core.transitions import HostState, ManagerState
from parsl_pcm.types import TaskId


def check(cluster: Cluster) -> None:
    """Raise AssertionError, naming the record, if an invariant is broken. Takes linear time."""
    _check_items(cluster)
    for host in cluster.hosts.values():
        _check_host(cluster, host)
    for context in cluster.contexts.values():
        _check_context(cluster, context)
    _check_capacity(cluster)
    for manager in cluster.managers.values():
        _check_leaving(manager)


def _check_items(cluster: Cluster) -> None:
    """Nothing is lost: each item of an open task is delivered, leased or waiting, once."""
    num_held: Counter[TaskId] = Counter()
    for context in cluster.contexts.values():
        for piece in [*context.backlog.pieces(), *context.suspects.pieces()]:
            num_held[piece.task.task_id] += piece.stop - piece.start
    for lease in cluster.leases.values():
        num_held[lease.piece.task.task_id] += lease.piece.stop - lease.piece.start
        assert lease.host.leases[lease.lease_id] is lease, lease
        assert lease.piece.task.leases[lease.lease_id] is lease, lease
    for task in cluster.tasks.values():
        assert task.is_open, task.task_id
        assert task.num_delivered + num_held[task.task_id] == task.num_items, _story(task)


def _story(task: TaskRecord) -> str:
    return (
        f"task {task.task_id}: {task.num_delivered} of {task.num_items} items delivered, "
        f"{len(task.leases)} leases"
    )


def _check_host(cluster: Cluster, host: HostRecord) -> None:
    assert host.state is not HostState.GONE, host.host_id
    assert host.manager.hosts[host.host_id] is host, host.host_id
    assert all(cluster.leases[lease_id].host is host for lease_id in host.leases), host.host_id
    assert not host.leases or host.state is HostState.READY, host.host_id
    assert not host.is_exclusive or host.load == 1, f"host {host.host_id} runs a suspect not alone"
    num_items = sum(lease.piece.stop - lease.piece.start for lease in host.leases.values())
    assert host.num_items == num_items, host.host_id
    running = host.running()
    assert all(lease.started_at is not None for lease in running), host.host_id
    is_serving = (
        host.state in (HostState.STARTING, HostState.READY)
        and host.manager.state is ManagerState.ACTIVE
        and not host.is_out_of_time
    )
    assert (host.host_id in host.context.hosts) == is_serving, host.host_id
    takes_pieces = (
        host.state is HostState.READY
        and host.manager.state is ManagerState.ACTIVE
        and not host.is_exclusive
        and not host.is_out_of_time
        and host.context.reserved is not host
    )
    assert (host.host_id in host.context.loads) == takes_pieces, host.host_id
    assert (host.host_id in cluster.idle) == (takes_pieces and host.load == 0), host.host_id


def _check_context(cluster: Cluster, context: ContextRecord) -> None:
    states = Counter(host.state for host in context.hosts.values())
    assert context.num_starting == states[HostState.STARTING], context.name
    num_promised = sum(host.promised_to is context for host in cluster.hosts.values())
    assert context.num_promised == num_promised, context.name
    tasks = [task for task in cluster.tasks.values() if task.context is context]
    num_open = sum(task.num_items - task.num_delivered for task in tasks)
    assert context.num_open_items == num_open, context.name
    for queue in (context.backlog, context.suspects):
        pieces = queue.pieces()
        assert len(queue) == len(pieces), context.name
        assert all(piece.start < piece.stop for piece in pieces), context.name


def _check_capacity(cluster: Cluster) -> None:
    """No node is given away twice."""
    for manager in cluster.managers.values():
        room = whole_room(manager.resources)
        for host in manager.hosts.values():
            room = taken(room, host.context.requirements, host.device_positions)
        assert room == cluster.capacity.room(manager), manager.manager_id
        assert room.num_hosts >= 0, manager.manager_id
        assert room.cores >= 0, manager.manager_id
        assert room.memory_bytes >= 0, manager.manager_id
        assert all(device.free_bytes >= 0 for device in room.devices), manager.manager_id
        num_leases = sum(host.load for host in manager.hosts.values())
        assert manager.num_leases == num_leases, manager.manager_id


def _check_leaving(manager: ManagerRecord) -> None:
    """Nobody waits for a host on a node that leaves, and a node without work does leave."""
    if manager.state is ManagerState.ACTIVE:
        assert not manager.is_closing, manager.manager_id
        return
    states = [host.state for host in manager.hosts.values()]
    assert HostState.STARTING not in states, manager.manager_id
    if manager.state is ManagerState.DRAINING:
        assert manager.is_dismissed == (manager.num_leases == 0), manager.manager_id
