"""Whether there is time: what is started on a node that ends must, by our estimates, end first.

Estimates are the means of what was measured; what was never measured may start as long as there
is time at all. Work that no node lasts long enough for would never run if estimates were obeyed:
it may start on a node that has much of the longest walltime left (``MUCH_FRAC``), and a host that
was built for it may take it.
"""

from __future__ import annotations

import math

from parsl_pcm.core.cluster import Cluster
from parsl_pcm.core.records import ContextRecord, HostRecord, LeaseRecord, ManagerRecord
from parsl_pcm.core.rooms import UNBOUNDED
from parsl_pcm.core.speeds import item_s

LEAVE_S = 5.0
"""A node is left so long before its end: hosts get up to 2 s to clean up, and clocks differ."""
MUCH_FRAC = 0.5
"""Work that fits nowhere starts where so much of the longest walltime is left: a failed attempt
wastes at most that node, and an earlier start would need a whole one."""


def left_s(manager: ManagerRecord, now: float) -> float:
    """Return how long the hosts of a node may still work."""
    return manager.ends_at - LEAVE_S - now


def rest_s(lease: LeaseRecord, now: float) -> float | None:
    """Return how long a host still works on a piece by our estimate; None: unknown.

    A piece that has taken longer than expected is expected to end now.
    """
    seconds = item_s(lease.host)
    if seconds is None or lease.started_at is None:
        return None
    whole_s = seconds * (lease.piece.stop - lease.next_item)
    return max(0.0, whole_s - (now - lease.started_at))


def has_time_for_item(host: HostRecord, cluster: Cluster, now: float) -> bool:
    """Whether a host can do one item more, after all that it holds, before its node ends."""
    context = host.context
    seconds = item_s(host) or 0.0
    remaining_s = left_s(host.manager, now)
    if remaining_s <= 0:
        return False
    if _wait_s(host, seconds, now) + seconds <= remaining_s:
        return True
    if host.load >= host.requirements.max_concurrency:
        return False
    longest_s = _longest_s(cluster, context)
    has_much = not host.was_used or remaining_s >= MUCH_FRAC * longest_s
    return has_much and _estimate_s(context) > longest_s


def num_items_in_time(host: HostRecord, now: float) -> int:
    """Return how many items more a host can do before its node ends; at least 1."""
    seconds = item_s(host)
    if not seconds:
        return UNBOUNDED
    remaining_s = left_s(host.manager, now) - _wait_s(host, seconds, now)
    return max(1, math.floor(remaining_s / seconds))


def enough_s(cluster: Cluster, context: ContextRecord) -> float:
    """Return how much time a node must have left so that a host of the context starts there."""
    if not cluster.roll.num_ending:
        return 0.0
    estimate_s = _estimate_s(context)
    longest_s = _longest_s(cluster, context)
    return MUCH_FRAC * longest_s if estimate_s > longest_s else estimate_s


def _estimate_s(context: ContextRecord) -> float:
    """Return what building the context and running one item takes."""
    return (context.setup_s.value or 0.0) + (context.service_s.value or 0.0)


def _longest_s(cluster: Cluster, context: ContextRecord) -> float:
    """Return the time that a whole walltime gives on the nodes that could hold the context."""
    return max(0.0, cluster.roll.lifetimes.longest_s(context) - LEAVE_S)


def _wait_s(host: HostRecord, seconds: float, now: float) -> float:
    """Return how long a new piece would wait at a host until it runs, at so long an item."""
    concurrency = host.requirements.max_concurrency
    if host.load < concurrency:
        return 0.0
    done_s = sum(
        min(now - lease.started_at, seconds * (lease.piece.stop - lease.next_item))
        for lease in host.running()
        if lease.started_at is not None
    )
    return (host.num_items * seconds - done_s) / concurrency
