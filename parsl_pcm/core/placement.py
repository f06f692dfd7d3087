"""Where contexts live: which hosts are started, and which are ended to make room.

``grow`` starts hosts where the backlog of a context pays for them, and evicts idle ones of others
if there is no free room; ``feed_hungry`` looks again when room may have come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

from parsl_pcm.core import actions
from parsl_pcm.core.actions import Action
from parsl_pcm.core.cluster import Cluster
from parsl_pcm.core.policy import Policy
from parsl_pcm.core.records import ContextRecord, HostRecord, ManagerRecord
from parsl_pcm.core.timers import TimerKind, Timers
from parsl_pcm.core.walltime import enough_s, left_s
from parsl_pcm.types import ContextKey

MAX_EVICTION_CANDIDATES = 256
"""Idle hosts looked at so that a context gets one more host; for its first one, all of them."""


class Placement:
    """The decisions about hosts.

    Parameters
    ----------
    cluster, timers
        The state of the run; changed here, by the dispatcher and by the scheduler alone.
    policy
        Answers what is best.
    decided
        Where decisions are appended; the scheduler hands them out.
    """

    def __init__(
        self, cluster: Cluster, policy: Policy, timers: Timers, decided: list[Action]
    ) -> None:
        self._cluster = cluster
        self._policy = policy
        self._timers = timers
        self._decided = decided
        self._hungry: dict[ContextKey, ContextRecord] = {}
        """Contexts that want one more host and found no room, the longest hungry first."""

    def is_hungry(self, context: ContextRecord) -> bool:
        """Whether a context wants one more host and found no room when it was last looked for."""
        return context.context_key in self._hungry

    def grow(self, context: ContextRecord, near: ManagerRecord | None = None) -> None:
        """Start hosts for a context while its backlog pays for them and there is room.

        Where it is known that only one node has changed, ``near``, evictions are sought there
        alone: so a step costs the same on any pool.
        """
        self._hungry.pop(context.context_key, None)
        self._fill_free_room(context)
        while self._policy.wants_another_host(context, self._cluster.now):
            if not self._make_room(context, near):
                self._hungry[context.context_key] = context
                break
        if context.num_waiting and context.hosts:
            interval_s = self.check_interval_s(context)
            overdue = context.last_leased + interval_s
            later = overdue if overdue > self._cluster.now else self._cluster.now + interval_s
            self._timers.set(TimerKind.GROWTH, context.context_key, later)

    def _fill_free_room(self, context: ContextRecord) -> None:
        while self._policy.wants_another_host(context, self._cluster.now):
            if not self.start_host(context):
                break

    def start_host(self, context: ContextRecord) -> bool:
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
        now, failures = self._cluster.now, context.failures
        needed_s = enough_s(self._cluster, context)

        def suits(manager: ManagerRecord) -> bool:
            return manager.manager_id not in failures and left_s(manager, now) > needed_s

        return suits

    def check_interval_s(self, context: ContextRecord) -> float:
        """Return how often to see whether what waits for a context pays for another host."""
        return max(self._policy.growth_check_s(context), self._policy.rebalance_s)

    def _make_room(self, context: ContextRecord, near: ManagerRecord | None) -> bool:
        """Evict idle hosts so that a host of this context fits; say whether that will help."""
        candidates = self._idle_hosts(near)
        if context.hosts:
            candidates = islice(candidates, MAX_EVICTION_CANDIDATES)
        evictable = (h for h in candidates if self._policy.may_evict(h, context, self._cluster.now))
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
        if favoured is not None:
            if any(host.promised_to is favoured for host in node.hosts.values()):
                self._fill_free_room(favoured)  # if it does not fit yet: more room is to come
                return
            if favoured.num_waiting:
                self.grow(favoured, node)
        self.feed_hungry(node)

    def feed_hungry(self, near: ManagerRecord | None = None) -> None:
        """See whether contexts that found no room for a host find some now."""
        for context in list(self._hungry.values()):
            self.grow(context, near)

    def stop_host(self, host: HostRecord, *, is_eviction: bool = False) -> None:
        """End a host that starts, is idle, or whose pieces were abandoned."""
        self._cluster.host_stopping(host)
        self._decided.append(
            actions.StopHost(
                manager_id=host.manager.manager_id, host_id=host.host_id, is_eviction=is_eviction
            )
        )
