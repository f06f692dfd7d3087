"""The numbers of a run in words, for the person who ran it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parsl_pcm.metrics import Metrics
    from parsl_pcm.metrics_records import ContextLoads

MAX_NAMED_CONTEXTS = 3
"""So that a line stays a line, however many contexts a run had."""


def describe_run(metrics: Metrics) -> tuple[str, str, str, str]:
    """Return four lines: what ran, how fast, its contexts, its losses."""
    return (
        f"Tasks: {_tasks(metrics)}",
        f"Speed: {_speed(metrics)}",
        f"Contexts: {_contexts(metrics)}",
        f"Losses: {_losses(metrics)}",
    )


def _tasks(metrics: Metrics) -> str:
    submitted, finished = metrics.num_submitted, metrics.num_finished
    if not submitted:
        return "none"
    num_open = submitted - finished - metrics.num_failed - metrics.num_cancelled
    parts = [
        f"{number:,} {what}"
        for number, what in (
            (metrics.num_failed, "failed"),
            (metrics.num_cancelled, "cancelled"),
            (num_open, "still open"),
        )
        if number
    ]
    if metrics.num_items_failed:
        parts.append(f"{_count(metrics.num_items_failed, 'item')} failed")
    finished_part = "all finished" if finished == submitted > 1 else f"{finished:,} finished"
    items = metrics.num_items_delivered
    results = f" ({_count(items, 'item')})" if items != finished else ""
    return f"{submitted:,} submitted, {', '.join([finished_part + results, *parts])}"


def _speed(metrics: Metrics) -> str:
    if metrics.makespan_s is None:
        return "no result was delivered"
    text = f"{_count(metrics.num_items_delivered, 'item')} in {duration(metrics.makespan_s)}"
    if metrics.goodput_per_s is not None:
        text += f", {_rate(metrics.goodput_per_s)} items/s"
    if metrics.busy_frac is not None:
        text += f"; hosts were busy {metrics.busy_frac:.0%} of the time that they were ready"
    return text


def _contexts(metrics: Metrics) -> str:
    loaded = [context for context in metrics.contexts.values() if context.num_loads]
    loaded.sort(key=lambda context: -context.total_s)
    parts = [_loads(context) for context in loaded[:MAX_NAMED_CONTEXTS]]
    others = loaded[MAX_NAMED_CONTEXTS:]
    if others:
        num_loads = sum(context.num_loads for context in others)
        parts.append(f"{_count(len(others), 'other')} loaded {_times(num_loads)}")
    if metrics.num_setups_failed:
        parts.append(f"{_count(metrics.num_setups_failed, 'set-up')} failed")
    if metrics.num_evictions:
        parts.append(_count(metrics.num_evictions, "eviction"))
    if metrics.num_sleeps_failed:
        parts.append(f"{_count(metrics.num_sleeps_failed, 'host')} could not be put to sleep")
    return "; ".join(parts) or "none loaded"


def _loads(context: ContextLoads) -> str:
    text = f"{context.name} loaded {_times(context.num_loads)}"
    if context.num_loads == 1:
        text += f" ({duration(context.max_s)})"
    else:
        mean_s = context.total_s / context.num_loads
        text += f" (mean {duration(mean_s)}, longest {duration(context.max_s)})"
    if context.num_wakes:
        mean_s = context.wake_s / context.num_wakes
        text += f" and woken {_times(context.num_wakes)} (mean {duration(mean_s)})"
    return text


def _losses(metrics: Metrics) -> str:
    nodes = f"{metrics.num_managers_lost:,} of {_count(metrics.num_managers, 'node')}"
    preempted = f"{_count(metrics.num_managers_preempted, 'node')} preempted with notice"
    parts = [
        text
        for number, text in (
            (metrics.num_managers_lost, nodes),
            (metrics.num_managers_preempted, preempted),
            (metrics.num_hosts_died, _count(metrics.num_hosts_died, "host")),
            (metrics.num_leases_lost, _put_back(metrics)),
            (
                metrics.num_duplicates_dropped,
                f"{_count(metrics.num_duplicates_dropped, 'late result')} dropped",
            ),
            (metrics.num_races, f"{_count(metrics.num_races, 'piece')} raced"),
            (metrics.num_items_repeated, f"{_count(metrics.num_items_repeated, 'item')} run twice"),
        )
        if number
    ]
    return ", ".join(parts) or "none"


def _put_back(metrics: Metrics) -> str:
    pieces = _count(metrics.num_leases_lost, "piece")
    return f"{pieces} put back ({metrics.num_pieces_repeated:,} finished elsewhere)"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number:,} times"


def _rate(per_s: float) -> str:
    return f"{per_s:.3g}" if per_s < 100 else f"{per_s:,.0f}"


def duration(seconds: float) -> str:
    """Return a time for a person: ``40 us``, ``2.3 s``, ``4 min 10 s``."""
    if seconds < 0.0005:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest_s = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest_s} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min"
