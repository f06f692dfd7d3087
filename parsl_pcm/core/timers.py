"""What shall be looked at later: a heap of moments, each with what it is about."""

from __future__ import annotations

import enum
import heapq
from typing import NamedTuple


class TimerKind(enum.Enum):
    """What a moment is about."""

    HEARTBEAT = "heartbeat"
    """Is this manager still heard?"""
    DRAIN = "drain"
    """This manager takes nothing new from now on."""
    GROWTH = "growth"
    """Has the backlog of this context waited long enough to pay for one more host?"""
    REBALANCE = "rebalance"
    """Do pieces of this context wait behind others while one of its hosts is idle?"""
    RELIEF = "relief"
    """Have pieces of this context waited long behind others, with room for one more host?"""


class Timer(NamedTuple):
    """A moment to look at something."""

    when: float
    order: int
    kind: TimerKind
    subject: str
    """Key of the manager or context."""


class Timers:
    """At most one moment for each (kind, subject); setting it again keeps the earlier one."""

    def __init__(self) -> None:
        self._heap: list[Timer] = []
        self._set: set[tuple[TimerKind, str]] = set()
        self._num_set = 0

    def set(self, kind: TimerKind, subject: str, when: float) -> None:
        """Remember to look at the subject at ``when``, unless that is planned already."""
        if (kind, subject) in self._set:
            return
        self._set.add((kind, subject))
        self._num_set += 1
        heapq.heappush(self._heap, Timer(when, self._num_set, kind, subject))

    def next(self) -> float | None:
        """Return the earliest moment; None if there is none."""
        return self._heap[0].when if self._heap else None

    def pop_due(self, now: float) -> list[Timer]:
        """Remove and return what is due at ``now``, earliest first."""
        due = []
        while self._heap and self._heap[0].when <= now:
            timer = heapq.heappop(self._heap)
            self._set.discard((timer.kind, timer.subject))
            due.append(timer)
        return due
