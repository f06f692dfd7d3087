"""What came of a campaign: how long it took, what it cost, what was lost, and what limits it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from parsl_pcm.metrics import Metrics
from parsl_pcm.simulator.results.limits import Run, describe_limits
from parsl_pcm.simulator.scenario import Scenario
from parsl_pcm.worktime import WorkTime


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One run of a scenario.

    Attributes
    ----------
    makespan_s
        From the first submission to the last delivery. None: not everything was delivered.
    ended_at_s
        When the run ended, done or not; counted from its start, as all of ``worktime`` is.
    num_items_repeated
        Items that were begun more than once: lost with a host, or run by two of them.
    num_preempted
        Nodes that the site took, or that vanished, while they were taking work.
    preempted_frac
        Of all nodes that there were.
    gpu_hours
        Of all devices, whatever they did, until the last task was over; a node without devices
        counts as one.
    useful_frac, loading_frac, idle_frac, wasted_frac
        Of these hours; together 1.0 (0.0 if there were none).
    bound_s
        The earliest end that is physically possible; infinite: there is none.
    ratio
        The makespan beside it. None where either is missing.
    limits
        What limits it, in sentences, what weighs most first.
    """

    scenario: str
    seed: int
    makespan_s: float | None
    ended_at_s: float
    num_items: int
    num_delivered: int
    num_delivered_twice: int
    num_items_repeated: int
    num_loads: int
    num_nodes: int
    num_preempted: int
    gpu_hours: float
    useful_frac: float
    loading_frac: float
    idle_frac: float
    wasted_frac: float
    bound_s: float
    limits: tuple[str, ...]
    metrics: Metrics
    worktime: WorkTime

    @property
    def num_never_delivered(self) -> int:
        """Items without a result when the run ended."""
        return self.num_items - self.num_delivered

    @property
    def preempted_frac(self) -> float:
        """Share of the nodes that were taken or vanished."""
        return self.num_preempted / self.num_nodes if self.num_nodes else 0.0

    @property
    def ratio(self) -> float | None:
        """The makespan as a multiple of the earliest end that is possible."""
        if self.makespan_s is None or not 0.0 < self.bound_s < math.inf:
            return None
        return self.makespan_s / self.bound_s


def outcome_of(  # noqa: PLR0913  all that is known at the end of a run
    scenario: Scenario,
    seed: int,
    *,
    metrics: Metrics,
    worktime: WorkTime,
    ended_at_s: float,
    bound_s: float,
    built_in_pieces_s: float = 0.0,
) -> Outcome:
    """Return the outcome of a run that has ended, from what observed its events.

    Parameters
    ----------
    built_in_pieces_s
        Device-seconds in which pieces have built what they need themselves: no log shows that,
        they seem to work.
    """
    spent = replace(worktime.until_done(ended_at_s))
    built_s = min(built_in_pieces_s, spent.working_s - spent.wasted_s)
    spent.working_s -= built_s
    spent.loading_s += built_s
    num_items = sum(work.items for work in scenario.work)
    is_done = spent.num_delivered >= num_items
    device_s = spent.device_s or math.inf
    return Outcome(
        scenario=scenario.name,
        seed=seed,
        makespan_s=metrics.makespan_s if is_done else None,
        ended_at_s=ended_at_s,
        num_items=num_items,
        num_delivered=spent.num_delivered,
        num_delivered_twice=worktime.num_delivered_twice,
        num_items_repeated=worktime.num_items_lost + metrics.num_items_repeated,
        num_loads=metrics.num_cold_starts,
        num_nodes=worktime.num_nodes,
        num_preempted=spent.num_preempted,
        gpu_hours=spent.device_s / 3600.0,
        useful_frac=(spent.working_s - spent.wasted_s) / device_s,
        loading_frac=spent.loading_s / device_s,
        idle_frac=spent.idle_s / device_s,
        wasted_frac=spent.wasted_s / device_s,
        bound_s=bound_s,
        limits=describe_limits(Run(scenario, metrics, worktime, spent)),
        metrics=metrics,
        worktime=worktime,
    )
