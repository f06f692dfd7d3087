"""One repetition of each part of ``preemption.py``, the same for both executors."""

from __future__ import annotations

import contextlib
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.slurm_lab.books import Books, Entry
from tests.slurm_lab.lab import SlurmLab
from tests.slurm_lab.settings import GRACEFUL, PREEMPTIBLE, Gpus, LabSettings
from tests.slurm_lab.storm import Storm, num_deliveries

LOAD_S = 2.0
GRACE_ITEM_S = 4.0
SETTLE_S = (10.0, 15.0)
"""So long the GPU stays taken while an item waits for it: by chance, for looks are periodic."""
FLUSH_S = 2.0
"""For the event log, which is written out once a second."""
PATIENCE_S = 300.0
"""HighThroughputExecutor takes two minutes for what is waited for here."""


@dataclass(frozen=True)
class Value:
    """One measured number."""

    row: str
    unit: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Run:
    """A lab and an executor on it."""

    lab: SlurmLab
    books: Books
    submit: Callable[[int, float | None], Future[int]]
    """Takes number and seconds of an item; without seconds it waits for its gate."""
    num_events: int
    """Of the storm."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is measured on which lab."""

    measure: Callable[[Run], Iterator[Value]]
    nodes: tuple[Gpus, ...]
    num_blocks: int
    num_slots: int = 1
    """Items at a time on each GPU."""
    load_s: float = LOAD_S
    partition: str = PREEMPTIBLE
    is_taken_at_first: bool = False
    """Whether somebody else has the GPUs when the executor starts."""
    is_requeued: bool = True
    """Whether Slurm starts the blocks of PCMExecutor again; if not, it asks for others itself."""
    is_ours_alone: bool = False
    is_short: bool = False
    """Whether both executors take seconds, so that a busy machine would show."""

    @property
    def settings(self) -> LabSettings:
        """Of its lab."""
        return LabSettings(nodes=self.nodes)


def kill(run: Run) -> Iterator[Value]:
    """Kill one of two busy nodes; the other has room for what ran there."""
    futures = [run.submit(item, None) for item in range(4)]
    doomed, spared = _by_node(run.books.wait_for(4, "begun", timeout_s=PATIENCE_S))
    for entry in (doomed[1], spared[1]):
        run.books.open_gate(entry.item)
        futures[int(entry.item)].result(timeout=PATIENCE_S)
    killed_at_s = time.time()
    run.lab.kill(doomed[0].node)
    again = run.books.wait_for(2, "begun", doomed[0].item, timeout_s=PATIENCE_S)[1]
    assert again.node == spared[0].node
    yield Value("node killed: until its item runs on another", "s", again.at_s - killed_at_s)
    _end(run, futures)


def _by_node(begun: list[Entry]) -> list[list[Entry]]:
    nodes: dict[str, list[Entry]] = defaultdict(list)
    for entry in begun:
        nodes[entry.node].append(entry)
    assert [len(entries) for entries in nodes.values()] == [2, 2], f"not two on each: {begun}"
    return list(nodes.values())


