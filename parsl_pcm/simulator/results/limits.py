"""What limits a campaign, in sentences: what could be saved of its time, the most first."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from parsl_pcm.metrics import Metrics
from parsl_pcm.simulator.scenario import Keeps, Scenario
from parsl_pcm.simulator.site import gpus
from parsl_pcm.summary import duration
from parsl_pcm.worktime import WorkTime
from parsl_pcm.worktime_records import Spent

WORTH_TELLING_FRAC = 0.005
"""Of the time; what costs less limits nothing."""
STAGING_FRAC = 0.1
"""Of a load; what it waits less for its files is not named."""
SAVED_BY_TWICE_FRAC = 0.5
"""Of useful time: what twice as many GPUs would save. All of any other time could be saved."""
BUSY_FRAC = 0.8
"""A central process that is busy for so much of the run holds others up."""


class _Limit(NamedTuple):
    share: float
    """What could be saved of the GPU time, or of the time that the campaign takes."""
    sentence: str


class Run(NamedTuple):
    """A run that has ended."""

    scenario: Scenario
    metrics: Metrics
    worktime: WorkTime
    spent: Spent
    """Until the last task was over."""

    @property
    def num_pieces(self) -> int:
        """Pieces that were sent to hosts."""
        return sum(context.num_pieces for context in self.metrics.contexts.values())


def describe_limits(run: Run) -> tuple[str, ...]:
    """Return what limits a campaign, what weighs most first; at least one sentence."""
    undone = tuple(_undone(run))
    if not run.spent.device_s:
        return (*undone, "no GPU was ever there")
    found = sorted(_limits(run), reverse=True)
    told = [limit.sentence for limit in found if limit.share >= WORTH_TELLING_FRAC]
    return (*undone, *(told or [found[0].sentence]))


def _undone(run: Run) -> Iterator[str]:
    num_items = sum(work.items for work in run.scenario.work)
    num_left = num_items - run.spent.num_delivered
    if num_left > 0:
        yield f"not done: {num_left:,} of {num_items:,} items have no result when the run ends"
    if run.metrics.num_failed:
        yield f"failures: tasks that ended with an error: {run.metrics.num_failed:,}"


def _limits(run: Run) -> Iterator[_Limit]:
    """Yield all of them, as shares of the whole time."""
    empty_frac = run.spent.empty_s / (run.metrics.makespan_s or math.inf)
    for limit in _of_gpu_time(run):
        yield _Limit(limit.share * (1.0 - min(1.0, empty_frac)), limit.sentence)
    yield from _absence(run)


def _of_gpu_time(run: Run) -> Iterator[_Limit]:
    useful = (run.spent.working_s - run.spent.wasted_s) / run.spent.device_s
    told = f"number of GPUs: {useful:.1%} of their time gives results"
    yield _Limit(SAVED_BY_TWICE_FRAC * useful, told)
    yield _loading(run)
    yield _preemption(run)
    yield from _idleness(run)


def _loading(run: Run) -> _Limit:
    share = run.spent.loading_s / run.spent.device_s
    if run.scenario.system.keeps is not Keeps.CONTEXT:
        text = f"loading: {share:.1%} of GPU time, for each of {run.num_pieces:,} pieces loads"
        return _Limit(share, text)
    num_loads = run.metrics.num_cold_starts
    mean_s = run.metrics.loading_s / num_loads if num_loads else 0.0
    text = f"loading: {share:.1%} of GPU time for {num_loads:,} loads of {duration(mean_s)}"
    staging = _staging_frac(run.scenario, run.metrics)
    if staging >= STAGING_FRAC:
        text += f", {staging:.0%} of that to fetch and unpack files"
    return _Limit(share, text)


def _staging_frac(scenario: Scenario, metrics: Metrics) -> float:
    """Return the share of set-ups that their own steps do not explain: the rest is for files."""
    kinds = sorted({gpu for pool in scenario.pools for gpu in (*pool.gpu_mix, pool.gpu) if gpu})
    total_s = own_s = 0.0
    for context in scenario.contexts:
        loads = next(
            (each for each in metrics.contexts.values() if each.name == context.name), None
        )
        if loads is not None:
            times = [gpus.setup_s(context, kind) for kind in (kinds if context.gpus else [None])]
            own_s += loads.num_loads * sum(times) / max(1, len(times))
            total_s += loads.total_s
    return 1.0 - own_s / total_s if total_s else 0.0


def _preemption(run: Run) -> _Limit:
    spent, num_loads = run.spent, run.metrics.num_cold_starts
    num_again = min(spent.num_preempted, max(0, num_loads - run.worktime.num_devices))
    again_s = spent.loading_s * num_again / num_loads if num_loads else 0.0
    share = (spent.wasted_s + again_s) / spent.device_s
    if not spent.num_preempted:
        return _Limit(share, f"repeats: {share:.1%} of GPU time for items that run twice")
    return _Limit(
        share,
        f"preemption: {spent.num_preempted:,} of {run.worktime.num_nodes:,} nodes were taken; "
        f"{share:.1%} of GPU time for what they had begun, and to load again on others",
    )


def _idleness(run: Run) -> Iterator[_Limit]:
    spent, ends_at = run.spent, run.worktime.last_new_piece_s
    tail_s = 0.0 if ends_at is None else min(spent.idle_s, run.worktime.idle_since(ends_at))
    tail = tail_s / spent.device_s
    text = f"the end: {tail:.1%} of GPU time idle while the last pieces run"
    if not all(work.is_divisible for work in run.scenario.work):
        text += ", whose calls cannot be divided"
    yield _Limit(tail, text)
    share = spent.idle_s / spent.device_s - tail
    yield _Limit(share, f"idle GPUs: {share:.1%} of GPU time {_why_idle(run)}")


def _why_idle(run: Run) -> str:
    dispatch_s = run.scenario.system.dispatch_s
    if run.num_pieces * dispatch_s > BUSY_FRAC * (run.metrics.makespan_s or 0.0):
        needs = f"needs {duration(dispatch_s)} for each of {run.num_pieces:,} pieces"
        return f"wait for the central process, which {needs}"
    return "without work that could run there"


def _absence(run: Run) -> Iterator[_Limit]:
    total_s = run.metrics.makespan_s
    if not total_s:
        return
    submitted_s, joined_s = run.metrics.first_submit_s or 0.0, run.worktime.first_join_s or 0.0
    waited_s = max(0.0, joined_s - submitted_s)
    yield _Limit(waited_s / total_s, f"queue: the first GPU comes after {duration(waited_s)}")
    gone_s = max(0.0, run.spent.empty_s - waited_s)
    yield _Limit(gone_s / total_s, f"no GPUs: none is there for another {duration(gone_s)}")
