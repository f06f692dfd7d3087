"""Who needs a host most, and who gives one to whom: estimates from what was measured.

Contexts share a pool well if they end at the same time, so a host goes to the context that would
end later, as long as that pays for the load (*balance*). A context that has no host at all cannot
wait for that: it gets its *turn*. Both are slow to change their mind, so that demand which
alternates costs few loads: see ``QUANTUM_LOADS`` and ``CLEARLY``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from parsl_pcm.core.records import ContextRecord, HostRecord
from parsl_pcm.core.speeds import LEAST_ITEM_S
from parsl_pcm.core.transitions import HostState

UNMEASURED_ITEM_S = 1.0
"""Taken for the time of an item until one was measured: only its order of magnitude matters."""
QUANTUM_LOADS = 4.0
"""A turn lasts so many times as long as both contexts take to load: two contexts that alternate
for ever load one each in two turns, an eighth of the time."""
WORSE_WAIT_FACTOR = 10.0
"""Work of worse priority waits for its turn so many times as long; of better priority, not at
all."""
CLEARLY = 0.8
"""A context gives a host away if it then ends before so much of the time that the other needs."""
MUCH_FASTER = 2.0
"""Devices on which a context is so many times as fast, by its own measure, as the other is by its
own, are better used by the first one."""
MIN_PAY = 3.0
"""A host that is taken from work must have other work for so many times as long as it loads."""
MIN_IDLE_PAY = 1.0
"""The same of a host that has nothing to do."""
MAX_SUNK = 0.25
"""A host that has been building for less of its load time than this may still be ended."""


def host_rate(context: ContextRecord, device_kind: str | None = None) -> float:
    """Return how many items a second a host of a context does on such devices, or on any."""
    if device_kind is not None:
        time = context.item_times.get(device_kind)
        if time is not None and time.value is not None:
            return context.places.get(device_kind, context.places_per_host) / time.value
    if context.num_rated:
        return context.total_rate / context.num_rated
    item_s = context.service_s.value
    item_s = UNMEASURED_ITEM_S if item_s is None else max(item_s, LEAST_ITEM_S)
    return context.places_per_host / item_s


def slowness(context: ContextRecord) -> Callable[[str], float] | None:
    """Return how slow hosts of a context are on a kind of device; None: as on any, so far."""
    if len(context.item_times) < 2:
        return None
    return lambda device_kind: -host_rate(context, device_kind)


def is_measured(context: ContextRecord) -> bool:
    """Whether it is known how long items of a context take."""
    return context.service_s.value is not None


def rate(context: ContextRecord) -> float:
    """Return how many items a second all its hosts do, those coming included."""
    num_unrated = max(0, context.num_hosts - context.num_rated)
    return context.total_rate + num_unrated * host_rate(context)


def finish_s(context: ContextRecord, gained_rate: float = 0.0, load_s: float = 0.0) -> float:
    """Return how long its open work will take; with a host more that loads first, or one less."""
    after = rate(context) + gained_rate
    if after <= LEAST_ITEM_S:
        return math.inf if context.num_open_items else 0.0
    return (context.num_open_items + max(0.0, gained_rate) * load_s) / after


def priority(context: ContextRecord) -> int:
    """Return the priority of what waits first for a context; 0 if nothing does."""
    first = [queue.first() for queue in (context.backlog, context.suspects) if queue]
    return min((piece.task.priority for piece in first), default=0)


def need(context: ContextRecord) -> tuple[int, bool, float]:
    """Return a key by which the context comes first that needs a host most."""
    return priority(context), context.num_hosts > 0, -finish_s(context)


def pays(context: ContextRecord, load_s: float, gained_rate: float, num_loads: float) -> bool:
    """Whether a host more would have work for so many times as long as it takes to load."""
    return finish_s(context, gained_rate, load_s) - load_s >= num_loads * load_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Gift:
    """Hosts of one context that would leave, with work, for a host of another one.

    Attributes
    ----------
    hosts
        All of one context.
    newcomer
        Who gets their room.
    given_load_s, taken_load_s
        How long hosts of the one and of the other take to load.
    """

    hosts: Sequence[HostRecord]
    newcomer: ContextRecord
    given_load_s: float
    taken_load_s: float

    @property
    def quantum_s(self) -> float:
        """How long a turn lasts between these two."""
        return QUANTUM_LOADS * (self.given_load_s + self.taken_load_s)

    @property
    def wait_s(self) -> float:
        """How long the newcomer waits for its turn."""
        giver = self.hosts[0].context
        if not giver.num_waiting or priority(self.newcomer) == priority(giver):
            return self.quantum_s
        is_better = priority(self.newcomer) < priority(giver)
        return 0.0 if is_better else WORSE_WAIT_FACTOR * self.quantum_s

    def is_right(self, now: float) -> bool:
        """Whether the hosts shall leave."""
        wait_s = self.wait_s
        if self.newcomer.num_hosts == 0:
            return self._is_turn(wait_s, now) or self._is_first_share(wait_s, now)
        if wait_s == 0:
            return self._pays()
        return wait_s == self.quantum_s and self._is_balance()

    def _is_turn(self, wait_s: float, now: float) -> bool:
        """Whether the newcomer, which has no host, has waited, and these have served, enough."""
        served_s = min(wait_s, self.quantum_s)
        waiting_since = self.newcomer.waiting_since
        return (
            waiting_since is not None
            and now - waiting_since >= wait_s
            and may_come_back(self.newcomer, max(wait_s, self.quantum_s), now)
            and all(_has_served(host, served_s, now) for host in self.hosts)
        )

    def _is_first_share(self, wait_s: float, now: float) -> bool:
        """Whether the newcomer, which has no host, is one of those among whom hosts are shared."""
        if wait_s > self.quantum_s or not self._leaves_some():
            return False
        has_much = self.newcomer.num_open_items / host_rate(self.newcomer) >= self.quantum_s
        return has_much or may_come_back(self.newcomer, self.quantum_s, now)

    def _is_balance(self) -> bool:
        """Whether the later of both ends earlier then, and the newcomer's work pays for the load.

        A part of a large pool changes little at a time: what counts is that the giver, without its
        hosts, ends clearly before the newcomer does without them.
        """
        giver = self.hosts[0].context
        is_comparable = is_measured(giver) == is_measured(self.newcomer)
        if not is_comparable or not self._leaves_some():
            return False
        giver_s = finish_s(giver, -self._given_rate())
        is_earlier = giver_s <= self._clearly() * finish_s(self.newcomer)
        return is_earlier and self._pays()

    def _pays(self) -> bool:
        return pays(self.newcomer, self.taken_load_s, self._gained_rate(), MIN_PAY)

    def _clearly(self) -> float:
        """Return what counts as clear: any gain if the newcomer is the one that is fast there.

        And none if the giver is.
        """
        giver = self.hosts[0].context
        gain = self._gained_rate() / host_rate(self.newcomer)
        loss = self._given_rate() / len(self.hosts) / host_rate(giver)
        if loss >= MUCH_FASTER * gain:
            return 0.0
        return 1.0 if gain >= MUCH_FASTER * loss else CLEARLY

    def _leaves_some(self) -> bool:
        """Whether the giver keeps a host, and as many as shall be warm."""
        giver = self.hosts[0].context
        return len(giver.hosts) - len(self.hosts) >= max(1, giver.num_warm)

    def _given_rate(self) -> float:
        giver = self.hosts[0].context
        return sum(host.rate or host_rate(giver, host.device_kind) for host in self.hosts)

    def _gained_rate(self) -> float:
        return host_rate(self.newcomer, self.hosts[0].device_kind)


def may_come_back(context: ContextRecord, wait_s: float, now: float) -> bool:
    """Whether it was so long ago that a context gave its last host to another one."""
    return now - context.gave_way_at >= wait_s


def _has_served(host: HostRecord, served_s: float, now: float) -> bool:
    return host.state is HostState.READY and now - host.ready_since >= served_s


def has_hardly_begun(host: HostRecord, load_s: float, now: float) -> bool:
    """Whether a host that starts has cost so little that it may be ended.

    Only before it is known how long items take: then the first context to come has taken all there
    is. Later, estimates that change from moment to moment would start and end hosts all the time.
    """
    if host.state is not HostState.STARTING or is_measured(host.context):
        return False
    return now - host.started_at <= MAX_SUNK * load_s
