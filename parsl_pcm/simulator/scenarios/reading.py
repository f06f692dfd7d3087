"""Scenarios from TOML: all that is wrong with one is told at once, each with its place and cure.

Two steps: ``shape.py`` looks at each value by itself, ``sense.py`` at what values mean together.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from parsl_pcm.simulator.scenario import Scenario
from parsl_pcm.simulator.scenarios.sense import find_nonsense
from parsl_pcm.simulator.scenarios.shape import find_misshapen

FOLDER = Path(__file__).parent
"""Of the scenarios that come with the package."""


class ScenarioError(ValueError):
    """A scenario that cannot be run.

    Attributes
    ----------
    source
        The file, or what else the scenario comes from.
    problems
        One sentence each: where, what, what it may be, what usually cures it.
    """

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.source = source
        self.problems = tuple(problems)
        super().__init__(source, self.problems)

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return f"{self.source}: {self.problems[0]}"
        lines = "".join(f"\n  {problem}" for problem in self.problems)
        return f"{self.source} has {len(self.problems)} problems:{lines}"


def scenario_names() -> list[str]:
    """Return the names of the scenarios that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def find_scenario(name_or_path: str) -> Scenario:
    """Read a scenario that comes with the package, by its name, or one of the user's files.

    Raises
    ------
    ScenarioError
        If there is none, or it cannot be run.
    """
    if name_or_path in scenario_names():
        return read_scenario(FOLDER / f"{name_or_path}.toml")
    path = Path(name_or_path)
    if path.suffix or path.exists():
        return read_scenario(path)
    near = difflib.get_close_matches(name_or_path, scenario_names(), n=3)
    cure = f"did you mean {' or '.join(near)}?" if near else f"names: {', '.join(scenario_names())}"
    raise ScenarioError(
        name_or_path, [f"there is no scenario of this name, and no such file; {cure}"]
    )


def read_scenario(path: Path) -> Scenario:
    """Read a file.

    Raises
    ------
    ScenarioError
        If it cannot be read, is no TOML, or describes nothing that can be run.
    """
    try:
        data = msgspec.toml.decode(path.read_bytes())
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error}); check the path"
        raise ScenarioError(str(path), [problem]) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        problem = f"is no TOML: {error}. docs/scenarios.md has an example"
        raise ScenarioError(str(path), [problem]) from error
    return check(data, str(path), path.parent)


def check(data: Mapping[str, Any], source: str, folder: Path | None = None) -> Scenario:
    """Return the scenario that tables and values describe.

    Parameters
    ----------
    data
        As from TOML, or from ``msgspec.to_builtins`` of a scenario.
    source
        Where they come from, for messages.
    folder
        Which paths of traces are relative to. None: the current one.

    Raises
    ------
    ScenarioError
        If anything is wrong with them.
    """
    if problems := list(find_misshapen(data)):
        raise ScenarioError(source, problems)
    scenario = _with_whole_paths(msgspec.convert(data, Scenario), folder or Path())
    if problems := list(find_nonsense(scenario)):
        raise ScenarioError(source, problems)
    return scenario


def _with_whole_paths(scenario: Scenario, folder: Path) -> Scenario:
    """Return a scenario that may be used from any folder."""
    pools = [
        msgspec.structs.replace(pool, trace=str((folder / pool.trace).resolve()))
        if pool.trace and (folder / pool.trace).is_file()
        else pool
        for pool in scenario.pools
    ]
    return msgspec.structs.replace(scenario, pools=tuple(pools))
