"""A picture of simulated campaigns: workers by state, progress, lost work, over the same time.

Colours are those of Okabe and Ito, which people with any colour vision can tell apart.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from parsl_pcm.simulator.results.outcome import Outcome
from parsl_pcm.worktime_records import Spent

SUFFIXES = (".png", ".pdf", ".svg")
MAX_POINTS = 300
"""Of a curve: finer ones are noise at this size."""
MAX_SHOWN = 5
"""Campaigns: more curves cannot be told apart."""
WORKING, LOADING, IDLE, LOST = "#0072B2", "#E69F00", "#D0D0D0", "#D55E00"
LINES = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7")
GREY, DARK_IDLE = "#666666", "#8C8C8C"
WIDTH_IN, PANEL_IN, HEAD_IN = 9.0, 2.0, 0.9


class PictureError(ValueError):
    """A picture that cannot be drawn: the message says why, and the cure."""


class Shown(NamedTuple):
    """A campaign to be drawn."""

    outcome: Outcome
    name: str
    """Short, for its curves."""
    about: str
    """For its panel."""


def check(path: Path) -> None:
    """Look whether a picture can be written there, before long runs.

    Raises
    ------
    PictureError
        If not.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise PictureError(f"{path} is no picture; its name must end in {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise PictureError(f"{path} cannot be written: there is no folder {path.parent}")


def can_draw() -> bool:
    """Whether there is what draws."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(shown: Sequence[Shown], path: Path) -> None:
    """Draw campaigns above each other, the first five at most.

    Parameters
    ----------
    shown
        At least one.
    path
        A PNG, PDF or SVG, by its suffix; one that is there is replaced.
    """
    from matplotlib.figure import Figure  # in the extra "plot"; most runs draw nothing

    curves = [_curve(each) for each in shown[:MAX_SHOWN]]
    has_losses = any(each.outcome.num_preempted or each.outcome.wasted_frac for each in shown)
    num_panels = len(curves) + 1 + has_losses
    size_in = (WIDTH_IN, HEAD_IN + PANEL_IN * num_panels)
    figure = Figure(figsize=size_in, dpi=150, layout="constrained")
    panels = figure.subplots(num_panels, 1, sharex=True, squeeze=False)[:, 0]
    unit = _unit(max(curve.edges_s[-1] for curve in curves))
    for panel, curve in zip(panels, curves, strict=False):
        _draw_workers(panel, curve, unit)
    _legend(panels[0], (("working", WORKING), ("loading", LOADING), ("idle", DARK_IDLE)))
    _draw_progress(panels[len(curves)], curves, unit)
    if has_losses:
        _draw_losses(panels[-1], curves, unit)
    for number, panel in enumerate(panels):
        _tidy(panel, is_counted=number <= len(curves))
    panels[-1].set_xlabel(f"time ({unit.name})")
    figure.suptitle(shown[0].outcome.scenario, x=0.01, ha="left", fontsize=12, fontweight="bold")
    figure.savefig(path)


# --- panels -----------------------------------------------------------------------------------


def _draw_workers(panel: Any, curve: _Curve, unit: _Unit) -> None:
    hidden = _hidden_loading_frac(curve.shown.outcome)
    counts = [
        (
            (1.0 - hidden) * spent.working_s / width_s,
            (spent.loading_s + hidden * spent.working_s) / width_s,
            spent.idle_s / width_s,
        )
        for spent, width_s in zip(curve.spent, curve.widths_s, strict=True)
    ]
    layers = zip(counts[0], *counts, strict=True)  # the first one again: steps end at their times
    colours = (WORKING, LOADING, IDLE)
    panel.stackplot(_times(curve, unit), *layers, colors=colours, step="pre", lw=0)
    _heading(panel, curve.shown.about)


def _draw_progress(panel: Any, curves: Sequence[_Curve], unit: _Unit) -> None:
    for curve, colour in zip(curves, LINES, strict=False):
        times = _times(curve, unit)
        items = [0, *accumulate(spent.num_delivered for spent in curve.spent)]
        panel.plot(times, items, color=colour, lw=1.8)
        panel.plot(times[-1:], items[-1:], "o", color=colour, ms=4)
    bound_s = curves[0].shown.outcome.bound_s
    if 0.0 < bound_s < math.inf:
        panel.axvline(bound_s / unit.in_s, color=GREY, lw=1.0, ls=(0, (4, 3)))
        at = {"xycoords": ("data", "axes fraction"), "ha": "right", "fontsize": 8.5}
        text = "earliest possible end" + f" {curves[0].shown.name}" * (len(curves) > 1)
        panel.annotate(text + " ", (bound_s / unit.in_s, 0.05), color=GREY, **at)
    panel.yaxis.set_major_formatter("{x:,.0f}")
    _heading(panel, "items delivered")
    _name_curves(panel, curves)


def _draw_losses(panel: Any, curves: Sequence[_Curve], unit: _Unit) -> None:
    colours = LINES if len(curves) > 1 else (LOST,)
    lost_unit = _unit(max(curve.shown.outcome.worktime.total.wasted_s for curve in curves))
    for curve, colour in zip(curves, colours, strict=False):
        times = _times(curve, unit)
        lost = [0.0, *accumulate(spent.wasted_s / lost_unit.in_s for spent in curve.spent)]
        panel.plot(times, lost, color=colour, lw=1.8)
        taken = zip(times[1:], curve.spent, strict=True)
        marks = [time for time, spent in taken if spent.num_preempted]
        panel.plot(marks, [0.0] * len(marks), "|", color=colour, ms=8, clip_on=False)
    lost_in = f"GPU-{lost_unit.name}"
    _heading(panel, f"work lost, or done twice: {lost_in}     ( | a node was taken )")
    _name_curves(panel, curves)


# --- parts ------------------------------------------------------------------------------------


class _Unit(NamedTuple):
    name: str
    in_s: float


class _Curve(NamedTuple):
    shown: Shown
    edges_s: list[float]
    spent: list[Spent]
    """Between one edge and the next."""

    @property
    def widths_s(self) -> list[float]:
        return [stop - start for start, stop in zip(self.edges_s, self.edges_s[1:], strict=False)]


def _curve(shown: Shown) -> _Curve:
    """Return the history of a run in fewer points; the last one ends with it."""
    history = shown.outcome.worktime.history
    step = max(1, math.ceil(len(history.bins) / MAX_POINTS))
    spent = []
    for start in range(0, len(history.bins), step):
        spent.append(Spent())
        for each in history.bins[start : start + step]:
            spent[-1].add(each)
    edges_s = [number * step * history.bin_s for number in range(len(spent))]
    ended_s = max(shown.outcome.ended_at_s, math.nextafter(edges_s[-1], math.inf))
    return _Curve(shown, [*edges_s, min(ended_s, edges_s[-1] + step * history.bin_s)], spent)


def _hidden_loading_frac(outcome: Outcome) -> float:
    """Return the share of work in which pieces built what they need, on average: no log has it."""
    spent = outcome.worktime.until_done()
    hidden_s = outcome.loading_frac * spent.device_s - spent.loading_s
    return max(0.0, hidden_s / spent.working_s) if spent.working_s else 0.0


def _unit(longest_s: float) -> _Unit:
    if longest_s < 300.0:
        return _Unit("s", 1.0)
    return _Unit("min", 60.0) if longest_s < 3 * 3600.0 else _Unit("h", 3600.0)


def _times(curve: _Curve, unit: _Unit) -> list[float]:
    return [edge_s / unit.in_s for edge_s in curve.edges_s]


def _heading(panel: Any, text: str) -> None:
    panel.set_title(text, loc="left", fontsize=9.5)


def _legend(panel: Any, names: Sequence[tuple[str, str]]) -> None:
    """Write names in their colours at the upper right of a panel, outside of it."""
    x = 0.0
    for name, colour in reversed(names):
        panel.annotate(
            name,
            (1.0, 1.0),
            xytext=(x, 5.0),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="right",
            fontsize=9.5,
            fontweight="bold",
            color=colour,
            annotation_clip=False,
        )
        x -= 6.5 * len(name) + 8.0


def _name_curves(panel: Any, curves: Sequence[_Curve]) -> None:
    if len(curves) > 1:
        names = [curve.shown.name for curve in curves]
        _legend(panel, list(zip(names, LINES, strict=False)))


def _tidy(panel: Any, *, is_counted: bool) -> None:
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(labelsize=9, color=GREY)
    panel.set_ylim(bottom=0.0)
    panel.set_xlim(left=0.0)
    panel.grid(axis="y", color="#E8E8E8", lw=0.7)
    panel.set_axisbelow(True)
    panel.locator_params(axis="y", nbins=5, integer=is_counted)
