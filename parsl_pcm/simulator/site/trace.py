"""Traces: when nodes came and went, read from files; and the stochastic model that fits one.

A file is CSV in one of two forms, named by its first line::

    t_s,event,node          t_s,available
    0,add,a                 0,12
    60,add,b                300,9
    900,remove,a            1500,14

Times are seconds and do not fall; nodes may have any names. The second form says how many nodes
there are from then on, not which ones. After the last line nothing changes any more.
"""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from parsl_pcm.simulator.scenario import Churn

FOLDER = Path(__file__).with_name("traces")
"""Of the traces that come with the package."""
EVENTS_HEADER = ["t_s", "event", "node"]
COUNTS_HEADER = ["t_s", "available"]
MAX_PROBLEMS_SHOWN = 5
MAX_NODES = 1_000_000


class TraceError(ValueError):
    """A file that is no trace, or one with lines that cannot be."""


class Presence(NamedTuple):
    """A node was there."""

    node: str
    from_s: float
    until_s: float
    """``inf``: it was still there at the end."""


class Step(NamedTuple):
    """So many nodes are there from then on."""

    t_s: float
    num_nodes: int


class Trace(NamedTuple):
    """What a file says: which nodes were there when, or only how many."""

    name: str
    end_s: float
    """Time of its last line."""
    presences: tuple[Presence, ...] = ()
    steps: tuple[Step, ...] = ()


def shipped_traces() -> list[str]:
    """Return the names of the traces that come with the package."""
    return sorted(path.stem for path in FOLDER.iterdir() if path.suffix == ".csv")


def find_trace(name: str, folder: Path | None = None) -> Path:
    """Return the file of a trace, by a name that comes with the package or a path.

    Parameters
    ----------
    folder
        Which paths are relative to. None: the current one.

    Raises
    ------
    TraceError
        If there is no such file.
    """
    if name in shipped_traces():
        return FOLDER / f"{name}.csv"
    path = (folder or Path()) / name
    if not path.is_file():
        raise TraceError(
            f"there is no file {path}, and the traces that come with the package are "
            f"{', '.join(shipped_traces())}"
        )
    return path


