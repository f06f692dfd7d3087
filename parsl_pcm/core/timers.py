"""What shall be looked at later: a heap of moments, each with what it is about."""

from __future__ import annotations

import enum
import heapq
from typing import NamedTuple


class TimerKind(enum.Enum):
    """What a moment is about."""

    HEARTBEAT = "heartbeat"
    """Is there a manager that was not heard for too long?"""
    DRAIN = "drain"
    """This manager takes nothing new from now on."""
    WALLTIME = "walltime"
    """The site is about to end this manager: it takes nothing new from now on."""
    SETTLE = "settle"
    """The site has not said when it takes this manager back: count with the usual notice."""
    END = "end"
    """This manager is taken back about now: what it still holds runs elsewhere."""
    USE = "use"
    """Is there a manager that has no time left for anything that waits?"""
    GROWTH = "growth"
    """Has the backlog of this context waited long enough to pay for one more host?"""
    REBALANCE = "rebalance"
    """Do pieces of this context wait behind others while one of its hosts is idle?"""
    RELIEF = "relief"
    """Have pieces of this context waited long behind others, with room for one more host?"""
    RETRY = "retry"
    """May this context be built again on a node on which it could not be?"""
    RACE = "race"
    """Would running pieces of this context end sooner on one of its hosts that is free?"""


CONTEXT_TIMERS = (
    TimerKind.GROWTH,
    TimerKind.REBALANCE,
    TimerKind.RELIEF,
    TimerKind.RETRY,
    TimerKind.RACE,
)
"""Those whose subject is a context."""


class Timer(NamedTuple):
    """A moment to look at something."""

    when: float
    order: int
    kind: TimerKind
    subject: str
    """Key of the manager or context; "" if it is about all managers."""


class Timers:
    """At most one moment for each (kind, subject)."""

    def __init__(self) -> None:
        self._heap: list[Timer] = []
        self._planned: dict[tuple[TimerKind, str], Timer] = {}
        self._void: set[int] = set()
        """The ``order`` of what is in the heap and planned no more."""
        self._num_set = 0

    def set(self, kind: TimerKind, subject: str, when: float) -> None:
        """Remember to look at the subject at ``when``, unless that is planned already."""
        if (kind, subject) not in self._planned:
            self.move(kind, subject, when)

    def hasten(self, kind: TimerKind, subject: str, when: float) -> None:
        """Look at the subject at ``when``, unless it is planned to be looked at sooner."""
        planned = self._planned.get((kind, subject))
        if planned is None or when < planned.when:
            self.move(kind, subject, when)

    def move(self, kind: TimerKind, subject: str, when: float) -> None:
        """Look at the subject at ``when``, whatever was planned before."""
        self.cancel(kind, subject)
        self._num_set += 1
        timer = Timer(when, self._num_set, kind, subject)
        self._planned[kind, subject] = timer
        heapq.heappush(self._heap, timer)

    def cancel(self, kind: TimerKind, subject: str) -> None:
        """Plan nothing for the subject, if anything was planned."""
        timer = self._planned.pop((kind, subject), None)
        if timer is not None:
            self._void.add(timer.order)

    def next(self) -> float | None:
        """Return the earliest moment; None if there is none."""
        while self._void and self._heap[0].order in self._void:
            self._void.remove(heapq.heappop(self._heap).order)
        return self._heap[0].when if self._heap else None

    def pop_due(self, now: float) -> list[Timer]:
        """Remove and return what is due at ``now``, earliest first."""
        due = []
        while self._heap and self._heap[0].when <= now:
            timer = heapq.heappop(self._heap)
            if timer.order in self._void:
                self._void.remove(timer.order)
            else:
                del self._planned[timer.kind, timer.subject]
                due.append(timer)
        return due
