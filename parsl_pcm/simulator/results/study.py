"""A scenario over several seeds: each number with its median and how far it varies."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

from parsl_pcm.simulator import campaign
from parsl_pcm.simulator.results.outcome import Outcome
from parsl_pcm.simulator.scenario import Scenario

NARROW_FROM = 20
"""From so many seeds on, an interval leaves out the extreme tenth: they grow with every seed."""


@dataclass(frozen=True)
class Interval:
    """How a number varies over seeds: all values are between, or nine tenths of many."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Study:
    """What came of a scenario, by seed."""

    scenario: Scenario
    outcomes: tuple[Outcome, ...]

    @property
    def typical(self) -> Outcome:
        """The run whose makespan is in the middle; one that did not end is the longest."""
        ranked = sorted(
            self.outcomes, key=lambda outcome: (outcome.makespan_s is None, _length(outcome))
        )
        return ranked[(len(ranked) - 1) // 2]

    def interval(self, number: Callable[[Outcome], float | None]) -> Interval | None:
        """Return how a number varies; None if a run has none, as one that did not end."""
        values = [value for outcome in self.outcomes if (value := number(outcome)) is not None]
        return interval(values) if len(values) == len(self.outcomes) else None


def interval(values: Sequence[float]) -> Interval:
    """Return median and bounds of at least one value."""
    median = statistics.median(values)
    if len(values) < NARROW_FROM:
        return Interval(median, min(values), max(values))
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    return Interval(median, cuts[0], cuts[-1])


def study(
    scenario: Scenario,
    seeds: Sequence[int],
    *,
    max_processes: int = 1,
    log: Path | None = None,
    on_outcome: Callable[[Outcome], object] = lambda _: None,
) -> Study:
    """Run a scenario once for each seed.

    Parameters
    ----------
    max_processes
        Runs are independent; with more than one process, a script must be importable
        (``if __name__ == "__main__":``). Results do not depend on it.
    log
        Where the event log of the first seed is written; must not exist yet.
    on_outcome
        Called with each outcome, in the order of seeds.
    """
    outcomes = []
    for outcome in _runs(scenario, seeds, max_processes, log):
        on_outcome(outcome)
        outcomes.append(outcome)
    return Study(scenario, tuple(outcomes))


def _runs(
    scenario: Scenario, seeds: Sequence[int], max_processes: int, log: Path | None
) -> Iterator[Outcome]:
    logs = [log, *[None] * (len(seeds) - 1)]
    num_processes = min(max_processes, os.cpu_count() or 1, len(seeds))
    if num_processes < 2:
        yield from (
            campaign.simulate(scenario, seed, log=path)
            for seed, path in zip(seeds, logs, strict=True)
        )
        return
    others = multiprocessing.active_children()
    with ProcessPoolExecutor(num_processes, mp_context=get_context("spawn")) as pool:
        with _children_deaf_to_interrupts():
            runs = [pool.submit(_run, scenario, *each) for each in zip(seeds, logs, strict=True)]
        try:
            yield from (run.result() for run in runs)
        except BaseException:
            _terminate(set(multiprocessing.active_children()).difference(others))
            raise


@contextlib.contextmanager
def _children_deaf_to_interrupts() -> Iterator[None]:
    """Keep Ctrl-C from processes that start meanwhile: this one ends them, without their words."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _terminate(processes: Iterable[BaseProcess]) -> None:
    for process in processes:
        process.terminate()


def _run(scenario: Scenario, seed: int, log: Path | None) -> Outcome:
    return campaign.simulate(scenario, seed, log=log)


def _length(outcome: Outcome) -> float:
    return outcome.ended_at_s if outcome.makespan_s is None else outcome.makespan_s
