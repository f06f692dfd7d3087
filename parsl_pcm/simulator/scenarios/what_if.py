"""A scenario with some of its values changed, by where they stand: ``pools.0.count=40``."""

from __future__ import annotations

import difflib
import json
from typing import Any, NoReturn

import msgspec

from parsl_pcm.simulator.scenario import Scenario
from parsl_pcm.simulator.scenarios.reading import ScenarioError, check

AVAILABILITY = ("count", "steps", "trace", "churn")
"""Of a pool: one of them excludes the others."""


def change(scenario: Scenario, *changes: str) -> Scenario:
    """Return the scenario with these changes.

    Parameters
    ----------
    changes
        Each ``PATH=VALUE``: names and positions with dots between them; contexts and GPUs may be
        given by name in place of their position. A value is JSON (``null`` for none), or else text.
        A pool that is given a count, steps, a trace or a churn loses the one of these that it had.

    Raises
    ------
    ScenarioError
        There is no such place, or the changed scenario cannot be.
    """
    data = msgspec.json.decode(msgspec.json.encode(scenario))
    for each in changes:
        path, sign, text = each.partition("=")
        if not sign:
            problem = "write PATH=VALUE, for example pools.0.count=40; the scenario goes before it"
            raise ScenarioError(f"what if {each}?", [problem])
        _set(data, path.strip(), _value(text.strip()))
    return check(data, f"{scenario.name} with {' '.join(changes)}")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _set(data: dict[str, Any], path: str, value: Any) -> None:
    place: Any = data
    *parents, last = path.split(".")
    for depth, part in enumerate(parents):
        place = _step(place, part, path, ".".join(parents[:depth]))
    where = ".".join(parents)
    if isinstance(place, list):
        place[_index(place, last, path, where)] = value
    elif not isinstance(place, dict):
        _refuse(path, where, f"{place!r} has no parts")
    elif parents[:1] == ["pools"] and len(parents) == 2 and last in AVAILABILITY:
        place.update(dict.fromkeys(AVAILABILITY) | {last: value})
    else:
        _check_name(place, last, path, where)
        place[last] = value


def _step(place: Any, part: str, path: str, where: str) -> Any:
    if isinstance(place, list):
        return place[_index(place, part, path, where)]
    if not isinstance(place, dict):
        _refuse(path, where, f"{place!r} has no parts")
    _check_name(place, part, path, where)
    return place[part]


def _index(place: list[Any], part: str, path: str, where: str) -> int:
    names = [each.get("name") if isinstance(each, dict) else None for each in place]
    if part in names:
        return names.index(part)
    if part.isdecimal() and int(part) < len(place):
        return int(part)
    known = (f"{number} ({name})" if name else str(number) for number, name in enumerate(names))
    _refuse(path, where, f"it has no {part!r}, but {', '.join(known) or 'nothing'}")


def _check_name(place: dict[str, Any], name: str, path: str, where: str) -> None:
    if name not in place and not _is_table_of_gpus(place):
        near = difflib.get_close_matches(name, place, n=3, cutoff=0.5) or sorted(place)
        _refuse(path, where, f"it has no {name!r}; near ones are: {', '.join(near)}")


def _is_table_of_gpus(place: dict[str, Any]) -> bool:
    """Whether a table may get new names: those of GPUs, with a number each."""
    return all(
        isinstance(value, float | int) and not isinstance(value, bool) for value in place.values()
    )


def _refuse(path: str, where: str, why: str) -> NoReturn:
    problem = f"{where or 'the scenario'}: {why}; --show prints all of it"
    raise ScenarioError(f"what if {path}?", [problem])
