"""The central process in virtual time: as ``interchange/driver.py``, without sockets or a clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from parsl_pcm.core import actions, events
from parsl_pcm.core.scheduler import Scheduler
from parsl_pcm.eventlog import EventLog, LogRecord
from parsl_pcm.simulator.engine.managers import Managers
from parsl_pcm.simulator.engine.timeline import Timeline
from parsl_pcm.simulator.engine.users import Users

MAX_WAKES_IN_A_MOMENT = 1000
"""A scheduler that wants ``TimePassed`` so often at the same time would never end."""
MAX_WAKES_IN_VAIN = 1000
"""So often in a row it may decide nothing while nothing else is planned: then it never will."""


class Post:
    """How orders come to managers.

    Parameters
    ----------
    managers
        They get orders when those arrive, and pieces before, with the time of their arrival.
    latency_s
        Of each.
    dispatch_s
        Of each piece, before the next order can leave. 0: all of one decision leave at once.
    """

    def __init__(
        self, time: Timeline, managers: Managers, *, latency_s: float, dispatch_s: float
    ) -> None:
        self._time = time
        self._obey = managers.obey
        self._take = managers.take
        self._latency_s = latency_s
        self._dispatch_s = dispatch_s
        self._free_at = 0.0
        """When all orders so far have left."""

    def send_piece(self, order: actions.SendPiece) -> None:
        """Let a piece leave after all before it."""
        leaves_at = self._time.now
        if self._dispatch_s:
            leaves_at = self._free_at = max(leaves_at, self._free_at) + self._dispatch_s
        self._take(order, leaves_at + self._latency_s)

    def send(self, orders: Sequence[actions.Action]) -> None:
        """Let other orders leave together, after all before them."""
        leave_at = max(self._time.now, self._free_at)
        self._time.at(leave_at + self._latency_s, partial(self._obey, orders))


class Driver:
    """Feeds the scheduler, and lets what it decides come about.

    Parameters
    ----------
    scheduler, time, users
        Who decides, when, and for whom.
    log, observe
        Get all that the scheduler hears and decides.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        time: Timeline,
        users: Users,
        *,
        log: EventLog | None,
        observe: Callable[[LogRecord], object] | None,
    ) -> None:
        self.scheduler = scheduler
        self.time = time
        self.post: Post
        """By which orders leave: connected before the first event that asks for any."""
        self.num_events = 0
        self.watch: Callable[[], object] | None = None
        """Called after each event, when its actions are known."""
        self._users = users
        self._log = log
        self._observe = observe
        self._num_wakes = 0
        self._num_wakes_in_vain = 0

    def feed(self, event: events.Event) -> bool:
        """Give the scheduler an event; whether it decided anything."""
        now = self.time.now
        self.num_events += 1
        decided = self.scheduler.handle(event, now)
        if self._log is not None:
            self._log.append(now, event, decided)
        if self._observe is not None:
            self._observe(LogRecord(now=now, event=event, actions=decided))
        if decided:
            self._let_come_about(decided, now)
        if self.watch is not None:
            self.watch()
        return bool(decided)

    def _let_come_about(self, decided: Sequence[actions.Action], now: float) -> None:
        orders = []
        for action in decided:
            if isinstance(action, actions.SendPiece):
                self.post.send_piece(action)
            elif isinstance(action, actions.DeliverRange):
                self._users.deliver(action, now)
            elif not self._users.take(action, now):
                orders.append(action)
        if orders:
            self.post.send(orders)

    def step(self, until: float = math.inf) -> bool:
        """Let the next thing happen: what is planned, or what the scheduler waits for.

        Returns
        -------
        bool
            False if there is nothing until then, or nothing will happen any more.
        """
        due, planned = self.scheduler.next_deadline(), self.time.next_at()
        if due is None or planned <= due:
            if planned > until or planned == math.inf:
                return False
            self._num_wakes = self._num_wakes_in_vain = 0
            self.time.step()
            return True
        if due > until or (planned == math.inf and self._num_wakes_in_vain > MAX_WAKES_IN_VAIN):
            return False
        self._wake(due)
        return True

    def _wake(self, due: float) -> None:
        """Let the scheduler look at what it wanted to look at now."""
        self._num_wakes = self._num_wakes + 1 if due <= self.time.now else 0
        assert self._num_wakes < MAX_WAKES_IN_A_MOMENT, f"time does not go on at {self.time.now}"
        self.time.now = max(self.time.now, due)
        self._num_wakes_in_vain += 1
        if self.feed(events.TimePassed()):
            self._num_wakes_in_vain = 0
