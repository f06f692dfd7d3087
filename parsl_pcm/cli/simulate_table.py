"""What simulated campaigns came to, as a table for a person, and as data for programs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from parsl_pcm.cli.tables import columns
from parsl_pcm.simulator.results.outcome import Outcome
from parsl_pcm.simulator.results.study import Interval, Study
from parsl_pcm.simulator.scenarios.from_log import MEASURED
from parsl_pcm.summary import duration

MAX_LIMITS = 4
"""What weighs less than the first few limits nothing."""
INDENT = "  "


class Column(NamedTuple):
    """A campaign and its heading."""

    heading: str
    study: Study


class _Row(NamedTuple):
    name: str
    number: Callable[[Outcome], float | None]
    write: Callable[[float], str]
    is_compared: bool = False
    """Whether it is shown beside the first campaign's as a multiple."""


def _share(value: float) -> str:
    return f"{value:.1%}"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _hours(value: float) -> str:
    return f"{value:,.3g}" if value < 100.0 else f"{value:,.0f}"


_TIME = _Row("time", lambda outcome: outcome.makespan_s, duration, is_compared=True)
_ROWS = (
    _Row("GPU-hours", lambda outcome: outcome.gpu_hours, _hours, is_compared=True),
    _Row("  useful", lambda outcome: outcome.useful_frac, _share),
    _Row("  loading", lambda outcome: outcome.loading_frac, _share),
    _Row("  idle", lambda outcome: outcome.idle_frac, _share),
    _Row("  lost or spent twice", lambda outcome: outcome.wasted_frac, _share),
    _Row("loads", lambda outcome: outcome.num_loads, _count, is_compared=True),
    _Row("nodes", lambda outcome: outcome.num_nodes, _count),
    _Row("  taken or lost", lambda outcome: outcome.num_preempted, _count),
    _Row("items delivered", lambda outcome: outcome.num_delivered, _count),
    _Row("  never delivered", lambda outcome: outcome.num_never_delivered, _count),
    _Row("  begun twice", lambda outcome: outcome.num_items_repeated, _count),
)


def table(shown: Sequence[Column]) -> list[str]:
    """Return the lines of a table with a column for each campaign, compared with the first."""
    rows = [["", *(column.heading for column in shown)]]
    rows += [[_TIME.name, *_cells(_TIME, shown)]]
    if len(shown[0].study.outcomes) > 1:
        rows += [["  over the seeds", *(_interval(column.study) for column in shown)]]
    rows += [["  earliest possible", *(_bound(column.study) for column in shown)]]
    rows += [["  multiple of that", *(_ratio(column.study) for column in shown)]]
    rows += [[row.name, *_cells(row, shown)] for row in _ROWS]
    rows += _published(shown)
    return columns(rows)


def limits(shown: Sequence[Column]) -> Iterator[str]:
    """Yield what limits each campaign, by the run in the middle."""
    for column in shown:
        yield "What limits it" if len(shown) == 1 else f"What limits it, {column.heading}"
        for sentence in column.study.typical.limits[:MAX_LIMITS]:
            yield INDENT + sentence


def data(study: Study, changes: Sequence[str]) -> dict[str, Any]:
    """Return everything of a campaign that the table shows, run by run."""
    return {
        "scenario": study.scenario.name,
        "changes": list(changes),
        "median_makespan_s": middle.median if (middle := _makespans(study)) else None,
        "runs": [_run_data(outcome) for outcome in study.outcomes],
    }


def _run_data(outcome: Outcome) -> dict[str, Any]:
    plain = {
        field.name: getattr(outcome, field.name)
        for field in dataclasses.fields(outcome)
        if field.name not in ("metrics", "worktime")
    }
    bound_s = outcome.bound_s if math.isfinite(outcome.bound_s) else None
    more = {
        name: getattr(outcome, name) for name in ("num_never_delivered", "preempted_frac", "ratio")
    }
    return plain | {"bound_s": bound_s} | more


def _makespans(study: Study) -> Interval | None:
    return study.interval(_TIME.number)


def _cells(row: _Row, shown: Sequence[Column]) -> Iterator[str]:
    """Yield medians; after the first one, as multiples of it where that tells something."""
    base = shown[0].study.interval(row.number)
    for number, column in enumerate(shown):
        found = column.study.interval(row.number)
        if found is None:
            yield _not_done(column.study)
        elif number and row.is_compared and base is not None and base.median:
            yield f"{row.write(found.median)} (x {found.median / base.median:.2f})"
        else:
            yield row.write(found.median)


def _not_done(study: Study) -> str:
    num_left = sum(outcome.makespan_s is None for outcome in study.outcomes)
    return f"not done in {num_left} of {len(study.outcomes)} runs"


def _interval(study: Study) -> str:
    found = _makespans(study)
    if found is None:
        return "-"
    low, high = duration(found.low), duration(found.high)
    return "the same" if low == high else f"{low} to {high}"


def _bound(study: Study) -> str:
    found = study.interval(lambda outcome: outcome.bound_s)
    return "never" if found is None or math.isinf(found.median) else duration(found.median)


def _ratio(study: Study) -> str:
    found = study.interval(lambda outcome: outcome.ratio)
    return "-" if found is None else f"{found.median:.3f}"


def _published(shown: Sequence[Column]) -> Iterator[list[str]]:
    published = shown[0].study.scenario.published
    if published is not None and published.makespan_s is not None:
        name = "measured time" if published.source == MEASURED else "published time"
        yield [name, duration(published.makespan_s), *[""] * (len(shown) - 1)]
    if published is not None and published.num_items is not None:
        yield ["published items", _count(published.num_items), *[""] * (len(shown) - 1)]
