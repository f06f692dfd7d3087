"""Which running pieces a free host should run too, since they would end clearly sooner there.

Only pieces of mapped tasks are raced: their items do not depend on one another, so any of them may
run twice. The first result wins.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from parsl_pcm.core.records import ContextRecord, HostRecord, LeaseRecord, TaskRecord
from parsl_pcm.core.speeds import item_s, sizes_of, sizes_of_kind
from parsl_pcm.core.walltime import left_s

SOONER_FRAC = 0.25
"""A race must save so much of what a piece still takes: estimates are seldom better."""
SOONER_S = 0.05
"""And so much time: about ten round trips, so that it pays for its messages."""
OVERDUE_FACTOR = 2.0
OVERDUE_S = 1.0
"""A piece that takes so many times as long as expected, and so long, may hang."""


LOOK_S = 1e-4
"""So long for each host of a context there is no other look at it: a look takes a twentieth of
that, so looks take a twentieth of the time on the largest pools. Up to 500 hosts nothing waits."""


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


def find_races(context: ContextRecord, now: float) -> list[Race]:
    """Return the races that pay now: the pieces that will end last, on the fastest free hosts."""
    timed = [(speed, host) for host in _free_hosts(context) if (speed := item_s(host)) is not None]
    free = deque(host for _, host in sorted(timed, key=lambda entry: entry[0]))
    races = []
    for runner in sorted(_runners(context, now), key=lambda runner: -runner.rest_s):
        if not free:
            break
        if _is_worth_it(runner, free[0], now):
            races.append(Race(runner.lease, free.popleft()))
    return races


def look_interval_s(context: ContextRecord) -> float:
    """Return how long it should take at least from one look for races to the next."""
    return LOOK_S * len(context.hosts)


def next_look(context: ContextRecord, now: float) -> float | None:
    """Return when a race may pay though nothing has happened until then; None: never."""
    if next(_free_hosts(context), None) is None:
        return None
    return min((runner.next_look for runner in _runners(context, now)), default=None)


def _is_worth_it(runner: _Runner, host: HostRecord, now: float) -> bool:
    """Whether a host would end a piece clearly sooner, and before its own node ends."""
    piece = runner.lease.piece
    speed = _mapped_item_s(host, piece.task)
    if speed is None or host is runner.lease.host:
        return False
    there_s = speed * piece.num_items
    saved_s = runner.rest_s - there_s
    has_time = there_s <= left_s(host.manager, now)
    return has_time and saved_s > SOONER_S and saved_s >= SOONER_FRAC * runner.rest_s


def _mapped_item_s(host: HostRecord, task: TaskRecord) -> float | None:
    """Return how long an item of a mapped task takes on a host; None: nothing is known."""
    own = sizes_of(host, task.function_key)
    times = sizes_of_kind(host, task.function_key) if own is None else own
    return item_s(host) if times is None else times.item.value


def _free_hosts(context: ContextRecord) -> Iterator[HostRecord]:
    emptiest_first = context.loads.below(context.max_concurrency)
    return (host for host in emptiest_first if host.load < host.num_places)


def _runners(context: ContextRecord, now: float) -> Iterator[_Runner]:
    for host in context.hosts.values():
        if host.leases and not host.is_exclusive:
            judged = (_judge(lease, now) for lease in host.running() if _may_be_raced(lease))
            yield from (runner for runner in judged if runner is not None)


def _may_be_raced(lease: LeaseRecord) -> bool:
    """Whether a piece is wanted, may run twice, and has not been raced before."""
    return lease.piece.task.is_mapped and not lease.is_revoking and not lease.was_raced


def _judge(lease: LeaseRecord, now: float) -> _Runner | None:
    """Estimate the rest of a running piece; one that is overdue needs as long again.

    None: nothing is known.
    """
    speed = _mapped_item_s(lease.host, lease.piece.task)
    if speed is None or lease.started_at is None:
        return None
    expected_s = speed * lease.num_left
    overdue_at = lease.started_at + max(OVERDUE_S, OVERDUE_FACTOR * expected_s)
    elapsed_s = now - lease.started_at
    if now >= overdue_at:
        return _Runner(lease, elapsed_s, now + elapsed_s)
    return _Runner(lease, max(0.0, expected_s - elapsed_s), overdue_at)
