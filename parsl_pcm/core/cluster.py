"""The state of a run: every record, and the few ways to change them that keep them consistent.

Nothing is decided here. The scheduler decides and calls these; ``check.py`` says what must hold
between any two of its steps.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import islice

from parsl_pcm.core.capacity import Capacity, Place
from parsl_pcm.core.memory import Claim, Held, claim_asleep, claim_awake
from parsl_pcm.core.narrowing import Span
from parsl_pcm.core.records import (
    ContextRecord,
    HostRecord,
    LeaseRecord,
    ManagerRecord,
    PieceRecord,
    TaskRecord,
)
from parsl_pcm.core.roll import Roll
from parsl_pcm.core.speeds import count_rate, discount_rate
from parsl_pcm.core.transitions import (
    HOST_TRANSITIONS,
    MANAGER_TRANSITIONS,
    TASK_TRANSITIONS,
    HostState,
    ManagerState,
    TaskState,
    step,
)
from parsl_pcm.types import ContextKey, HostId, LeaseId, ManagerId, NodeResources, TaskId


class Cluster:
    """All records of a run.

    Parameters
    ----------
    possible_nodes
        Kinds of nodes that may still come.
    """

    def __init__(self, possible_nodes: Iterable[NodeResources] = ()) -> None:
        self.contexts: dict[ContextKey, ContextRecord] = {}
        self.tasks: dict[TaskId, TaskRecord] = {}
        """Open tasks."""
        self.leases: dict[LeaseId, LeaseRecord] = {}
        self.hosts: dict[HostId, HostRecord] = {}
        self.managers: dict[ManagerId, ManagerRecord] = {}
        self.now = 0.0
        """Time of the last event."""
        self.roll = Roll()
        self.capacity = Capacity(possible_nodes)
        self.idle: OrderedDict[HostId, HostRecord] = OrderedDict()
        """Ready hosts without a lease, the longest idle first."""
        self._last_host_id = 0
        self._last_lease_id = 0

    # --- tasks and pieces ---------------------------------------------------------------------

    def open_task(self, task: TaskRecord, now: float) -> None:
        """Take a task in, all of its items waiting."""
        self.tasks[task.task_id] = task
        task.context.num_mapped += task.is_mapped
        task.context.num_open_items += task.num_items
        self.enqueue(PieceRecord(task, 0, task.num_items), now)

    def close_task(self, task: TaskRecord, state: TaskState) -> None:
        """End a task; what waits of it is dropped, its leases stay until they are released."""
        task.state = step(TASK_TRANSITIONS, task.state, state)
        del self.tasks[task.task_id]
        task.context.num_mapped -= task.is_mapped
        task.context.num_open_items -= task.num_items - task.num_delivered
        task.context.backlog.forget(task)
        task.context.suspects.forget(task)

    def enqueue(self, piece: PieceRecord, now: float) -> None:
        """Let a piece wait at its place, if anybody still wants it."""
        if not piece.is_wanted:
            return
        context = piece.task.context
        if context.num_waiting == 0:
            context.last_leased = context.began_waiting = now
        (context.suspects if piece.is_suspect else context.backlog).push(piece)

    def take_first(self, context: ContextRecord, stop: int, now: float) -> PieceRecord:
        """Remove and return the first waiting piece; what of it begins at ``stop`` still waits."""
        backlog = context.backlog
        whole = backlog.first()
        if stop >= whole.stop:
            return backlog.pop()
        piece = backlog.replace_first(PieceRecord(whole.task, stop, whole.stop))
        piece.stop = stop
        if context.num_waiting == 1:
            context.began_waiting = now
        return piece

    def split(self, piece: PieceRecord, spans: Sequence[Span], now: float) -> None:
        """Let a piece that nobody holds wait in parts, under the same suspicion as before."""
        piece.parts = [PieceRecord(piece.task, *span, piece.num_kills) for span in spans]
        for part in piece.parts:
            self.enqueue(part, now)

    def count_delivered(self, task: TaskRecord, num_items: int) -> None:
        """Note that so many items of a task are over."""
        task.num_delivered += num_items
        task.context.num_open_items -= num_items

    # --- leases -------------------------------------------------------------------------------

    def lease(self, piece: PieceRecord, host: HostRecord, now: float) -> LeaseRecord:
        """Record a host's claim on a piece."""
        self._last_lease_id += 1
        lease = LeaseRecord(LeaseId(self._last_lease_id), piece, host, piece.start)
        self.leases[lease.lease_id] = lease
        host.leases[lease.lease_id] = lease
        piece.task.leases[lease.lease_id] = lease
        self.roll.begin_lease(host.manager)
        host.num_items += piece.stop - piece.start
        host.was_used = True
        if len(host.leases) <= host.requirements.max_concurrency:
            lease.started_at = now
        context = host.context
        context.num_hits += host.ready_since < now
        context.last_leased = now
        host.is_exclusive = piece.is_suspect
        self.offer(host, now)
        return lease

    def race(self, lease: LeaseRecord, rival: LeaseRecord) -> None:
        """Note that two hosts have the same piece."""
        lease.rival, rival.rival = rival, lease
        lease.was_raced = rival.was_raced = True

    def advance(self, lease: LeaseRecord, stop: int, now: float) -> int:
        """Note that the items of a lease before ``stop`` are done; the host goes on with the rest.

        Return the first of them that was not delivered before (``stop``: there is none). If anybody
        still wants them, they count as delivered.
        """
        piece = lease.piece
        lease.host.num_items -= stop - lease.next_item
        lease.next_item = stop
        lease.has_reported = True
        lease.started_at = now
        first = min(piece.start, stop)
        if first < stop:
            piece.start = stop
            piece.num_kills = 0
            if piece.task.is_open:
                self.count_delivered(piece.task, stop - first)
        return first

    def release(self, lease: LeaseRecord, now: float) -> None:
        """End a host's claim on a piece."""
        host = lease.host
        host.num_items -= lease.piece.stop - lease.next_item
        if lease.rival is not None:
            lease.rival.rival = None
            lease.rival = None
        del self.leases[lease.lease_id]
        del host.leases[lease.lease_id]
        del lease.piece.task.leases[lease.lease_id]
        host.is_exclusive = False
        self.roll.end_lease(host.manager, now)
        concurrency = host.requirements.max_concurrency
        if len(host.leases) >= concurrency:  # the first of those that waited runs now
            runs_now = next(islice(host.leases.values(), concurrency - 1, None))
            if runs_now.started_at is None:
                runs_now.started_at = now
        self.offer(host, now)

    def give_back(self, lease: LeaseRecord, now: float) -> None:
        """End a host's claim on a piece; the rest waits again, unless a rival has it."""
        is_held = lease.rival is not None
        self.release(lease, now)
        if not is_held:
            self.enqueue(lease.piece, now)

    # --- hosts --------------------------------------------------------------------------------

    def add_host(self, context: ContextRecord, place: Place) -> HostRecord:
        """Record a host that is about to be started."""
        self._last_host_id += 1
        manager, positions, variant, claim = place
        host_id = HostId(self._last_host_id)
        host = HostRecord(host_id, context, manager, positions, variant, claim)
        host.started_at = self.now
        self.hosts[host.host_id] = host
        context.hosts[host.host_id] = host
        host.manager.hosts[host.host_id] = host
        context.num_starting += 1
        context.num_loads += 1
        self.capacity.occupy(host)
        return host

    def host_ready(self, host: HostRecord, now: float) -> None:
        """Note that the context of a host is live."""
        self._go_live(host, now)
        context = host.context
        context.num_ready_ever += 1
        context.num_setup_deaths = 0
        context.quarantine.forget(host.manager.manager_id)  # it can be built there after all

    def host_awake(self, host: HostRecord, now: float) -> None:
        """Note that the context of a host is live again."""
        self._go_live(host, now)
        count_rate(host)

    def _go_live(self, host: HostRecord, now: float) -> None:
        host.state = step(HOST_TRANSITIONS, host.state, HostState.READY)
        host.ready_since = now
        host.context.num_starting -= 1
        self.offer(host, now)

    def host_dozing(self, host: HostRecord) -> None:
        """Note that an idle host was asked to sleep; it keeps its share until it does."""
        host.state = step(HOST_TRANSITIONS, host.state, HostState.DOZING)
        self._withdraw(host)

    def host_asleep(self, host: HostRecord, held: Held) -> ContextRecord | None:
        """Note that the context of a host sleeps; return for whom it did so, if for anybody."""
        host.state = step(HOST_TRANSITIONS, host.state, HostState.ASLEEP)
        self.capacity.change_claim(host, claim_asleep(host.requirements, held))
        least_bytes = min(host.granted.host_memory_bytes, host.claim.host_memory_bytes)
        host.granted = Claim(host_memory_bytes=least_bytes)
        favoured = host.promised_to
        if favoured is not None:
            favoured.num_promised -= 1
        host.promised_to = None
        host.is_leaving = False
        if host.manager.state is ManagerState.ACTIVE:
            host.context.asleep[host.host_id] = host
        return favoured

    def host_waking(self, host: HostRecord) -> None:
        """Note that a host was asked to wake up: it has its whole share again."""
        host.state = step(HOST_TRANSITIONS, host.state, HostState.WAKING)
        del host.context.asleep[host.host_id]
        host.context.hosts[host.host_id] = host
        host.context.num_starting += 1
        self.capacity.change_claim(host, host.awake_claim)
        host.granted = host.claim

    def host_stopping(self, host: HostRecord) -> None:
        """Note that a host was asked to end; it keeps its share of the node until it has."""
        self._count_no_more_as_coming(host)
        host.state = step(HOST_TRANSITIONS, host.state, HostState.STOPPING)
        self._withdraw(host)

    def remove_host(self, host: HostRecord, now: float) -> None:
        """Forget a host whose process is gone; what it held waits again."""
        self._count_no_more_as_coming(host)
        host.state = step(HOST_TRANSITIONS, host.state, HostState.GONE)
        if host.promised_to is not None:
            host.promised_to.num_promised -= 1
        self._withdraw(host)
        self.capacity.vacate(host)
        del self.hosts[host.host_id]
        del host.manager.hosts[host.host_id]
        for lease in list(host.leases.values()):
            self.give_back(lease, now)

    def _count_no_more_as_coming(self, host: HostRecord) -> None:
        host.context.num_starting -= host.state in (HostState.STARTING, HostState.WAKING)

    def promise(self, host: HostRecord, newcomer: ContextRecord) -> None:
        """Note for whom the place of a host is that is about to leave, sleep or end."""
        if host.promised_to is None:
            host.promised_to = newcomer
            newcomer.num_promised += 1
            if host.context.hosts.keys() == {host.host_id}:
                host.context.gave_way_at = self.now

    def reclaim(self, host: HostRecord, newcomer: ContextRecord) -> None:
        """Promise the place of a ready host: it gets no new piece, and finishes what it holds."""
        self.promise(host, newcomer)
        host.is_leaving = True
        self._withdraw(host)

    def keep(self, host: HostRecord) -> None:
        """Let a ready host stay that was promised to a context which does not need it any more."""
        if host.promised_to is not None:
            host.promised_to.num_promised -= 1
            host.promised_to = None
        host.is_leaving = False
        if host.manager.state is ManagerState.ACTIVE and not host.is_out_of_time:
            host.context.hosts[host.host_id] = host
            count_rate(host)
        self.offer(host, self.now)

    def measure(self, host: HostRecord, held: Held) -> bool:
        """Take in what a host holds while awake; say whether there is less than it holds."""
        context, way = host.context, host.requirements
        names = host.manager.device_names(host.device_positions)
        context.memory.add(host.variant, names, held)
        most = context.memory.on_all(host.variant, names)
        host.awake_claim = claim_awake(way, most)
        is_awake = host.state not in (HostState.ASLEEP, HostState.STOPPING)
        if not is_awake or host.claim == host.awake_claim:
            return False
        self.capacity.change_claim(host, host.awake_claim)
        return self.capacity.is_overdrawn(host)

    def reserve(self, host: HostRecord) -> None:
        """Offer a host to no piece until it is idle."""
        host.context.reserved = host
        host.context.loads.discard(host)

    def offer(self, host: HostRecord, now: float) -> None:
        """Bring the lists of hosts that may get a piece up to date with the load of this one."""
        context = host.context
        has_work = bool(host.leases)
        self.idle.pop(host.host_id, None)
        if host.is_out_of_time:
            self._take_back_in(host)
        if not has_work:
            host.idle_since = now
            if context.reserved is host:
                context.reserved = None
        if self._may_get_pieces(host):
            context.loads.put(host)
            if not has_work:
                self.idle[host.host_id] = host
        else:
            context.loads.discard(host)

    def _may_get_pieces(self, host: HostRecord) -> bool:
        if host.state is not HostState.READY or host.manager.state is not ManagerState.ACTIVE:
            return False
        return not (host.is_exclusive or host.is_leaving) and host.context.reserved is not host

    def set_aside(self, host: HostRecord) -> None:
        """Offer a host to no piece, since its node ends too soon; until one of its leases ends.

        Its context counts it no more: what waits needs another host.
        """
        host.is_out_of_time = True
        self._withdraw(host)

    def _take_back_in(self, host: HostRecord) -> None:
        host.is_out_of_time = False
        is_active = host.manager.state is ManagerState.ACTIVE
        if host.state is HostState.READY and is_active and not host.is_leaving:
            host.context.hosts[host.host_id] = host
            count_rate(host)

    def _withdraw(self, host: HostRecord) -> None:
        context = host.context
        discount_rate(host)
        context.hosts.pop(host.host_id, None)
        context.asleep.pop(host.host_id, None)
        context.loads.discard(host)
        if context.reserved is host:
            context.reserved = None
        self.idle.pop(host.host_id, None)

    # --- managers -----------------------------------------------------------------------------

    def add_manager(self, manager: ManagerRecord) -> None:
        """Record a node with nothing on it."""
        self.managers[manager.manager_id] = manager
        self.roll.add(manager)
        self.capacity.add(manager)

    def close_manager(self, manager: ManagerRecord, state: ManagerState) -> None:
        """Offer nothing on this node to anybody any more; what runs there goes on.

        None of its hosts may be starting: nobody would use it.
        """
        manager.state = step(MANAGER_TRANSITIONS, manager.state, state)
        self.roll.close(manager)
        self.capacity.close(manager)
        self._forget_quarantine(manager)
        for host in manager.hosts.values():
            self._withdraw(host)

    def remove_manager(self, manager: ManagerRecord, now: float) -> None:
        """Forget a node with all its hosts."""
        manager.state = step(MANAGER_TRANSITIONS, manager.state, ManagerState.GONE)
        del self.managers[manager.manager_id]
        for host in list(manager.hosts.values()):
            self.remove_host(host, now)
        self.roll.remove(manager)
        self.capacity.remove(manager)
        self._forget_quarantine(manager)

    def _forget_quarantine(self, manager: ManagerRecord) -> None:
        for context in self.contexts.values():
            context.quarantine.forget(manager.manager_id)
