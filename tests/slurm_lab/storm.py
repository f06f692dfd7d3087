"""A storm: GPUs taken back and nodes failing at random, again and again, while items run."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from parsl_pcm.core.actions import DeliverRange
from parsl_pcm.eventlog import read_log
from tests.slurm_lab.books import Books
from tests.slurm_lab.lab import SlurmLab
from tests.slurm_lab.waiting import wait_for

NUM_OPEN_ITEMS = 30
"""Items that run or wait at any time: several for each GPU of the lab."""
ITEM_S = (0.1, 1.0)
PAUSE_S = (0.1, 1.0)
ABSENCE_S = (0.2, 1.5)
SHARE_OF_FAILURES = 0.3
CALM_S = 300.0
END_TIMEOUT_S = 120.0

Submit = Callable[[int, float | None], "Future[int]"]


@dataclass(frozen=True, kw_only=True)
class Damage:
    """What a storm did, and what was left of the items."""

    num_preemptions: int
    num_node_failures: int
    num_items: int
    num_lost: int
    """Items without their result: an exception, another item's result, or none."""
    num_repeated: int
    """Items that were begun more than once."""
    num_overlaps: int
    """Two processes had one GPU at the same time."""


class Storm:
    """One storm over a lab whose nodes run our jobs.

    Parameters
    ----------
    submit
        Takes number and seconds of an item.
    """

    def __init__(self, lab: SlurmLab, books: Books, submit: Submit, chance: random.Random) -> None:
        self._lab = lab
        self._books = books
        self._submit = submit
        self._chance = chance
        self._futures: list[Future[int]] = []

    def rage(self, num_events: int) -> Damage:
        """Strike so often, wait until every item has ended, and count.

        How many of the strikes are failures is no chance; only their order is.
        """
        num_failures = max(1, round(SHARE_OF_FAILURES * num_events))
        num_preemptions = num_events - num_failures
        strikes = [self._fail] * num_failures + [self._preempt] * num_preemptions
        self._chance.shuffle(strikes)
        for i, strike in enumerate(strikes):
            node = wait_for(self._victim, f"a job of ours runs, {i} strikes on", timeout_s=CALM_S)
            strike(node)
            self._top_up()
            time.sleep(self._chance.uniform(*PAUSE_S))
        return self._count(num_preemptions, num_failures)

    def _victim(self) -> str | None:
        self._top_up()
        nodes = {job.node for job in self._lab.queue() if job.state == "RUNNING"}
        return self._chance.choice(sorted(nodes)) if nodes else None

    def _preempt(self, node: str) -> None:
        num_gpus = self._chance.choice((0, 1))
        with self._lab.taken(node, num_gpus=num_gpus) as guest:
            self._lab.wait_until_taken(guest)
            time.sleep(self._chance.uniform(*ABSENCE_S))

    def _fail(self, node: str) -> None:
        self._lab.fail(node)
        time.sleep(self._chance.uniform(*ABSENCE_S))
        self._lab.repair(node)

    def _top_up(self) -> None:
        num_open = sum(not future.done() for future in self._futures)
        for _ in range(NUM_OPEN_ITEMS - num_open):
            item = len(self._futures)
            future = self._submit(item, self._chance.uniform(*ITEM_S))
            self._futures.append(future)

    def _count(self, num_preemptions: int, num_node_failures: int) -> Damage:
        deadline = time.monotonic() + END_TIMEOUT_S
        lost = [
            item
            for item, future in enumerate(self._futures)
            if not _is_right(item, future, deadline - time.monotonic())
        ]
        return Damage(
            num_preemptions=num_preemptions,
            num_node_failures=num_node_failures,
            num_items=len(self._futures),
            num_lost=len(lost),
            num_repeated=sum(count > 1 for count in self._books.num_runs().values()),
            num_overlaps=len(self._books.entries("overlap")),
        )


def num_deliveries(log: Path) -> Counter[int]:
    """Return how often each task's result was delivered, by the event log of its run."""
    return Counter(
        action.task_id
        for record in read_log(log).records
        for action in record.actions
        if isinstance(action, DeliverRange)
    )


def _is_right(item: int, future: Future[int], timeout_s: float) -> bool:
    try:
        return future.result(timeout=max(timeout_s, 0.0)) == item
    except Exception:  # noqa: BLE001 - whatever it is, the item is lost, and that is counted
        return False
