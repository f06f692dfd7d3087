"""What a person may want to know of the contexts of a running executor, and how it is shown."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from parsl_pcm.summary import duration

SHOWN_KEY_CHARS = 8
"""Of a context key: enough to tell the contexts of a run apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextStatus:
    """A context at one moment.

    Attributes
    ----------
    variants
        Hosts by the variant that they built; empty for a context that has no variants.
    devices
        The devices of its hosts, by their names; of hosts without devices, the nodes: ``cpu``.
    loading, warm, asleep
        Hosts that build or wake it; those in which it is live; those in which it sleeps.
    held_warm
        Hosts that ``warm()`` asked for.
    queued, running
        Pieces of calls that wait for it, and that use it now.
    gpu_memory_bytes, host_memory_bytes
        The most that was measured of one of its hosts: on each of its devices, and in main
        memory. None: not measured.
    setup_s, wake_s, item_s
        Running means of what a set-up, a waking and an item took; None until one was measured.
    hits, loads
        Pieces that came to a host that was warm already; hosts that were built.
    deaths
        Hosts that died while they worked.
    trouble
        The last that was told about it; "" if nothing was.
    """

    name: str
    context_key: str
    variants: Mapping[str, int] = field(default_factory=dict)
    devices: Mapping[str, int] = field(default_factory=dict)
    loading: int
    warm: int
    asleep: int = 0
    held_warm: int = 0
    queued: int
    running: int
    gpu_memory_bytes: int | None = None
    host_memory_bytes: int | None = None
    setup_s: float | None
    wake_s: float | None = None
    item_s: float | None
    hits: int = 0
    loads: int = 0
    deaths: int = 0
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class WarmUp:
    """What became of a wish for warm hosts, at the moment of the wish.

    Attributes
    ----------
    asked
        Hosts that shall be warm.
    warm, coming
        Hosts that are, and that are being built or woken.
    possible
        The most that all nodes could hold if nothing else needed them, those included that may
        still come. None: not known before nodes come.
    """

    name: str
    asked: int
    warm: int
    coming: int
    possible: int | None

    def __repr__(self) -> str:
        possible = "not known yet" if self.possible is None else self.possible
        state = f"{self.warm} warm, {self.coming} coming, possible: {possible}"
        return f"<{self.name}: asked for {self.asked}; {state}>"


class ContextTable(list[ContextStatus]):
    """The contexts of an executor: a list that shows itself as a table."""

    def __str__(self) -> str:
        if not self:
            return "no context was needed so far"
        troubles = [each.trouble for each in self if each.trouble]
        return "\n".join([*_aligned(self, self._columns()), *troubles])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the table for a notebook."""
        columns = [*self._columns(), _Column("trouble", lambda each: each.trouble, is_number=False)]
        titles = "".join(f"<th>{column.title}</th>" for column in columns)
        rows = ["".join(_cell(column, each) for column in columns) for each in self]
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"

    def _columns(self) -> list[_Column]:
        """Return the columns, without those in which no context has anything."""
        return [column for column in _COLUMNS if any(column.text(each) for each in self)]


class _Column(NamedTuple):
    title: str
    text: Callable[[ContextStatus], str]
    """What is shown of a context; "" if it has nothing."""
    is_number: bool = True


def _aligned(rows: Sequence[ContextStatus], columns: Sequence[_Column]) -> list[str]:
    """Return a line for the titles and one for each row, the cells under each other."""
    cells = [[column.title, *map(column.text, rows)] for column in columns]
    padded = []
    for column, texts in zip(columns, cells, strict=True):
        width = max(map(len, texts))
        padded.append([t.rjust(width) if column.is_number else t.ljust(width) for t in texts])
    return ["  ".join(line).rstrip() for line in zip(*padded, strict=True)]


def _cell(column: _Column, row: ContextStatus) -> str:
    align = "right" if column.is_number else "left"
    return f'<td style="text-align: {align}">{html.escape(column.text(row))}</td>'


def _counts(hosts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} x {what}" for what, number in hosts.items())


def _size(num_bytes: int | None) -> str:
    if num_bytes is None:
        return ""
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.0f} MB"


def _time(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)


def _some(number: int) -> str:
    return str(number) if number else ""


def _hosts(row: ContextStatus) -> str:
    return f"{row.warm} of {row.held_warm}" if row.held_warm else str(row.warm)


_COLUMNS = (
    _Column("context", lambda row: row.name, is_number=False),
    _Column("key", lambda row: row.context_key[:SHOWN_KEY_CHARS], is_number=False),
    _Column("variants", lambda row: _counts(row.variants), is_number=False),
    _Column("devices", lambda row: _counts(row.devices), is_number=False),
    _Column("loading", lambda row: str(row.loading)),
    _Column("warm", _hosts),
    _Column("asleep", lambda row: _some(row.asleep)),
    _Column("queued", lambda row: str(row.queued)),
    _Column("running", lambda row: str(row.running)),
    _Column("GPU memory", lambda row: _size(row.gpu_memory_bytes)),
    _Column("memory", lambda row: _size(row.host_memory_bytes)),
    _Column("set-up", lambda row: _time(row.setup_s)),
    _Column("wake", lambda row: _time(row.wake_s)),
    _Column("item", lambda row: _time(row.item_s)),
    _Column("hits", lambda row: str(row.hits)),
    _Column("loads", lambda row: str(row.loads)),
    _Column("deaths", lambda row: _some(row.deaths)),
)