def read_trace(path: Path) -> Trace:
    """Read a file of either form.

    Raises
    ------
    TraceError
        If it has neither form, or lines that are incomplete, out of order, or contradict each
        other: the message names several of them at once.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TraceError(f"{path} cannot be read as a trace: {error}") from error
    header = [cell.strip() for cell in rows[0]] if rows else []
    if header not in (EVENTS_HEADER, COUNTS_HEADER):
        raise TraceError(
            f"{path} is no trace: its first line is {','.join(header)!r}, but must be "
            f"{','.join(EVENTS_HEADER)!r} or {','.join(COUNTS_HEADER)!r}"
        )
    reader = _Reader(num_columns=len(header))
    trace = reader.events(path, rows[1:]) if len(header) == 3 else reader.counts(path, rows[1:])
    if len(rows) == 1:
        reader.problems.append("it has no lines after the first one")
    if reader.problems:
        raise TraceError(_tell(path, reader.problems))
    return trace


def most_nodes(trace: Trace) -> int:
    """Return how many nodes were there at the same time, at most."""
    return max((step.num_nodes for step in _steps(trace)), default=0)


def fit(trace: Trace) -> Churn:
    """Return the model whose nodes come and go as those of a trace do, on average.

    As many slots as nodes were there at most. Mean life: time of all nodes, over how many of them
    left; those that stayed to the end count as what they are, lives that were not seen to end.
    Mean gap: such that as many nodes are there on average. How much lives differ is taken from
    those that ended, if the trace tells nodes apart.

    Raises
    ------
    TraceError
        If no node ever left, or none ever came back: there is nothing to fit.
    """
    steps = _steps(trace)
    node_s = sum(step.num_nodes * s for step, s in _with_durations(steps, trace.end_s))
    num_left = _num_left(trace)
    count = most_nodes(trace)
    span_s = trace.end_s - steps[0].t_s if steps else 0.0
    if not num_left or node_s >= count * span_s:
        raise TraceError(
            f"no model can be fitted to trace {trace.name}: no node leaves it before its end; use "
            f"the trace itself, or count"
        )
    life_s = node_s / num_left
    mean_nodes = node_s / span_s
    return Churn(
        count=count,
        life_s=life_s,
        gap_s=life_s * (count - mean_nodes) / mean_nodes,
        life_cv=_cv([p.until_s - p.from_s for p in trace.presences if p.until_s < math.inf]),
        source=f"fitted to {trace.name}",
    )


class _Reader:
    """Reads lines, and gathers what is wrong with them."""

    def __init__(self, num_columns: int) -> None:
        self.problems: list[str] = []
        self._num_columns = num_columns
        self._last_s = 0.0

    def events(self, path: Path, rows: Sequence[list[str]]) -> Trace:
        present: dict[str, float] = {}
        presences = []
        for line, t_s, (event, node) in self._lines(rows):
            if problem := _event_problem(event, node, is_there=node in present):
                self._complain(line, problem)
            elif event == "add":
                present[node] = t_s
            else:
                presences.append(Presence(node, present.pop(node), t_s))
        presences += [Presence(node, from_s, math.inf) for node, from_s in present.items()]
        presences.sort(key=lambda presence: (presence.from_s, presence.node))
        return Trace(path.stem, self._last_s, presences=tuple(presences))

    def counts(self, path: Path, rows: Sequence[list[str]]) -> Trace:
        steps = []
        for line, t_s, (available,) in self._lines(rows):
            if available.isdecimal() and int(available) <= MAX_NODES:
                steps.append(Step(t_s, int(available)))
            else:
                self._complain(
                    line,
                    f"has {available!r} as the number of nodes, which must be whole, "
                    f"0 to {MAX_NODES:,}",
                )
        return Trace(path.stem, self._last_s, steps=tuple(steps))

    def _lines(self, rows: Iterable[list[str]]) -> Iterator[tuple[int, float, list[str]]]:
        """Yield number, time and the other cells of each line that is complete."""
        for line, row in enumerate(rows, start=2):
            cells = [cell.strip() for cell in row]
            if len(cells) != self._num_columns:
                self._complain(line, f"has {len(cells)} cells, not {self._num_columns}")
            elif (t_s := _seconds(cells[0])) is None:
                self._complain(line, f"has {cells[0]!r} as its time, which must be a number of "
                               "seconds, 0 or more")  # fmt: skip
            elif t_s < self._last_s:
                self._complain(line, f"is at {t_s:g} s, after one at {self._last_s:g} s: lines "
                               "must be in order of time")  # fmt: skip
            else:
                self._last_s = t_s
                yield line, t_s, cells[1:]

    def _complain(self, line: int, problem: str) -> None:
        self.problems.append(f"line {line} {problem}")


def _event_problem(event: str, node: str, *, is_there: bool) -> str | None:
    if event not in ("add", "remove"):
        return f"has the event {event!r}, which must be add or remove"
    if not node:
        return "names no node: write its name"
    if event == "add" and is_there:
        return f"adds {node!r}, which is there: the line that removes it is missing"
    if event == "remove" and not is_there:
        return f"removes {node!r}, which is not there: the line that adds it is missing"
    return None


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0.0 <= value < math.inf else None


def _tell(path: Path, problems: Sequence[str]) -> str:
    shown = "; ".join(problems[:MAX_PROBLEMS_SHOWN])
    num_more = len(problems) - MAX_PROBLEMS_SHOWN
    return f"trace {path}: {shown}" + (f"; and {num_more} more" if num_more > 0 else "")


def _steps(trace: Trace) -> Sequence[Step]:
    """Return how many nodes were there, each time that it changed."""
    if trace.steps:
        return trace.steps
    changes: dict[float, int] = {}
    for presence in trace.presences:
        changes[presence.from_s] = changes.get(presence.from_s, 0) + 1
        if presence.until_s < math.inf:
            changes[presence.until_s] = changes.get(presence.until_s, 0) - 1
    times_s = sorted(changes)
    nums = itertools.accumulate(changes[t_s] for t_s in times_s)
    return [Step(t_s, num_nodes) for t_s, num_nodes in zip(times_s, nums, strict=True)]


def _with_durations(steps: Sequence[Step], end_s: float) -> Iterator[tuple[Step, float]]:
    ends_s = [step.t_s for step in steps[1:]] + [end_s]
    return ((step, until_s - step.t_s) for step, until_s in zip(steps, ends_s, strict=True))


def _num_left(trace: Trace) -> int:
    if trace.presences:
        return sum(presence.until_s < math.inf for presence in trace.presences)
    pairs = zip(trace.steps, trace.steps[1:], strict=False)
    return sum(max(0, one.num_nodes - other.num_nodes) for one, other in pairs)


def _cv(lives_s: Sequence[float]) -> float:
    """Return standard deviation over mean; 1.0, memoryless, if there are too few to tell."""
    if len(lives_s) < 2:
        return 1.0
    mean_s = sum(lives_s) / len(lives_s)
    variance = sum((life_s - mean_s) ** 2 for life_s in lives_s) / (len(lives_s) - 1)
    return math.sqrt(variance) / mean_s if mean_s else 1.0
