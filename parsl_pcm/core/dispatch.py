"""Which piece goes to which host, and which hosts are started, ended, or relieved.

``dispatch`` leases waiting pieces to warm hosts, the least loaded first; ``grow`` starts more
hosts where the backlog pays for them and evicts idle ones to make room; ``rebalance`` takes pieces
back that wait behind others while a host of their context has nothing to do; ``race`` lets a free
host run a piece that runs elsewhere too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import islice

from parsl_pcm.core import actions
from parsl_pcm.core.actions import Action
from parsl_pcm.core.cluster import Cluster
from parsl_pcm.core.policy import Policy
from parsl_pcm.core.racing import find_races, next_look
from parsl_pcm.core.records import (
    ContextRecord,
    HostRecord,
    LeaseRecord,
    ManagerRecord,
    PieceRecord,
)
from parsl_pcm.core.speeds import item_s
from parsl_pcm.core.timers import TimerKind, Timers
from parsl_pcm.core.walltime import enough_s, has_time_for_item, left_s, num_items_in_time
from parsl_pcm.types import ContextKey

MAX_EVICTION_CANDIDATES = 256
"""Idle hosts looked at so that a context gets one more host; for its first one, all of them."""
MAX_CROWDED = 256
"""Hosts with as many pieces as any that are compared by how long these last."""


class Dispatcher:
    """The decisions about hosts and pieces.

    Parameters
    ----------
    cluster, timers
        The state of the run; changed here and by the scheduler alone.
    policy
        Answers what is best.
    decided
        Where decisions are appended; the scheduler hands them out.
    """

    def __init__(
        self, cluster: Cluster, policy: Policy, timers: Timers, decided: list[Action]
    ) -> None:
        self.now = 0.0
        self._cluster = cluster
        self._policy = policy
        self._timers = timers
        self._decided = decided
        self._hungry: dict[ContextKey, ContextRecord] = {}
        """Contexts that want one more host and found no room, the longest hungry first."""

    def dispatch(self, context: ContextRecord) -> None:
        """Lease what waits to warm hosts; then see whether more hosts pay."""
        while context.suspects and self._isolate_suspect(context):
            pass
        while context.backlog:
            host = self._next_host(context)
            if host is None:
                break
            if len(host.leases) >= host.num_places and not self._may_queue_next(host):
                break
            self._lease_next(context, host)
        if not context.num_waiting:
            self._plan_rebalancing(context)
            self._plan_relief(context)
            self._plan_races(context)
        elif context.context_key not in self._hungry:
            self.grow(context)

    def _next_host(self, context: ContextRecord) -> HostRecord | None:
        """Return the least loaded host; those whose nodes end too soon are put aside, or ended."""
        while True:
            host = context.loads.least_loaded()
            if host is None or host.manager.ends_at == math.inf:
                return host
            if has_time_for_item(host, self._cluster, self.now):
                return host
            if host.load == 0:
                self.stop_host(host)
            else:
                self._cluster.set_aside(host)

    def _may_queue_next(self, host: HostRecord) -> bool:
        """Whether what waits first may wait at a host, behind what runs there.

        Not if hosts that are coming could begin with it at once.
        """
        context = host.context
        num_coming = context.num_coming
        if num_coming and context.backlog.num_items <= num_coming * host.num_places:
            return False
        return self._policy.may_queue(context.backlog.first(), host)

    def _lease_next(self, context: ContextRecord, host: HostRecord) -> None:
        piece = context.backlog.pop()
        stop = self._policy.cut(piece, host)
        if host.manager.ends_at != math.inf:
            stop = min(stop, piece.start + num_items_in_time(host, self.now))
        if stop < piece.stop:
            self._cluster.enqueue(PieceRecord(piece.task, stop, piece.stop), self.now)
            piece.stop = stop
        self._lease(piece, host)

    def _isolate_suspect(self, context: ContextRecord) -> bool:
        """Give a suspect to an idle host, where it runs alone; say whether that was possible.

        Without an idle host the least loaded one is kept free of new pieces until it is idle.
        """
        host = self._next_host(context)
        if host is None:
            return False
        if host.load == 0:
            self._lease(context.suspects.pop(), host)
            return True
        if context.reserved is None:
            self._cluster.reserve(host)
        return False

    def grow(self, context: ContextRecord, near: ManagerRecord | None = None) -> None:
        """Start hosts for a context while its backlog pays for them and there is room.

        Where it is known that only one node has changed, ``near``, evictions are sought there
        alone: so a step costs the same on any pool.
        """
        self._hungry.pop(context.context_key, None)
        self._fill_free_room(context)
        while self._policy.wants_another_host(context, self.now):
            if not self._make_room(context, near):
                self._hungry[context.context_key] = context
                break
        if context.num_waiting and context.hosts:
            interval_s = self._check_interval_s(context)
            overdue = context.last_leased + interval_s
            later = overdue if overdue > self.now else self.now + interval_s
            self._timers.set(TimerKind.GROWTH, context.context_key, later)

    def _fill_free_room(self, context: ContextRecord) -> None:
        while self._policy.wants_another_host(context, self.now):
            if not self._start_host(context):
                break

    def _start_host(self, context: ContextRecord) -> bool:
        """Start a host where there is room for one; False if there is none."""
        place = self._cluster.capacity.find(context.requirements, self._suits(context))
        if place is None:
            return False
        host = self._cluster.add_host(context, place)
        self._decided.append(
            actions.StartHost(
                manager_id=place.manager.manager_id,
                host_id=host.host_id,
                context_key=context.context_key,
                device_ids=place.manager.device_ids(place.device_positions),
            )
        )
        return True

    def _suits(self, context: ContextRecord) -> Callable[[ManagerRecord], bool]:
        """Return the question whether a host of the context may start on a manager now."""
        now, failures = self.now, context.failures
        needed_s = enough_s(self._cluster, context)

        def suits(manager: ManagerRecord) -> bool:
            return manager.manager_id not in failures and left_s(manager, now) > needed_s

        return suits

    def relieve(self, context: ContextRecord) -> None:
        """Start a host if pieces wait behind others that take longer than it takes to build.

        They were prefetched while pieces were shorter; rebalancing moves them when it is ready.
        """
        is_stuck = self.now >= context.last_leased + self._check_interval_s(context)
        if self._are_pieces_behind_others(context) and is_stuck and not context.num_coming:
            self._start_host(context)
        self._plan_relief(context)

    def _plan_relief(self, context: ContextRecord) -> None:
        if self._are_pieces_behind_others(context):
            interval_s = self._check_interval_s(context)
            due = context.last_leased + interval_s
            later = due if due > self.now else self.now + interval_s
            self._timers.set(TimerKind.RELIEF, context.context_key, later)

    def _are_pieces_behind_others(self, context: ContextRecord) -> bool:
        most = context.loads.most_loaded()
        return most is not None and most.load > most.num_places

    def _check_interval_s(self, context: ContextRecord) -> float:
        return max(self._policy.growth_check_s(context), self._policy.rebalance_s)

    def _make_room(self, context: ContextRecord, near: ManagerRecord | None) -> bool:
        """Evict idle hosts so that a host of this context fits; say whether that will help."""
        candidates = self._idle_hosts(near)
        if context.hosts:
            candidates = islice(candidates, MAX_EVICTION_CANDIDATES)
        evictable = (h for h in candidates if self._policy.may_evict(h, context, self.now))
        victims = self._cluster.capacity.find_victims(
            evictable, context.requirements, self._suits(context)
        )
        for victim in victims:
            self.stop_host(victim, is_eviction=True)
            victim.promised_to = context
            context.num_promised += 1
        return bool(victims)

    def _idle_hosts(self, near: ManagerRecord | None) -> Iterator[HostRecord]:
        idle = self._cluster.idle
        if near is None:
            return iter(idle.values())
        return (host for host in near.hosts.values() if host.host_id in idle)

    def use_room_of(self, gone: HostRecord) -> None:
        """Use the room that a host left: for whom it was promised, else where it pays most."""
        node, favoured = gone.manager, gone.promised_to
        if favoured is None:
            self.dispatch(gone.context)
        elif any(host.promised_to is favoured for host in node.hosts.values()):
            self._fill_free_room(favoured)  # if it does not fit yet: more room is to come
            return
        elif favoured.num_waiting:
            self.grow(favoured, node)
        self.feed_hungry(node)

    def feed_hungry(self, near: ManagerRecord | None = None) -> None:
        """See whether contexts that found no room for a host find some now."""
        for context in list(self._hungry.values()):
            self.grow(context, near)

    def _plan_rebalancing(self, context: ContextRecord) -> None:
        if self._most_crowded(context) is not None:
            later = self.now + self._policy.rebalance_s
            self._timers.set(TimerKind.REBALANCE, context.context_key, later)

    def _most_crowded(self, context: ContextRecord) -> HostRecord | None:
        """Return the host with most pieces waiting behind others, while some host has room."""
        least, most = context.loads.least_loaded(), context.loads.most_loaded()
        if least is None or most is None:
            return None
        return most if least.load < least.num_places and most.load > most.num_places else None

    def rebalance(self, context: ContextRecord) -> None:
        """Take half of the pieces back that wait behind others while a host has room.

        Of hosts with as many pieces, the one that has work for longest gives some back.
        """
        if self._most_crowded(context) is not None and not context.num_waiting:
            crowded = islice(context.loads.equally_loaded(), MAX_CROWDED)
            host = max(crowded, key=lambda host: host.num_items * (item_s(host) or 0.0))
            queued = host.queued()
            for lease in queued[len(queued) // 2 :]:
                self.revoke(lease)
            self._plan_rebalancing(context)

    def _plan_races(self, context: ContextRecord) -> None:
        least = context.loads.least_loaded() if context.num_mapped else None
        if least is not None and least.load < least.num_places:
            later = self.now + self._policy.rebalance_s
            self._timers.hasten(TimerKind.RACE, context.context_key, later)

    def race(self, context: ContextRecord) -> None:
        """Let free hosts run pieces too that would end clearly sooner there."""
        if context.num_waiting or self._most_crowded(context) is not None:
            return
        for slow, host in find_races(context, self.now):
            self._lease(slow.piece, host, slow)
        if (later := next_look(context, self.now)) is not None:
            self._timers.hasten(TimerKind.RACE, context.context_key, later)

    def _lease(
        self, piece: PieceRecord, host: HostRecord, rival: LeaseRecord | None = None
    ) -> None:
        """Record a host's claim on a piece, then send it."""
        lease = self._cluster.lease(piece, host, self.now)
        if rival is not None:
            self._cluster.race(lease, rival)
        self._decided.append(
            actions.SendPiece(
                manager_id=host.manager.manager_id,
                host_id=host.host_id,
                lease_id=lease.lease_id,
                task_id=piece.task.task_id,
                start=piece.start,
                stop=piece.stop,
                rival_id=None if rival is None else rival.lease_id,
            )
        )

    def revoke(self, lease: LeaseRecord) -> None:
        """Ask for a piece back, once."""
        if lease.is_revoking:
            return
        lease.is_revoking = True
        host = lease.host
        self._decided.append(
            actions.RevokeLease(
                manager_id=host.manager.manager_id, host_id=host.host_id, lease_id=lease.lease_id
            )
        )

    def abandon(self, lease: LeaseRecord) -> None:
        """Give a lease up; its piece waits again, unless a rival has it."""
        host = lease.host
        self._decided.append(
            actions.AbandonLease(
                manager_id=host.manager.manager_id, host_id=host.host_id, lease_id=lease.lease_id
            )
        )
        self._cluster.give_back(lease, self.now)

    def stop_host(self, host: HostRecord, *, is_eviction: bool = False) -> None:
        """End a host that starts, is idle, or whose pieces were abandoned."""
        self._cluster.host_stopping(host)
        self._decided.append(
            actions.StopHost(
                manager_id=host.manager.manager_id, host_id=host.host_id, is_eviction=is_eviction
            )
        )
