"""Which state may follow which. Everything that says so is in this file."""

from __future__ import annotations

import enum
from typing import TypeVar


class TaskState(enum.Enum):
    """Life of a task."""

    OPEN = "open"
    """Some of its items are neither delivered nor given up."""
    FINISHED = "finished"
    """All results were delivered."""
    FAILED = "failed"
    """An exception was delivered instead."""
    CANCELLED = "cancelled"
    """Nobody waits for it."""


class HostState(enum.Enum):
    """Life of a host."""

    STARTING = "starting"
    """Its process is starting or building the context: cold."""
    READY = "ready"
    """The context is live: warm."""
    DOZING = "dozing"
    """Asked to put its context to sleep; holds its memory until it has."""
    ASLEEP = "asleep"
    """The context holds hardly any memory but that of the node, and can be live again soon."""
    WAKING = "waking"
    """Making its context live again."""
    STOPPING = "stopping"
    """Asked to end; holds its memory until it has."""
    GONE = "gone"
    """Its process ended, or its node vanished."""


class ManagerState(enum.Enum):
    """Life of a manager."""

    ACTIVE = "active"
    """Takes work."""
    HELD = "held"
    """Takes nothing new, stays."""
    DRAINING = "draining"
    """Finishes what runs, takes nothing new, then leaves."""
    GONE = "gone"
    """Left or lost."""


TASK_TRANSITIONS: dict[TaskState, frozenset[TaskState]] = {
    TaskState.OPEN: frozenset({TaskState.FINISHED, TaskState.FAILED, TaskState.CANCELLED}),
    TaskState.FINISHED: frozenset(),
    TaskState.FAILED: frozenset(),
    TaskState.CANCELLED: frozenset(),
}

_ENDS = frozenset({HostState.STOPPING, HostState.GONE})
HOST_TRANSITIONS: dict[HostState, frozenset[HostState]] = {
    HostState.STARTING: _ENDS | {HostState.READY},
    HostState.READY: _ENDS | {HostState.DOZING},
    HostState.DOZING: _ENDS | {HostState.ASLEEP},
    HostState.ASLEEP: _ENDS | {HostState.WAKING},
    HostState.WAKING: _ENDS | {HostState.READY},
    HostState.STOPPING: frozenset({HostState.GONE}),
    HostState.GONE: frozenset(),
}

MANAGER_TRANSITIONS: dict[ManagerState, frozenset[ManagerState]] = {
    ManagerState.ACTIVE: frozenset({ManagerState.HELD, ManagerState.DRAINING, ManagerState.GONE}),
    ManagerState.HELD: frozenset({ManagerState.DRAINING, ManagerState.GONE}),
    ManagerState.DRAINING: frozenset({ManagerState.GONE}),
    ManagerState.GONE: frozenset(),
}

StateT = TypeVar("StateT", TaskState, HostState, ManagerState)


class InvalidTransitionError(Exception):
    """The scheduler tried a step that no table allows: a bug of ours; nothing was changed."""


def step(table: dict[StateT, frozenset[StateT]], present: StateT, following: StateT) -> StateT:
    """Return ``following`` if the table allows it after ``present``.

    Raises
    ------
    InvalidTransitionError
        If it does not.
    """
    if following not in table[present]:
        raise InvalidTransitionError(f"{present} cannot be followed by {following}")
    return following
