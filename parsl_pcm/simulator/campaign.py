"""From a scenario to a run: the pool in virtual time, all that happens to it, and its work.

::

    pool = build(scenario, seed=1)
    pool.run(scenario.stop_s)

    outcome = simulate(scenario, seed=1)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from parsl_pcm.eventlog import EventLog, LogRecord
from parsl_pcm.metrics import Metrics
from parsl_pcm.simulator.engine.pool import VirtualPool
from parsl_pcm.simulator.engine.timeline import Timeline
from parsl_pcm.simulator.results.bounds import lower_bound
from parsl_pcm.simulator.results.outcome import Outcome, outcome_of
from parsl_pcm.simulator.scenario import Scenario, Work
from parsl_pcm.simulator.scenarios import building
from parsl_pcm.simulator.site.availability import Life, begins_s, lives, longest_call_s
from parsl_pcm.simulator.site.site import VirtualSite
from parsl_pcm.simulator.site.standing import StandingNodes
from parsl_pcm.types import TaskId
from parsl_pcm.worktime import WorkTime

PATIENCE_S = 2 * 86_400.0
"""Of a run that is not cut off: with nothing delivered for so long, it ends. Nodes that come again
and again, each for too short a time, would go on for ever."""
PATIENCE_FACTOR = 10.0
"""And so many times as long as the longest call takes, on slow nodes too."""


def simulate(scenario: Scenario, seed: int = 1, *, log: Path | None = None) -> Outcome:
    """Run a campaign, and return what came of it.

    Parameters
    ----------
    seed
        The same one gives the same run, byte for byte.
    log
        Where its event log is written, as that of a live run; must not exist.

    Raises
    ------
    FileExistsError, OSError
        If the log cannot be written.
    """
    if log is None:
        return _simulate(scenario, seed, None)
    with EventLog(log, building.header_of(scenario)) as event_log:
        return _simulate(scenario, seed, event_log)


def build(
    scenario: Scenario,
    seed: int = 1,
    *,
    log: EventLog | None = None,
    observe: Callable[[LogRecord], object] | None = None,
) -> VirtualPool:
    """Return a pool that is ready to run the campaign.

    A map is one task, however many items it has: live, the user's process sends segments of a few
    thousand items as they are worked off, so that the scheduler sees of a long map what lasts it
    for some time, and here it sees all of it.
    """
    return _build(scenario, seed, lives(scenario, seed), log, observe)


def _build(
    scenario: Scenario,
    seed: int,
    all_lives: Sequence[Life],
    log: EventLog | None,
    observe: Callable[[LogRecord], object] | None,
) -> VirtualPool:
    time = Timeline()
    random = Random(f"{seed} times")
    pool = VirtualPool(
        [],
        building.models_of(scenario, random),
        header=building.header_of(scenario),
        latency_s=scenario.site.latency_s,
        dispatch_s=scenario.system.dispatch_s,
        time=time,
        staging=building.staging_of(scenario, time),
        random=random,
        log=log,
        observe=observe,
    )
    if scenario.site.is_elastic:
        VirtualSite(pool, scenario, all_lives, Random(f"{seed} site"))
    else:
        StandingNodes(pool, scenario, all_lives, seed)
    first_s = begins_s(scenario, all_lives, seed)
    for work in scenario.work:
        _submit(pool, work, first_s + work.at_s)
    return pool


def _simulate(scenario: Scenario, seed: int, log: EventLog | None) -> Outcome:
    call_items: dict[TaskId, int] = {}
    metrics, worktime = Metrics(), WorkTime(call_items)
    ended_at_s = 0.0

    def observe(record: LogRecord) -> None:
        nonlocal ended_at_s
        ended_at_s = record.now
        metrics.observe(record)
        worktime.observe(record)

    all_lives = lives(scenario, seed)
    pool = _build(scenario, seed, all_lives, log, observe)
    call_items.update(pool.call_items)
    _run(pool, scenario, all_lives)
    return outcome_of(
        scenario,
        seed,
        metrics=metrics,
        worktime=worktime,
        ended_at_s=ended_at_s if pool.is_done or scenario.stop_s is None else scenario.stop_s,
        bound_s=lower_bound(scenario, all_lives, seed),
        built_in_pieces_s=sum(tally.built_in_pieces_s for tally in pool.tallies.values()),
    )


def _run(pool: VirtualPool, scenario: Scenario, all_lives: Sequence[Life]) -> None:
    """Let the campaign go on until it is over, or for as long as anything comes of it."""
    if scenario.stop_s is not None:
        pool.run(scenario.stop_s)
        return
    patience_s = PATIENCE_S + PATIENCE_FACTOR * longest_call_s(scenario)
    all_there_s = max(work.at_s for work in scenario.work)
    if all_lives:
        all_there_s = max(all_there_s, all_lives[-1].from_s)
    last_s = -math.inf
    while not pool.is_done and last_s < pool.ended_at:
        last_s = pool.ended_at
        pool.run(max(pool.now, all_there_s) + patience_s)


def _submit(pool: VirtualPool, work: Work, at: float) -> None:
    if work.call_items is None or work.is_divisible:
        pool.submit_map(
            work.context,
            work.items,
            at=at,
            segment_items=work.call_items,
            priority=work.priority,
            effort=work.effort,
        )
        return
    num_whole, num_left = divmod(work.items, work.call_items)
    for num_calls, call_items in ((num_whole, work.call_items), (1, num_left)):
        if num_calls and call_items:
            pool.submit_calls(
                work.context,
                num_calls,
                at=at,
                priority=work.priority,
                effort=work.effort,
                call_items=call_items,
            )
