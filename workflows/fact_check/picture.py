"""The picture of a run: accuracy, speed, and progress over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fact_check.leaderboard import Score

_COLORS = ("#3b6fb6", "#d98a29", "#4f9d69", "#a6568d", "#6b6b6b", "#b5483a")
_GREY = "#666666"

Progress = Sequence[tuple[float, int]]
"""Seconds since the start and inferences done by then; the start alone: nothing was to do."""


def draw(path: Path, scores: Sequence[Score], progress: Progress, chance: float) -> None:
    """Write a PNG: a row for each (model, prompt) pair; below, the progress if there was any.

    Raises
    ------
    ModuleNotFoundError
        matplotlib is not installed.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure  # without pyplot: needs no display, holds no state

    style = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
    with mpl.rc_context(style):
        rows_inch = 0.42 * len(scores) + 1.0
        has_progress = len(progress) > 1
        progress_inch = 2.3 if has_progress else 0.0
        figure = Figure(figsize=(10, rows_inch + progress_inch + 0.7), layout="constrained")
        heights = [rows_inch, progress_inch] if has_progress else [rows_inch]
        grid = figure.add_gridspec(len(heights), 2, height_ratios=heights, width_ratios=[3, 2])
        accuracy = figure.add_subplot(grid[0, 0])
        _draw_accuracy(accuracy, scores, chance)
        _draw_speed(figure.add_subplot(grid[0, 1], sharey=accuracy), scores)
        if has_progress:
            _draw_progress(figure.add_subplot(grid[1, :]), progress)
        figure.suptitle("Prompt-for-Fact", fontweight="bold")
        figure.savefig(path, dpi=150)


def _draw_accuracy(axes: Any, scores: Sequence[Score], chance: float) -> None:
    for row, score in enumerate(scores):
        color = _color_of_model(scores, score.model)
        axes.plot([score.low, score.high], [row, row], color=color, linewidth=2.5, alpha=0.55)
        axes.plot(score.accuracy, row, "o", color=color, markersize=8, clip_on=False)
        text = f"{score.accuracy:.1%}"
        readable = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # above the chance line
        axes.annotate(
            text, (score.high, row), (6, 0), textcoords="offset points", va="center", bbox=readable
        )
    axes.axvline(chance, color=_GREY, linewidth=1, linestyle="--", zorder=0)
    top = axes.get_xaxis_transform()
    axes.text(chance, 1.0, "chance", transform=top, color=_GREY, ha="center", va="bottom")
    names = [f"{score.model}  |  {score.prompt}" for score in scores]
    axes.set_yticks(range(len(scores)), names)
    axes.set_ylim(len(scores) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlabel("accuracy, 95 % interval")
    axes.grid(axis="x", alpha=0.25)


def _draw_speed(axes: Any, scores: Sequence[Score]) -> None:
    rows = range(len(scores))
    speeds = [score.claims_per_s for score in scores]
    colors = [_color_of_model(scores, score.model) for score in scores]
    bars = axes.barh(rows, speeds, height=0.5, color=colors, alpha=0.75)
    axes.bar_label(bars, fmt="%.1f", padding=4)
    axes.margins(x=0.15)
    axes.tick_params(axis="y", labelleft=False, length=0)
    axes.set_xlabel("claims/s of one context")
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)


def _draw_progress(axes: Any, progress: Progress) -> None:
    times_s = [time_s for time_s, _ in progress]
    counts = [count for _, count in progress]
    axes.step(times_s, counts, where="post", color=_COLORS[0], linewidth=1.8)
    axes.fill_between(times_s, counts, step="post", color=_COLORS[0], alpha=0.12)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("seconds since the start of this run")
    axes.set_ylabel("inferences done")
    axes.grid(alpha=0.25)


def _color_of_model(scores: Sequence[Score], model: str) -> str:
    models = sorted({score.model for score in scores})
    return _COLORS[models.index(model) % len(_COLORS)]