def _time_of_death(entry: Entry) -> float:
    """Wait for the end of a process; return its time in seconds since the epoch."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(entry.pid)
        # Process number 1 may be slow to reap: a zombie is dead.
        while process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.005)
    return time.time()


def _end(run: Run, futures: list[Future[int]]) -> None:
    for item, future in enumerate(futures):
        run.books.open_gate(item)
        assert future.result(timeout=PATIENCE_S) == item


def requeue(run: Run) -> Iterator[Value]:
    """Take the only GPU back for a moment; Slurm queues the job again."""
    futures = [run.submit(0, None)]
    (first,) = run.books.wait_for(1, "begun", timeout_s=PATIENCE_S)
    with run.lab.taken(first.node):
        killed_at_s = _time_of_death(first)
    again = run.books.wait_for(2, "begun", timeout_s=PATIENCE_S)[1]
    job = [entry for entry in run.books.entries("job") if entry.at_s < again.at_s][1]
    loading, loaded = (run.books.entries(what)[1] for what in ("loading", "loaded"))
    lost_s = again.at_s - job.at_s - (loaded.at_s - loading.at_s)
    yield Value("the only node requeued: until the item runs again", "s", again.at_s - killed_at_s)
    yield Value("of which neither requeue wait nor context load", "s", lost_s)
    _end(run, futures)


def grace(run: Run) -> Iterator[Value]:
    """Take the only GPU back with notice when two items have ended, two run and four wait."""
    futures = [run.submit(item, GRACE_ITEM_S) for item in range(8)]
    begun = run.books.wait_for(4, "begun", timeout_s=PATIENCE_S)[2:]
    in_flight = [futures[int(entry.item)] for entry in begun]
    told_at_s = time.time()
    with run.lab.taken(begun[0].node) as guest:
        run.lab.wait_until_taken(guest)
        num_delivered = sum(future.done() for future in in_flight)
    for item, future in enumerate(futures):
        assert future.result(timeout=PATIENCE_S) == item
    num_repeated = sum(count > 1 for count in run.books.num_runs().values())
    yield Value("two in flight at notice: delivered before the kill", "-", num_delivered)
    yield Value("items begun twice", "-", num_repeated)
    yield Value("notice to the last of six results", "s", time.time() - told_at_s)


def idle(run: Run) -> Iterator[Value]:
    """Free the only GPU while an item waits for it."""
    (guest,) = run.lab.queue(guests=True)
    future = run.submit(0, 0.0)
    time.sleep(random.Random().uniform(*SETTLE_S))
    freed_at_s = time.time()
    run.lab.cancel(guest.job_id)
    assert future.result(timeout=PATIENCE_S) == 0
    loading, loaded = (run.books.entries(what)[0] for what in ("loading", "loaded"))
    waited_s = time.time() - freed_at_s - (loaded.at_s - loading.at_s)
    yield Value("GPU freed: until the first result, without context load", "s", waited_s)


def storm(run: Run) -> Iterator[Value]:
    """Preempt and fail nodes at random."""
    started_s = time.time()
    damage = Storm(run.lab, run.books, run.submit, random.Random(run.num_events)).rage(
        run.num_events
    )
    num_events = damage.num_preemptions + damage.num_node_failures
    what = f"storm of {num_events} preemptions and node failures"
    yield Value(f"{what}: items", "-", damage.num_items)
    yield Value(f"{what}: time", "s", time.time() - started_s)
    yield Value("storm: items lost", "-", damage.num_lost)
    time.sleep(FLUSH_S)
    delivered = num_deliveries(event_log())
    twice = sum(count > 1 for count in delivered.values())
    yield Value("storm: items delivered twice, by the event log", "-", twice)
    yield Value("storm: items begun twice", "-", damage.num_repeated)
    yield Value("storm: two processes on one GPU", "-", damage.num_overlaps)


def event_log() -> Path:
    """Return the event log of our executor, which is loaded."""
    import parsl

    (logdir,) = [each.logdir for each in parsl.dfk().executors.values() if hasattr(each, "logdir")]
    return Path(logdir) / "events.jsonl"


JOBS_LEFT = "jobs left in the queue"
TWO_NODES = (Gpus("a10", 1), Gpus("titanx", 1))
PARTS = {
    "kill": Part(measure=kill, nodes=TWO_NODES, num_blocks=2, num_slots=2),
    "requeue": Part(measure=requeue, nodes=(Gpus("a10", 1),), num_blocks=1),
    "grace": Part(
        measure=grace, nodes=(Gpus("a10", 1),), num_blocks=1, num_slots=2, partition=GRACEFUL
    ),
    "idle": Part(
        measure=idle, nodes=(Gpus("h100", 1),), num_blocks=1, is_taken_at_first=True, is_short=True
    ),
    "storm": Part(
        measure=storm,
        nodes=LabSettings().nodes,
        num_blocks=5,
        load_s=0.2,
        is_ours_alone=True,
    ),
}
