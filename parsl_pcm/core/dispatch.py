"""Which piece goes to which host.

``dispatch`` leases waiting pieces to warm hosts, the least loaded first, and asks for more hosts
(``placement.py``) where some are left; ``rebalance`` takes pieces back that wait behind others
while a host of their context has nothing to do; ``race`` lets a free host run a piece that runs
elsewhere too.
"""

from __future__ import annotations

import math
from itertools import islice

from parsl_pcm.core import actions
from parsl_pcm.core.actions import Action
from parsl_pcm.core.cluster import Cluster
from parsl_pcm.core.placement import Placement
from parsl_pcm.core.policy import Policy
from parsl_pcm.core.racing import find_races, look_interval_s, next_look
from parsl_pcm.core.records import (
    ContextRecord,
    HostRecord,
    LeaseRecord,
    PieceRecord,
)
from parsl_pcm.core.speeds import item_s
from parsl_pcm.core.timers import TimerKind, Timers
from parsl_pcm.core.walltime import has_time_for_item, num_items_in_time

MAX_CROWDED = 256
"""Hosts with as many pieces as any that are compared by how long these last."""


class Dispatcher:
    """The decisions about pieces.

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
        self.placement = Placement(cluster, policy, timers, decided)
        self._cluster = cluster
        self._policy = policy
        self._timers = timers
        self._decided = decided

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
        elif not self.placement.is_hungry(context):
            self.placement.grow(context)

    def _next_host(self, context: ContextRecord) -> HostRecord | None:
        """Return the least loaded host; those whose nodes end too soon are put aside, or ended."""
        while True:
            host = context.loads.least_loaded()
            if host is None or host.manager.ends_at == math.inf:
                return host
            if has_time_for_item(host, self._cluster, self._cluster.now):
                return host
            if host.load == 0:
                self.placement.stop_host(host)
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
        now = self._cluster.now
        first = context.backlog.first()
        stop = self._policy.cut(first, host, len(self._cluster.hosts))
        if host.manager.ends_at != math.inf:
            stop = min(stop, first.start + num_items_in_time(host, now))
        self._lease(self._cluster.take_first(context, stop, now), host)

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

    def use_room_of(self, gone: HostRecord) -> None:
        """Use the room that a host left: for whom it was promised, else where it pays most."""
        if gone.promised_to is None:
            self.dispatch(gone.context)
        self.placement.use_room_of(gone)

    def relieve(self, context: ContextRecord) -> None:
        """Start a host if pieces wait behind others that take longer than it takes to build.

        They were prefetched while pieces were shorter; rebalancing moves them when it is ready.
        """
        is_stuck = self._cluster.now >= context.last_leased + self.placement.check_interval_s(
            context
        )
        if self._are_pieces_behind_others(context) and is_stuck and not context.num_coming:
            self.placement.start_host(context)
        self._plan_relief(context)

    def _plan_relief(self, context: ContextRecord) -> None:
        if self._are_pieces_behind_others(context):
            interval_s = self.placement.check_interval_s(context)
            due = context.last_leased + interval_s
            later = due if due > self._cluster.now else self._cluster.now + interval_s
            self._timers.set(TimerKind.RELIEF, context.context_key, later)

    def _are_pieces_behind_others(self, context: ContextRecord) -> bool:
        most = context.loads.most_loaded()
        return most is not None and most.load > most.num_places

    def _plan_rebalancing(self, context: ContextRecord) -> None:
        if self._most_crowded(context) is not None:
            later = self._cluster.now + self._policy.rebalance_s
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
            interval_s = max(self._policy.rebalance_s, look_interval_s(context))
            later = self._cluster.now + interval_s
            self._timers.hasten(TimerKind.RACE, context.context_key, later)

    def race(self, context: ContextRecord) -> None:
        """Let free hosts run pieces too that would end clearly sooner there."""
        if context.num_waiting or self._most_crowded(context) is not None:
            return
        for slow, host in find_races(context, self._cluster.now):
            self._lease(slow.piece, host, slow)
        if (later := next_look(context, self._cluster.now)) is not None:
            soonest = self._cluster.now + look_interval_s(context)
            self._timers.hasten(TimerKind.RACE, context.context_key, max(later, soonest))

    def _lease(
        self, piece: PieceRecord, host: HostRecord, rival: LeaseRecord | None = None
    ) -> None:
        """Record a host's claim on a piece, then send it."""
        lease = self._cluster.lease(piece, host, self._cluster.now)
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
        self.placement.orders.revoke(lease)

    def abandon(self, lease: LeaseRecord) -> None:
        """Give a lease up; its piece waits again, unless a rival has it."""
        host = lease.host
        self._decided.append(
            actions.AbandonLease(
                manager_id=host.manager.manager_id, host_id=host.host_id, lease_id=lease.lease_id
            )
        )
        self._cluster.give_back(lease, self._cluster.now)
