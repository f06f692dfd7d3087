"""Where contexts live: which hosts are started, woken, put to sleep and ended.

``grow`` gives a context hosts while its backlog pays for them: one that sleeps is woken, else one
is started in free room, else room is made (``making_room.py``). ``feed_hungry`` gives out room that
has come, by need (``shares.py``). A host that leaves for another one is given no new work; when it
has finished what it ran, ``settle`` puts it to sleep or ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from parsl_pcm.core.actions import Action
from parsl_pcm.core.capacity import could_hold
from parsl_pcm.core.cluster import Cluster
from parsl_pcm.core.making_room import RoomMaker, can_sleep
from parsl_pcm.core.orders import Orders
from parsl_pcm.core.policy import Policy
from parsl_pcm.core.records import ContextRecord, HostRecord, ManagerRecord
from parsl_pcm.core.rooms import helps, returned
from parsl_pcm.core.shares import MAX_SUNK, host_rate, is_measured, need, slowness
from parsl_pcm.core.timers import TimerKind, Timers
from parsl_pcm.core.transitions import HostState
from parsl_pcm.core.walltime import enough_s, left_s
from parsl_pcm.types import ContextKey, HostId, ManagerId

MIN_LOOK_S = 0.25
"""Between two looks for a place of others: on a large pool each takes a few milliseconds."""


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
        self.orders = Orders(cluster, decided)
        self._cluster = cluster
        self._policy = policy
        self._timers = timers
        self._rooms = RoomMaker(cluster, policy)
        self._hungry: dict[ContextKey, ContextRecord] = {}
        """Contexts that want one more host and found no room, the longest hungry first."""
        self._cleared: dict[ManagerId, ContextRecord] = {}
        """Nodes on which several hosts leave for one, and for whose."""
        self._warm: dict[ContextKey, ContextRecord] = {}
        """Contexts of which hosts shall be warm whatever waits."""
        self._unwanted: set[HostId] = set()
        """Hosts that end when they are idle: a person wants it."""

    def is_hungry(self, context: ContextRecord) -> bool:
        """Whether a context wants one more host and found no room when it was last looked for."""
        return context.context_key in self._hungry

    # --- more hosts ---------------------------------------------------------------------------

    def grow(self, context: ContextRecord, near: ManagerRecord | None = None) -> None:
        """Give a context hosts while its backlog pays for them and there is room, or can be made.

        Where it is known that only one node has changed, ``near``, hosts without work are sought
        there alone, and none with work: so a step costs the same on any pool.
        """
        self._hungry.pop(context.context_key, None)
        while self._wants(context):
            if not self.start_host(context) and not self._make_room(context, near):
                self._hungry[context.context_key] = context
                break
        self._plan_look(context)

    def _wants(self, context: ContextRecord) -> bool:
        if context.num_hosts < context.num_warm:
            return True
        return self._policy.wants_another_host(context, self._cluster.now)

    def _plan_look(self, context: ContextRecord) -> None:
        """See later whether what waits pays for another host, or it is the context's turn."""
        if not context.num_waiting and not self.is_hungry(context):
            return
        interval_s = self.check_interval_s(context)
        due = context.last_leased + interval_s
        if self.is_hungry(context):
            rivals = [c for c in self._cluster.contexts.values() if c.hosts and c is not context]
            if not rivals:
                return  # room comes with an event, and then it is fed
            wakes_s = [c.wake_s.value for c in rivals if c.sleeps and c.wake_s.value is not None]
            interval_s = max(MIN_LOOK_S, min([interval_s, *wakes_s]))  # these are cheap to take
            due = context.last_leased + interval_s
            if any(rival.num_starting and not is_measured(rival) for rival in rivals):
                due = self._cluster.now + interval_s * MAX_SUNK / 2  # it may give some of these
        later = due if due > self._cluster.now else self._cluster.now + interval_s
        self._timers.hasten(TimerKind.GROWTH, context.context_key, later)

    def check_interval_s(self, context: ContextRecord) -> float:
        """Return how often to see whether what waits for a context pays for another host."""
        return max(self._policy.growth_check_s(context), self._policy.rebalance_s)

    def start_host(self, context: ContextRecord) -> bool:
        """Wake or start a host where there is room for one; False if there is none."""
        suits = self._suits(context)
        sleeper = self._find_sleeper(context, suits) if context.asleep else None
        if sleeper is not None:
            self.orders.wake(sleeper)
            return True
        place = self._cluster.capacity.find(context, suits, slowness(context))
        if place is None:
            return False
        self.orders.start(context, place)
        return True

    def _find_sleeper(
        self, context: ContextRecord, suits: Callable[[ManagerRecord], bool]
    ) -> HostRecord | None:
        """Return a host that sleeps and may wake up now, unless that takes longer than to load."""
        wake_s, setup_s = context.wake_s.value, context.setup_s.value
        if wake_s is not None and setup_s is not None and wake_s >= setup_s:
            return None
        fits_back = self._cluster.capacity.fits_back
        sleepers = (h for h in context.asleep.values() if suits(h.manager) and fits_back(h))
        return max(sleepers, key=lambda host: host_rate(context, host.device_kind), default=None)

    def _suits(self, context: ContextRecord) -> Callable[[ManagerRecord], bool]:
        """Return the question whether a host of the context may start on a manager now."""
        now, cleared = self._cluster.now, self._cleared
        needed_s = enough_s(self._cluster, context)

        def suits(manager: ManagerRecord) -> bool:
            if cleared and cleared.get(manager.manager_id, context) is not context:
                return False
            return context.may_try(manager, now) and left_s(manager, now) > needed_s

        return suits

    # --- room ---------------------------------------------------------------------------------

    def _make_room(self, context: ContextRecord, near: ManagerRecord | None) -> bool:
        """Let hosts of others leave so that one of this context fits; say whether any do."""
        suits = self._suits(context)

        def accepts(manager: ManagerRecord) -> bool:
            return could_hold(manager, context) and suits(manager)

        victims = self._rooms.idle_victims(context, near, accepts)
        if not victims and near is None and context.num_waiting:
            victims = self._rooms.busy_victims(context, accepts)
        if len(victims) > 1:
            self._cleared[victims[0].manager.manager_id] = context
        has_work = [host for host in victims if host.load]
        for host in has_work:
            self.orders.reclaim(host, context)
        self._retire([host for host in victims if not host.load], context)
        return bool(victims)

    def _retire(self, hosts: Sequence[HostRecord], newcomer: ContextRecord) -> None:
        """Put hosts of one node that have no work to sleep, or end them, to make room."""
        may_sleep = any(map(can_sleep, hosts)) and self._rooms.may_sleep(hosts, newcomer)
        for host in hosts:
            self._cluster.promise(host, newcomer)
            if may_sleep and can_sleep(host):
                self.orders.sleep(host)
            else:
                self.orders.stop(host, is_eviction=True)

    def settle(self, host: HostRecord) -> None:
        """Let a host go that has become idle, if it shall; keep it if nobody wants its place now.

        To be called before its context is dispatched.
        """
        newcomer = host.promised_to
        if host.is_leaving and newcomer is not None:
            self._leave(host, newcomer)
        elif host.host_id in self._unwanted and not host.context.num_waiting:
            self._unwanted.discard(host.host_id)
            self.stop_host(host)
        elif self._cluster.capacity.is_overdrawn(host):
            self.relieve(host.manager)

    def _leave(self, host: HostRecord, newcomer: ContextRecord) -> None:
        """Retire a host whose place was wanted, if it still is."""
        is_for_gang = self._cleared.get(host.manager.manager_id) is newcomer
        if not (is_for_gang and newcomer.num_waiting):
            self._cluster.keep(host)
            if not self._wants(newcomer):
                self._end_clearing(host.manager, newcomer)
                return
        self._retire([host], newcomer)

    def relieve(self, node: ManagerRecord) -> None:
        """End hosts without work, those worth least first, where more is held than there is."""
        room = self._cluster.capacity.room(node)
        for host in node.hosts.values():
            if host.state is HostState.STOPPING:
                room = returned(room, host.claim, host.device_positions)
        for host in self._rooms.without_work(node):
            if helps(room, host.claim, host.device_positions):
                room = returned(room, host.claim, host.device_positions)
                self.stop_host(host, is_eviction=True)

    def use_room_of(self, gone: HostRecord) -> None:
        """Use the room that a host left: for whom it was promised, else where it is needed most."""
        self._unwanted.discard(gone.host_id)
        self.use_room(gone.manager, gone.promised_to)

    def use_room(self, node: ManagerRecord, favoured: ContextRecord | None) -> None:
        """Use room that has come on a node: for whom it was promised, else where it is needed."""
        if favoured is not None:
            if any(host.promised_to is favoured for host in node.hosts.values()):
                self._fill_free_room([favoured])  # if it does not fit yet: more room is to come
                return
            if self._wants(favoured):
                self.grow(favoured, node)
            self._end_clearing(node, favoured)
        self.feed_hungry(node)

    def _end_clearing(self, node: ManagerRecord, newcomer: ContextRecord) -> None:
        """Let others have room on a node again unless more hosts there leave for the newcomer."""
        if self._cleared.get(node.manager_id) is newcomer and not any(
            host.promised_to is newcomer for host in node.hosts.values()
        ):
            del self._cleared[node.manager_id]

    def feed_hungry(self, near: ManagerRecord | None = None) -> None:
        """See whether contexts that found no room for a host find some now, by need."""
        lacking = [c for c in self._warm.values() if c.num_hosts < c.num_warm]
        if self._hungry or lacking:
            self.share_out({**self._hungry, **_by_key(lacking)}.values(), near)

    def share_out(
        self, contexts: Iterable[ContextRecord], near: ManagerRecord | None = None
    ) -> None:
        """Give these contexts hosts, one at a time, to the one that needs it most."""
        contexts = list(contexts)
        if len(contexts) > 1:
            self._fill_free_room(contexts)
            contexts.sort(key=need)
        for context in contexts:
            self.grow(context, near)

    def _fill_free_room(self, contexts: Iterable[ContextRecord]) -> None:
        wanting = [context for context in contexts if self._wants(context)]
        while wanting:
            context = min(wanting, key=need)
            if not self.start_host(context) or not self._wants(context):
                wanting.remove(context)

    # --- what people want ---------------------------------------------------------------------

    def keep_warm(self, context: ContextRecord) -> None:
        """Start what shall be warm of a context, as far as there is room or can be made."""
        if context.num_warm:
            self._warm[context.context_key] = context
        else:
            self._warm.pop(context.context_key, None)
        self.grow(context)

    def evict(self, context: ContextRecord) -> None:
        """End the hosts of a context that have no work; the others when they have none."""
        self._warm.pop(context.context_key, None)
        for host in [*context.hosts.values(), *context.asleep.values()]:
            is_coming = host.state in (HostState.STARTING, HostState.WAKING)
            if host.load or (is_coming and context.num_waiting):
                self._unwanted.add(host.host_id)
            else:
                self.stop_host(host, is_eviction=True)

    def stop_host(self, host: HostRecord, *, is_eviction: bool = False) -> None:
        """End a host that starts, is idle, or whose pieces were abandoned."""
        self.orders.stop(host, is_eviction=is_eviction)


def _by_key(contexts: Iterable[ContextRecord]) -> dict[ContextKey, ContextRecord]:
    return {context.context_key: context for context in contexts}
