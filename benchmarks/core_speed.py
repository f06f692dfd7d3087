"""The scheduler alone, in virtual time: events a second, and how the cost grows.

A stand-in for the cluster answers every action at once: a host that is started becomes ready, a
piece that is sent is finished. So every event is one that a real run has, and nothing but the
scheduler takes time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from parsl_pcm.core import actions, events
from parsl_pcm.core.scheduler import Scheduler
from parsl_pcm.types import BlockId, ContextKey, ManagerId, NodeResources, Requirements, TaskId

NUM_MANAGERS, NUM_TASKS = 1_000, 100_000
CONTEXT = ContextKey("context")
SETUP_S, RUN_S = 10.0, 1.0
NEVER_SILENT_S = 1e9


@dataclass
class Cluster:
    """Nodes with one host each, whose hosts answer everything in order."""

    num_managers: int
    scheduler: Scheduler = field(
        default_factory=lambda: Scheduler(heartbeat_threshold_s=NEVER_SILENT_S)
    )
    now: float = 0.0
    num_events: int = 0
    num_delivered: int = 0
    answers: deque[events.Event] = field(default_factory=deque)

    def feed(self, event: events.Event) -> None:
        """Give the scheduler an event; queue the answers to what it decides."""
        self.num_events += 1
        for action in self.scheduler.handle(event, now=self.now):
            match action:
                case actions.SendPiece(lease_id=lease, start=start, stop=stop):
                    self.answers.append(
                        events.PieceFinished(lease_id=lease, start=start, stop=stop, run_s=RUN_S)
                    )
                case actions.StartHost(host_id=host):
                    self.answers.append(events.HostReady(host_id=host, setup_s=SETUP_S))
                case actions.RevokeLease(lease_id=lease):
                    self.answers.append(events.LeaseRevoked(lease_id=lease))
                case actions.StopHost(host_id=host):
                    self.answers.append(events.HostExited(host_id=host, description="stopped"))
                case actions.DeliverRange():
                    self.num_delivered += 1
                case _:
                    pass

    def register(self) -> None:
        """Connect every node."""
        self.feed(
            events.ContextDeclared(
                context_key=CONTEXT, name="context", requirements=Requirements(cores=1.0)
            )
        )
        for index in range(self.num_managers):
            self.feed(
                events.ManagerRegistered(
                    manager_id=ManagerId(f"manager-{index}"),
                    block_id=BlockId(str(index)),
                    resources=NodeResources(cores=1.0, memory_bytes=2**34),
                )
            )

    def submit(self, num_tasks: int) -> None:
        """Queue tasks while nothing is finished."""
        for task in range(num_tasks):
            self.feed(events.TaskSubmitted(task_id=TaskId(task), context_key=CONTEXT))

    def run(self) -> None:
        """Answer until nothing is left to answer."""
        while self.answers:
            self.now += RUN_S / self.num_managers
            deadline = self.scheduler.next_deadline()
            if deadline is not None and deadline <= self.now:
                self.feed(events.TimePassed())
            self.feed(self.answers.popleft())


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run of one size."""

    num_managers: int
    num_tasks: int
    num_events: int
    submit_us: float
    """A submitted task."""
    run_us: float
    """An event from then on."""
    events_per_s: float


def measure(num_managers: int, num_tasks: int) -> Measured:
    """Run that many tasks on that many nodes."""
    cluster = Cluster(num_managers)
    started = time.process_time()
    cluster.register()
    registered = time.process_time()
    cluster.submit(num_tasks)
    submitted = time.process_time()
    num_before = cluster.num_events
    cluster.run()
    ended = time.process_time()
    assert cluster.num_delivered == num_tasks, "a task was lost or delivered twice"
    return Measured(
        num_managers=num_managers,
        num_tasks=num_tasks,
        num_events=cluster.num_events,
        submit_us=(submitted - registered) / num_tasks * 1e6,
        run_us=(ended - submitted) / (cluster.num_events - num_before) * 1e6,
        events_per_s=cluster.num_events / (ended - started),
    )


def sizes(scale: float) -> Iterator[tuple[int, int]]:
    """Yield the sizes: each of the two grows tenfold, twice, while the other stays."""
    managers, tasks = NUM_MANAGERS, int(NUM_TASKS * scale)
    yield managers, tasks // 100
    yield managers, tasks // 10
    yield managers // 100, tasks
    yield managers // 10, tasks
    yield managers, tasks


def report(scale: float) -> Iterator[str]:
    """Yield the table of the scheduler alone."""
    yield "| managers | queued tasks | events | us a submit | us an event after that | events/s |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for num_managers, num_tasks in sizes(scale):
        row = measure(num_managers, num_tasks)
        yield (
            f"| {row.num_managers:,} | {row.num_tasks:,} | {row.num_events:,} "
            f"| {row.submit_us:.1f} | {row.run_us:.1f} | {row.events_per_s:,.0f} |"
        )
