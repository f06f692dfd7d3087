"""Which running pieces a free host should run too, since they would end clearly sooner there.

Only pieces of mapped tasks are raced: their items do not depend on one another, so any of them may
run twice. The first result wins.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from parsl_pcm.core.records import ContextRecord, HostRecord, LeaseRecord
from parsl_pcm.core.walltime import left_s

SOONER_FRAC = 0.25
"""A race must save so much of what a piece still takes: estimates are seldom better."""
SOONER_S = 0.05
"""And so much time: about ten round trips, so that it pays for its messages."""
OVERDUE_FACTOR = 2.0
OVERDUE_S = 1.0
"""A piece that takes so many times as long as expected, and so long, may hang."""


class Race(NamedTuple):
    """A running piece, and the host that shall run it too."""

    lease: LeaseRecord
    host: HostRecord


class _Runner(NamedTuple):
    """A piece that may be raced, by our estimates."""

    lease: LeaseRecord
    rest_s: float
    next_look: float
    """When more is known of it if nothing happens until then."""


def item_s(host: HostRecord) -> float | None:
    """Return how long a host takes for an item; None: unknown."""
    return host.context.service_s.value


def find_races(context: ContextRecord, now: float) -> list[Race]:
    """Return the races that pay now: the pieces that will end last, on the fastest free hosts."""
    timed = [(speed, host) for host in _free_hosts(context) if (speed := item_s(host)) is not None]
    free = deque(sorted(timed, key=lambda entry: entry[0]))
    races = []
    for runner in sorted(_runners(context, now), key=lambda runner: -runner.rest_s):
        if not free:
            break
        there_s, host = free[0]
        there_s *= runner.lease.piece.num_items
        if host is not runner.lease.host and _is_worth_it(runner.rest_s, there_s, host, now):
            races.append(Race(runner.lease, host))
            free.popleft()
    return races


def next_look(context: ContextRecord, now: float) -> float | None:
    """Return when a race may pay though nothing has happened until then; None: never."""
    if next(_free_hosts(context), None) is None:
        return None
    return min((runner.next_look for runner in _runners(context, now)), default=None)


def _is_worth_it(rest_s: float, there_s: float, host: HostRecord, now: float) -> bool:
    saved_s = rest_s - there_s
    has_time = there_s <= left_s(host.manager, now)
    return has_time and saved_s > SOONER_S and saved_s >= SOONER_FRAC * rest_s


def _free_hosts(context: ContextRecord) -> Iterator[HostRecord]:
    return context.loads.below(context.requirements.max_concurrency)


def _runners(context: ContextRecord, now: float) -> Iterator[_Runner]:
    for host in context.hosts.values():
        speed = item_s(host)
        if speed is not None and not host.is_exclusive:
            candidates = filter(_may_be_raced, host.running())
            yield from (_judge(lease, speed, now) for lease in candidates)


def _may_be_raced(lease: LeaseRecord) -> bool:
    """Whether a running piece is wanted, may run twice, and has not been raced before."""
    is_running = lease.started_at is not None and not lease.is_revoking
    return is_running and lease.piece.task.is_mapped and not lease.was_raced


def _judge(lease: LeaseRecord, speed: float, now: float) -> _Runner:
    """Estimate the rest of a piece; one that is overdue needs as long again as it has taken."""
    started_at = now if lease.started_at is None else lease.started_at
    expected_s = speed * (lease.piece.stop - lease.next_item)
    overdue_at = started_at + max(OVERDUE_S, OVERDUE_FACTOR * expected_s)
    elapsed_s = now - started_at
    if now >= overdue_at:
        return _Runner(lease, elapsed_s, now + elapsed_s)
    return _Runner(lease, max(0.0, expected_s - elapsed_s), overdue_at)
