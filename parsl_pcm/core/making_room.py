"""Whose place a newcomer gets: hosts without work first, then hosts of others that have work.

Nothing is changed here: ``placement.py`` ends these hosts, or lets them leave. All that a newcomer
needs on a node is found together, so what takes several devices never holds some of them while it
waits for the others.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice

from parsl_pcm.core.cluster import Cluster
from parsl_pcm.core.memory import Claim, Held, claim_asleep
from parsl_pcm.core.policy import Policy
from parsl_pcm.core.records import ContextRecord, HostRecord, ManagerRecord
from parsl_pcm.core.rooms import Room, fit, has, returned, taken
from parsl_pcm.core.shares import finish_s, host_rate
from parsl_pcm.core.transitions import HostState, ManagerState

MAX_CANDIDATES = 256
"""Hosts looked at so that a context gets one more; for its first one, all idle ones."""
MAX_OFFERED = 64
"""Hosts with work of each context that are looked at."""

Accepts = Callable[[ManagerRecord], bool]


class RoomMaker:
    """Finds the hosts that leave for another one.

    Parameters
    ----------
    cluster
        The state of the run; only read.
    policy
        Answers who may be taken, and who is worth least.
    """

    def __init__(self, cluster: Cluster, policy: Policy) -> None:
        self._cluster = cluster
        self._policy = policy

    def idle_victims(
        self, newcomer: ContextRecord, near: ManagerRecord | None, accepts: Accepts
    ) -> list[HostRecord]:
        """Return hosts without work, of one node, that make room when they end or sleep.

        Parameters
        ----------
        newcomer
            Who wants a host.
        near
            The only node to look at; None: all.
        accepts
            On which nodes the newcomer may have a host.
        """
        idle = self._idle(newcomer, near, accepts)
        asleep = self._asleep(newcomer, near, accepts)
        if not newcomer.asleep:
            return self._enough(chain(idle, asleep), newcomer, accepts)
        idle = list(idle)
        without_others = self._enough(idle, newcomer, accepts)
        return without_others or self._enough([*idle, *asleep], newcomer, accepts)

    def busy_victims(self, newcomer: ContextRecord, accepts: Accepts) -> list[HostRecord]:
        """Return hosts of one node that make room, some of which have work to finish."""
        givers = sorted(self._givers(newcomer), key=_end_without_one)
        busy = chain.from_iterable(self._offered(giver, newcomer, accepts) for giver in givers)
        first = next(busy, None)
        if first is None:
            return []
        free = chain(self._idle(newcomer, None, accepts), self._asleep(newcomer, None, accepts))
        victims = self._enough(chain(free, [first], busy), newcomer, accepts)
        return victims if self._all_give(victims, newcomer) else []

    def without_work(self, node: ManagerRecord) -> list[HostRecord]:
        """Return the hosts of a node that have no work, nor any to come; worth least first."""
        hosts = [
            host
            for host in node.hosts.values()
            if host.state is HostState.ASLEEP
            or (host.host_id in self._cluster.idle and not host.context.num_waiting)
        ]
        return sorted(hosts, key=self._worth)

    # --- candidates ---------------------------------------------------------------------------

    def _idle(
        self, newcomer: ContextRecord, near: ManagerRecord | None, accepts: Accepts
    ) -> Iterable[HostRecord]:
        """Yield hosts without work that may be taken, those that are worth least first."""
        now = self._cluster.now
        hosts: Iterable[HostRecord]
        if near is None:
            hosts = heapq.merge(*map(self._idle_of, self._others(newcomer)), key=self._worth)
        else:
            mine = [host for host in near.hosts.values() if host.host_id in self._cluster.idle]
            hosts = sorted(mine, key=self._worth)
        if newcomer.hosts:
            hosts = islice(hosts, MAX_CANDIDATES)
        usable = (host for host in hosts if accepts(host.manager))
        evictable = (host for host in usable if self._policy.may_evict(host, newcomer, now))
        if newcomer.num_waiting:
            return evictable
        return (host for host in evictable if not _is_held_warm(host))

    def _others(self, newcomer: ContextRecord) -> list[ContextRecord]:
        return [
            context
            for context in self._cluster.contexts.values()
            if len(context.loads) and context is not newcomer and not context.num_waiting
        ]

    def _idle_of(self, context: ContextRecord) -> Iterator[HostRecord]:
        """Yield the hosts of a context that have no work, the longest idle first."""
        idle = self._cluster.idle
        return (host for host in context.loads.below(1) if host.host_id in idle)

    def _worth(self, host: HostRecord) -> tuple[bool, float]:
        return _is_held_warm(host), self._policy.worth(host, self._cluster.now)

    def _asleep(
        self, newcomer: ContextRecord, near: ManagerRecord | None, accepts: Accepts
    ) -> Iterator[HostRecord]:
        contexts = [c for c in self._cluster.contexts.values() if c is not newcomer]
        sleepers = chain.from_iterable(context.asleep.values() for context in contexts)
        there = (host for host in sleepers if near is None or host.manager is near)
        return (host for host in there if accepts(host.manager))

    def _givers(self, newcomer: ContextRecord) -> list[ContextRecord]:
        return [
            context
            for context in self._cluster.contexts.values()
            if context.hosts and context.num_open_items and context is not newcomer
        ]

    def _offered(
        self, giver: ContextRecord, newcomer: ContextRecord, accepts: Accepts
    ) -> list[HostRecord]:
        """Return hosts that may leave: where the newcomer gains most and the giver loses least."""
        now, may_reclaim = self._cluster.now, self._policy.may_reclaim
        busy = (host for host in giver.hosts.values() if host.host_id not in self._cluster.idle)
        hosts = (host for host in islice(busy, MAX_OFFERED) if accepts(host.manager))
        offered = [host for host in hosts if may_reclaim([host], newcomer, now)]

        def order(host: HostRecord) -> tuple[bool, float, int]:
            gain = host_rate(newcomer, host.device_kind) / host_rate(giver, host.device_kind)
            return host.state is HostState.READY, -gain, host.load

        return sorted(offered, key=order)

    # --- enough -------------------------------------------------------------------------------

    def _enough(
        self, candidates: Iterable[HostRecord], newcomer: ContextRecord, accepts: Accepts
    ) -> list[HostRecord]:
        """Return the first of the candidates that will do, where the newcomer sleeps if it does."""
        if newcomer.asleep:
            candidates = list(candidates)
        for sleeper in newcomer.asleep.values():
            victims = self._enough_to_wake(sleeper, candidates) if accepts(sleeper.manager) else []
            if victims:
                return victims
        return self._cluster.capacity.find_victims(candidates, newcomer)

    def _enough_to_wake(
        self, sleeper: HostRecord, candidates: Iterable[HostRecord]
    ) -> list[HostRecord]:
        """Return the first of the candidates whose room a sleeping host needs to wake up."""
        victims: list[HostRecord] = []
        room = self._cluster.capacity.room(sleeper.manager)
        room = returned(room, sleeper.claim, sleeper.device_positions)
        for host in candidates:
            if host.manager is sleeper.manager and _share_something(host, sleeper):
                victims.append(host)
                room = returned(room, host.claim, host.device_positions)
                if has(room, sleeper.awake_claim, sleeper.device_positions):
                    return victims
        return []

    def _all_give(self, victims: Sequence[HostRecord], newcomer: ContextRecord) -> bool:
        """Whether each context gives all of its hosts that are among them."""
        idle, now = self._cluster.idle, self._cluster.now
        of_context: dict[ContextRecord, list[HostRecord]] = {}
        for host in victims:
            if host.host_id not in idle and host.state is not HostState.ASLEEP:
                of_context.setdefault(host.context, []).append(host)
        return all(self._policy.may_reclaim(hosts, newcomer, now) for hosts in of_context.values())

    # --- sleep --------------------------------------------------------------------------------

    def may_sleep(self, victims: Sequence[HostRecord], newcomer: ContextRecord) -> bool:
        """Whether it is enough for a newcomer if these hosts of one node sleep, where they can."""
        manager = victims[0].manager
        if manager.state is not ManagerState.ACTIVE:
            return False
        room = self._cluster.capacity.room(manager)
        for host in victims:
            room = returned(room, host.claim, host.device_positions)
            if can_sleep(host):
                room = taken(room, _claim_when_asleep(host), host.device_positions)
        return room.memory_bytes >= 0 and _has_room(room, newcomer, manager)


def can_sleep(host: HostRecord) -> bool:
    """Whether a host can be put to sleep when it has no work."""
    return host.state is HostState.READY and host.requirements.can_sleep and host.context.sleeps


def _claim_when_asleep(host: HostRecord) -> Claim:
    """Return what others of its context claim while they sleep; else its node memory of now."""
    for other in host.context.asleep.values():
        if other.variant == host.variant:
            return other.claim
    return claim_asleep(host.requirements, Held(0, host.claim.host_memory_bytes))


def _has_room(room: Room, newcomer: ContextRecord, manager: ManagerRecord) -> bool:
    """Whether a host fits into the room, or one that sleeps there may wake up in it."""
    return fit(room, newcomer) is not None or any(
        sleeper.manager is manager
        and has(
            returned(room, sleeper.claim, sleeper.device_positions),
            sleeper.awake_claim,
            sleeper.device_positions,
        )
        for sleeper in newcomer.asleep.values()
    )


def _is_held_warm(host: HostRecord) -> bool:
    """Whether somebody wants all hosts of its context to be warm; such hosts go last."""
    context = host.context
    return context.num_warm > 0 and len(context.hosts) <= context.num_warm


def _share_something(host: HostRecord, sleeper: HostRecord) -> bool:
    """Whether the end of one host may help the other to wake up."""
    devices = sleeper.device_positions
    return not devices or not set(devices).isdisjoint(host.device_positions)


def _end_without_one(context: ContextRecord) -> float:
    return finish_s(context, -host_rate(context))
