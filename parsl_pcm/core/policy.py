"""What is best: small questions about a read-only view, answered in one place.

A user's own policy is any object with these methods.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from parsl_pcm.core.inflight import is_learned
from parsl_pcm.core.records import ContextRecord, HostRecord, PieceRecord
from parsl_pcm.core.shares import (
    MIN_IDLE_PAY,
    Gift,
    has_hardly_begun,
    host_rate,
    may_come_back,
    pays,
)
from parsl_pcm.core.sizing import (
    cheap_items,
    even_items,
    final_items,
    steady_items,
    target_s,
)
from parsl_pcm.core.speeds import item_s, pool_rate, size_class, sizes_of, sizes_of_kind
from parsl_pcm.core.transitions import HostState

SHORTEST_IDLE_S = 0.1
"""Hosts idle for less count as equally fresh."""


class Policy(Protocol):
    """The questions that the scheduler asks. Answers must depend on nothing but the arguments."""

    def may_queue(self, piece: PieceRecord, host: HostRecord) -> bool:
        """Whether a piece, or its beginning, may wait at a host behind those that run."""
        ...

    def wants_another_host(self, context: ContextRecord, now: float) -> bool:
        """Whether the waiting pieces pay for building the context once more."""
        ...

    def hosts_wanted(self, context: ContextRecord, num_items: int, now: float) -> int:
        """Return how many hosts, in total, could share the work on so many items now.

        It is the same judgement: while another host is wanted, this is more than there are.
        """
        ...

    def growth_check_s(self, context: ContextRecord) -> float:
        """Return how long pieces may wait before the question above is asked again."""
        ...

    def may_evict(self, host: HostRecord, newcomer: ContextRecord, now: float) -> bool:
        """Whether this idle host may be ended to make room for the newcomer."""
        ...

    def worth(self, host: HostRecord, now: float) -> float:
        """Return what it is worth to keep this idle host: the least goes first.

        Of one context's hosts, the one that has been idle for longest is worth least.
        """
        ...

    def may_reclaim(self, hosts: Sequence[HostRecord], newcomer: ContextRecord, now: float) -> bool:
        """Whether these hosts of one context, which have work, shall leave for the newcomer."""
        ...

    def cut(self, piece: PieceRecord, host: HostRecord, num_hosts: int) -> int:
        """Return the item before which the piece is cut for this host; its stop to give it all.

        There are so many hosts, of all contexts.
        """
        ...

    @property
    def rebalance_s(self) -> float:
        """How long a host stays idle before it takes over pieces that wait elsewhere."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultPolicy:
    """The policy of the executor."""

    fixed_prefetch: int | None = None
    """Pieces prefetched at each host; None: as many as last ``prefetch_s``."""
    prefetch_s: float = 0.05
    """Work that waits at a host: ten times the longest round trip seen on one machine (5 ms)."""
    max_prefetch: int = 256
    cheap_frac: float = 0.2
    """A host that builds in so small a part of the newcomer's time is evicted without waiting."""
    rebalance_s: float = 0.05
    """As long as what is prefetched lasts: less would take away what is about to run anyway."""
    wake_frac: float = 0.2
    """Taken for what waking up takes of a set-up, until it was measured; vLLM needs less."""
    default_setup_s: float = 5.0
    """Taken for the time of a set-up until one was measured."""

    def may_queue(self, piece: PieceRecord, host: HostRecord) -> bool:
        """One piece at least, once an item's time is known; more while they last ``prefetch_s``.

        None where the number of places is learned: those that are full keep the host at work.
        """
        num_queued = len(host.leases) - host.num_places
        if self.fixed_prefetch is not None:
            return num_queued < self.fixed_prefetch
        seconds = item_s(host)
        if seconds is None or is_learned(host):
            return False
        if num_queued > 0:
            if num_queued * seconds >= self.prefetch_s or num_queued >= self.max_prefetch:
                return False
            if host.num_queued_items() * seconds >= self.prefetch_s:
                return False
        return not piece.task.is_mapped or self._may_queue_mapped(piece, host)

    def _may_queue_mapped(self, piece: PieceRecord, host: HostRecord) -> bool:
        """Not behind a size that was never measured there, nor if others would be done sooner."""
        own = sizes_of(host, piece.task.function_key)
        if own is None or own.item.value is None:
            return False
        for lease in host.running():
            if size_class(lease.num_left) > own.largest_class:
                return False
        return _share(host, 1.0 / own.item.value) > 0

    def wants_another_host(self, context: ContextRecord, now: float) -> bool:
        """Start one more if it would be ready before the others have done all the work.

        Without a measurement every waiting piece may have a host: idle places cost nothing.
        """
        num_uncovered = self._num_uncovered(context)
        if num_uncovered <= 0:
            return False
        if context.num_hosts == 0 or context.service_s.value is None:
            return True
        num_paid = self._hosts_paid(context, num_uncovered)
        return context.num_hosts <= num_paid or self._has_waited(context, now)

    def hosts_wanted(self, context: ContextRecord, num_items: int, now: float) -> int:
        """As many as would each still work when one more was built; at most one for each place."""
        most = math.ceil(num_items / context.places_per_host)
        if context.service_s.value is None:
            return most
        num_paid = self._hosts_paid(context, num_items)
        wanted = most if num_paid >= most else math.floor(num_paid) + 1
        if self._num_uncovered(context) > 0 and self._has_waited(context, now):
            wanted = max(wanted, context.num_hosts + 1)
        return min(most, wanted)

    def _num_uncovered(self, context: ContextRecord) -> int:
        return context.num_waiting_items - context.num_coming * context.places_per_host

    def _hosts_paid(self, context: ContextRecord, num_items: int) -> float:
        """Return how many hosts so many items keep at work for as long as one takes to build."""
        work_s = num_items * (context.service_s.value or 0.0) / context.places_per_host
        setup_s = self.growth_check_s(context)
        return work_s / setup_s if setup_s > 0 else math.inf

    def _has_waited(self, context: ContextRecord, now: float) -> bool:
        return now >= context.last_leased + self.growth_check_s(context)

    def growth_check_s(self, context: ContextRecord) -> float:
        """As long as the context takes to build."""
        measured = context.setup_s.value
        return self.default_setup_s if measured is None else measured

    def load_s(self, context: ContextRecord) -> float:
        """Return how long a context takes to be warm now: to wake up, if it sleeps, or to load."""
        setup_s = self.growth_check_s(context)
        if not context.asleep:
            return setup_s
        wake_s = context.wake_s.value
        return self.wake_frac * setup_s if wake_s is None else min(setup_s, wake_s)

    def reload_s(self, context: ContextRecord) -> float:
        """Return how long it takes to be warm again when it leaves; if it may sleep, to wake up."""
        setup_s = self.growth_check_s(context)
        wake_s = context.wake_s.value
        return setup_s if wake_s is None or not context.sleeps else min(setup_s, wake_s)

    def may_evict(self, host: HostRecord, newcomer: ContextRecord, now: float) -> bool:
        """Any for a newcomer without a host; else a cheap one, or one idle for long enough.

        Cheap: a mistake costs little beside what the newcomer takes to build anyway. Long enough:
        as long as it took to build; and the newcomer must be known to need more than one host,
        by a piece that was measured or by pieces that have waited for as long. A newcomer that had
        to make room itself a short time ago waits as well: else two contexts that are called in
        turn would be loaded for every call.
        """
        context = host.context
        if context is newcomer or context.num_waiting or not _may_cool(host, now):
            return False
        given_s, taken_s = self.reload_s(context), self.load_s(newcomer)
        if given_s <= self.cheap_frac * taken_s:
            return True
        if newcomer.num_hosts:
            has_been_idle = now - host.idle_since >= given_s
            return has_been_idle and self._needs_more(newcomer, given_s, now)
        if now - host.idle_since >= given_s:
            return True
        gift = Gift(hosts=(host,), newcomer=newcomer, given_load_s=given_s, taken_load_s=taken_s)
        return may_come_back(newcomer, gift.quantum_s, now)

    def _needs_more(self, context: ContextRecord, waited_s: float, now: float) -> bool:
        if now - context.last_leased >= waited_s:
            return True
        if context.service_s.value is None:
            return False
        return pays(context, self.load_s(context), host_rate(context), MIN_IDLE_PAY)

    def worth(self, host: HostRecord, now: float) -> float:
        """As much as loading it again costs, the less the longer nobody has needed it."""
        idle_s = now - host.idle_since
        return self.reload_s(host.context) / max(idle_s, SHORTEST_IDLE_S)

    def may_reclaim(self, hosts: Sequence[HostRecord], newcomer: ContextRecord, now: float) -> bool:
        """By the rules of ``shares.py``; of those that start, only such as have hardly begun."""
        given_s = self.growth_check_s(hosts[0].context)
        for host in hosts:
            if host.state is not HostState.READY and not has_hardly_begun(host, given_s, now):
                return False
        gift = Gift(
            hosts=hosts,
            newcomer=newcomer,
            given_load_s=self.reload_s(hosts[0].context),
            taken_load_s=self.load_s(newcomer),
        )
        return gift.is_right(now)

    def cut(self, piece: PieceRecord, host: HostRecord, num_hosts: int) -> int:
        """Give ordinary calls whole, and of mapped ones what lasts long enough and not too long.

        Long enough as if each host had as many places as this one.
        """
        num_left = piece.stop - piece.start
        if not piece.task.is_mapped or num_left == 1:
            return piece.stop
        function = piece.task.function_key
        own, of_kind = sizes_of(host, function), sizes_of_kind(host, function)
        lasting_s = target_s(num_hosts * host.num_places)
        wanted = steady_items(own, of_kind, lasting_s)
        times = of_kind if own is None else own
        if times is not None and (seconds := times.item.value) is not None:
            share = _share(host, 1.0 / seconds)
            if share < 2 * wanted:
                known = {level: time.value or seconds for level, time in times.by_class.items()}
                wanted = min(wanted, final_items(share, seconds, cheap_items(known), lasting_s))
        return piece.start + even_items(num_left, wanted)


def _may_cool(host: HostRecord, now: float) -> bool:
    """Whether an idle host has been kept as long as its context wants."""
    keep_s = host.requirements.keep_warm_s
    return keep_s is None or now - host.idle_since >= keep_s


def _share(host: HostRecord, place_rate: float) -> float:
    """Return how many items one more piece of a host could have so that all hosts end together."""
    all_rate = pool_rate(host, place_rate * host.num_places)
    rest_s = host.context.num_open_items / all_rate
    num_free = max(1, host.num_places - host.load)
    return (rest_s * place_rate * host.num_places - host.num_items) / num_free
