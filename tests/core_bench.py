"""A pool in virtual time whose hosts take time: for what a policy is worth, in seconds.

Everything is exact and repeatable: no clock, no threads, no chance. Messages take ``LATENCY_S``
each way, so pieces that were not sent ahead leave gaps, as they would in a real run.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from parsl_pcm.core import actions, events
from parsl_pcm.core.policy import Policy
from parsl_pcm.core.scheduler import Scheduler
from parsl_pcm.types import (
    BlockId,
    ContextKey,
    HostId,
    LeaseId,
    ManagerId,
    Requirements,
    TaskId,
)
from tests.fakes import cpu_node

LATENCY_S = 0.002
CONTEXT = ContextKey("c")

PieceTime = Callable[[int, float, int], float]
"""How long a piece takes: by its number of items, the time now, and the pieces that run there."""


def each(item_s: float, piece_s: float = 0.0) -> PieceTime:
    """Return the times of a host that does one item after the other, and prepares each piece."""
    return lambda num_items, _now, _num_running: piece_s + num_items * item_s


@dataclass
class Node:
    """Where one host runs."""

    piece_time: PieceTime
    setup_s: float = 0.0
    joins_at: float = 0.0
    is_yielding: bool = False
    """Whether the app reports items one by one."""


@dataclass
class Held:
    """A piece at a host."""

    lease_id: LeaseId
    start: int
    stop: int


@dataclass
class Host:
    """A process on a node."""

    host_id: HostId
    node: Node
    held: list[Held] = field(default_factory=list)
    num_running: int = 0
    busy_s: float = 0.0


@dataclass
class Bench:
    """A run of one context on nodes with a host each."""

    nodes: list[Node]
    policy: Policy | None = None
    max_concurrency: int = 1
    now: float = 0.0
    num_events: int = 0
    num_done: int = 0
    ended_at: float = 0.0
    """When the last result was delivered."""
    sizes: list[tuple[float, int, int]] = field(default_factory=list)
    """(time, host, items) of each piece that was sent."""
    hosts: dict[HostId, Host] = field(default_factory=dict)
    _heap: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _num_planned: int = 0

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(policy=self.policy, heartbeat_threshold_s=1e9)
        needs = Requirements(cores=1.0, max_concurrency=self.max_concurrency)
        self.feed(events.ContextDeclared(context_key=CONTEXT, name="c", requirements=needs))
        for index, node in enumerate(self.nodes):
            joined = events.ManagerRegistered(
                manager_id=ManagerId(str(index)), block_id=BlockId("0"), resources=cpu_node()
            )
            self.at(node.joins_at, lambda joined=joined: self.feed(joined))

    def map(self, num_items: int, segment_items: int | None = None) -> float:
        """Run a map that comes in segments; return how long it took."""
        began_at = self.now
        segment_items = num_items if segment_items is None else segment_items
        for start in range(0, num_items, segment_items):
            size = min(segment_items, num_items - start)
            self.at(began_at, lambda start=start, size=size: self._submit(start, size))
        self.run()
        return self.ended_at - began_at

    def call(self, num_calls: int) -> float:
        """Run ordinary calls; return how long they took."""
        began_at = self.now
        for number in range(num_calls):
            self.at(began_at, lambda number=number: self._submit(number, 1, is_mapped=False))
        self.run()
        return self.ended_at - began_at

    def run(self) -> None:
        """Go on until every task is over."""
        while self._heap or self.scheduler.cluster.tasks:
            due = self.scheduler.next_deadline()
            if self._heap and (due is None or self._heap[0][0] <= due):
                self.now, _, act = heapq.heappop(self._heap)
                act()
            elif not self.scheduler.cluster.tasks:
                break
            else:
                assert due is not None, "waits for ever"
                self.now = max(self.now, due)
                self.feed(events.TimePassed())

    # --- the pool -----------------------------------------------------------------------------

    def at(self, when: float, act: Callable[[], object]) -> None:
        self._num_planned += 1
        heapq.heappush(self._heap, (max(self.now, when), self._num_planned, act))

    def feed(self, event: events.Event) -> None:
        self.num_events += 1
        for action in self.scheduler.handle(event, self.now):
            if isinstance(action, actions.DeliverRange):
                self.num_done += action.stop - action.start
                self.ended_at = self.now
            else:
                self.at(self.now + LATENCY_S, lambda action=action: self._obey(action))

    def _submit(self, first: int, num_items: int, *, is_mapped: bool = True) -> None:
        self.feed(
            events.TaskSubmitted(
                task_id=TaskId(self.num_events * 10**8 + first),
                context_key=CONTEXT,
                num_items=num_items,
                is_mapped=is_mapped,
            )
        )

    def _obey(self, action: actions.Action) -> None:
        match action:
            case actions.StartHost():
                node = self.nodes[int(action.manager_id)]
                self.hosts[action.host_id] = Host(action.host_id, node)
                ready = events.HostReady(host_id=action.host_id, setup_s=node.setup_s)
                self.at(self.now + node.setup_s, lambda: self.feed(ready))
            case actions.StopHost():
                gone = events.HostExited(host_id=action.host_id, description="stopped")
                self.at(self.now + LATENCY_S, lambda: self.feed(gone))
            case actions.SendPiece():
                host = self.hosts[action.host_id]
                self.sizes.append((self.now, action.host_id, action.stop - action.start))
                host.held.append(Held(action.lease_id, action.start, action.stop))
                self._start_next(host)
            case actions.RevokeLease():
                self._give_back(self.hosts[action.host_id], action.lease_id)

    def _give_back(self, host: Host, lease_id: LeaseId) -> None:
        for held in host.held[host.num_running :]:
            if held.lease_id == lease_id:
                host.held.remove(held)
                back = events.LeaseRevoked(lease_id=lease_id)
                self.at(self.now + LATENCY_S, partial(self.feed, back))

    def _start_next(self, host: Host) -> None:
        if host.num_running < min(len(host.held), self.max_concurrency):
            held = host.held[host.num_running]
            host.num_running += 1
            num_items = held.stop - held.start
            run_s = host.node.piece_time(num_items, self.now, host.num_running)
            if host.node.is_yielding:
                self._report_each(held, run_s / num_items)
            else:
                self._report(held, held.start, held.stop, self.now + run_s, run_s)
            host.busy_s += run_s
            self.at(self.now + run_s, lambda: self._end(host, held))
            self._start_next(host)

    def _report_each(self, held: Held, item_s: float) -> None:
        for done in range(1, held.stop - held.start + 1):
            item = held.start + done
            self._report(held, item - 1, item, self.now + done * item_s, item_s)

    def _report(self, held: Held, start: int, stop: int, when: float, run_s: float) -> None:
        report = events.PieceFinished(lease_id=held.lease_id, start=start, stop=stop, run_s=run_s)
        self.at(when + LATENCY_S, lambda: self.feed(report))

    def _end(self, host: Host, held: Held) -> None:
        host.held.remove(held)
        host.num_running -= 1
        self._start_next(host)


def ideal_s(num_items: int, *item_s: float) -> float:
    """Return how long these hosts take if they are busy from the beginning to a common end."""
    return num_items / math.fsum(1.0 / seconds for seconds in item_s)
