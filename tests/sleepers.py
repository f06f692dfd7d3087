"""A context that sleeps, holds memory while it is awake, and leaves a trace of what happened."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from parsl import python_app

from parsl_pcm import context
from tests.running import wait_for

HELD_BYTES = 150 * 10**6
"""Much more than a host holds without it."""
LOAD_S = 0.7
"""Far longer than to wake up, which takes no time unless much memory is held: else it would not pay
to wake a host."""


class Happened(NamedTuple):
    """A line of the trace."""

    pid: int
    name: str
    what: str
    """``built``, ``falls asleep``, ``asleep``, ``wakes`` or ``awake``."""


@context(can_sleep=True)
def sleeper(name, folder, sleeps_badly=False, wakes_badly=False, load_s=0.0, held_bytes=1):
    """Sleeping and waking take until nobody holds them up: see ``hold``."""
    import os
    import pathlib
    import time

    def note(what):
        with (pathlib.Path(folder) / "trace").open("a") as file:
            file.write(f"{os.getpid()} {name} {what}\n")
        while (pathlib.Path(folder) / f"hold {name} {what}").exists():
            time.sleep(0.01)

    class Sleeper:
        def __init__(self):
            time.sleep(load_s)
            self.blob = b"x" * held_bytes
            note("built")

        def sleep(self):
            note("falls asleep")
            if sleeps_badly:
                raise RuntimeError(f"{name} has no bed")
            self.blob = None
            note("asleep")

        def wake(self):
            note("wakes")
            if wakes_badly:
                raise RuntimeError(f"{name} has no alarm clock")
            self.blob = b"x" * held_bytes
            note("awake")

    return Sleeper()


@python_app
def ask(index, model):
    """Say which process answers; it must be awake."""
    import os

    assert model.blob is not None, "it sleeps"
    return index, os.getpid()


def hold(folder: Path, name: str, what: str) -> Path:
    """Hold a context up when it comes to this, until the file that is returned is gone."""
    path = folder / f"hold {name} {what}"
    path.touch()
    return path


def trace(folder: Path) -> list[Happened]:
    """Return what has happened so far."""
    path = folder / "trace"
    lines = path.read_text().splitlines() if path.exists() else []
    words = (line.split(maxsplit=2) for line in lines)
    return [Happened(int(pid), name, what) for pid, name, what in words]


def count(folder: Path, name: str, what: str) -> int:
    """Return how often something has happened to a context."""
    return sum((each.name, each.what) == (name, what) for each in trace(folder))


def wait_until(folder: Path, name: str, what: str) -> int:
    """Wait until something has happened to a context; return the process in which it did."""
    wait_for(lambda: count(folder, name, what), f"{name} {what}")
    return next(each.pid for each in trace(folder) if (each.name, each.what) == (name, what))
