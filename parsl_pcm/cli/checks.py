"""What a check of ``parsl-pcm doctor`` says."""

from __future__ import annotations

import enum

from msgspec import Struct


class Level(enum.Enum):
    """How good it is."""

    OK = "OK"
    WARN = "WARN"
    """Works, but a person should know."""
    FAIL = "FAIL"
    """No task will run as it is."""


class Result(Struct, frozen=True):
    """One line of the doctor's: what was looked at, what was seen, what to do about it."""

    level: Level
    title: str
    detail: str
    cure: str = ""
    """A sentence; "" iff all is well."""
    table: tuple[tuple[str, ...], ...] = ()
    """More of what was seen, the first row a heading."""
    text: str = ""
    """All of it, for those who ask."""


def ok(title: str, detail: str, table: tuple[tuple[str, ...], ...] = ()) -> Result:
    """Return a result that needs no action."""
    return Result(Level.OK, title, detail, table=table)


def warn(title: str, detail: str, cure: str, table: tuple[tuple[str, ...], ...] = ()) -> Result:
    """Return a result that a person should know of."""
    return Result(Level.WARN, title, detail, cure, table)


def fail(title: str, detail: str, cure: str, table: tuple[tuple[str, ...], ...] = ()) -> Result:
    """Return a result that keeps tasks from running."""
    return Result(Level.FAIL, title, detail, cure, table)
