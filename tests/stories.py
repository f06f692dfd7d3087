"""What was decided in a run, live or simulated, in words that are the same for both.

Left out, since they say nothing of decisions or are not the same in two runs of the same shape:
times, texts, devices, leases, which event made a decision, and all that happens once the run is
told to end. Tasks, nodes and contexts have numbers in the order in which they came; of a host, it
is said which context it is for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import Any, NamedTuple

from msgspec import structs

from parsl_pcm.core import actions, events
from parsl_pcm.core.actions import Action
from parsl_pcm.eventlog import LogRecord

LEFT_OUT = {"message", "remote_traceback", "log_tail", "device_ids", "lease_id", "rival_id"}
NUMBERED = {"task_id", "manager_id", "context_key"}


class Decision(NamedTuple):
    """An action."""

    kind: str
    about: dict[str, Any]
    """Its attributes, by their names."""


def story(records: Iterable[LogRecord]) -> list[Decision]:
    """Return all that was decided, in order, until the run was told to end."""
    return list(_Teller().tell(takewhile(_goes_on, records)))


def of_kind(decisions: Iterable[Decision], kind: type[Action]) -> list[Decision]:
    """Return the decisions of a kind, in order."""
    return [decision for decision in decisions if decision.kind == kind.__name__]


def tasks_of(decisions: Iterable[Decision], kind: type[Action]) -> list[int]:
    """Return the tasks of the decisions of a kind, in order."""
    return [decision.about["task_id"] for decision in of_kind(decisions, kind)]


def joined(decisions: Iterable[Decision]) -> list[tuple[int, int, int]]:
    """Return (task, start, stop) of ranges, each joined to the one that it follows on."""
    ranges: list[tuple[int, int, int]] = []
    for _, about in decisions:
        task, start, stop = about["task_id"], about["start"], about["stop"]
        if ranges and (task, start) == (ranges[-1][0], ranges[-1][2]):
            start = ranges.pop()[1]
        ranges.append((task, start, stop))
    return ranges


def _goes_on(record: LogRecord) -> bool:
    """Whether the run was not told to end: then all nodes are held."""
    return not isinstance(record.event, events.ManagerHeld)


class _Teller:
    """Numbers what it hears of, in the order in which it comes."""

    def __init__(self) -> None:
        self._numbers: defaultdict[str, dict[object, int]] = defaultdict(dict)
        self._contexts: dict[object, int] = {}
        """Of the hosts that were started."""

    def tell(self, records: Iterable[LogRecord]) -> Iterator[Decision]:
        for record in records:
            for name in NUMBERED & structs.asdict(record.event).keys():
                self._number(name, getattr(record.event, name))
            for action in record.actions:
                yield Decision(type(action).__name__, dict(self._about(action)))

    def _number(self, name: str, value: object) -> int:
        known = self._numbers[name]
        return known.setdefault(value, len(known) + 1)

    def _about(self, action: Action) -> Iterator[tuple[str, Any]]:
        if isinstance(action, actions.StartHost):
            self._contexts[action.host_id] = self._number("context_key", action.context_key)
        for name, value in structs.asdict(action).items():
            if name in NUMBERED:
                yield name, self._number(name, value)
            elif name == "host_id":
                yield "context of the host", self._contexts[value]
            elif name not in LEFT_OUT and not isinstance(value, str):
                yield name, value
