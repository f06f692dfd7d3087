"""``parsl-pcm simulate``: how long a campaign takes, what it costs and what limits it."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from parsl_pcm.cli.tables import columns, complain, say

if TYPE_CHECKING:
    from parsl_pcm.cli.simulate_table import Column
    from parsl_pcm.simulator.results.outcome import Outcome
    from parsl_pcm.simulator.scenario import Scenario

OK, NOT_DONE, BAD_INPUT = 0, 1, 2
"""Exit codes."""
DEFAULT_SEEDS = 5
AS_IT_IS = "as it is"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to those of ``parsl-pcm``."""
    parser = subparsers.add_parser(
        "simulate",
        help="tell how long a campaign takes, what it costs and what limits it",
        description="Run a campaign in virtual time, by the scheduler of live runs. Exit code: 0 "
        "all items are done, 1 some are not, 2 bad input.",
    )
    parser.add_argument(
        "scenario",
        nargs="?",
        metavar="SCENARIO",
        help="a TOML file, or the name of one that comes with the package (--list)",
    )
    parser.add_argument(
        "--event-log",
        type=Path,
        metavar="RUN",
        help="in place of a scenario: a run in Parsl's run_dir, whose speeds and nodes are taken",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=DEFAULT_SEEDS,
        metavar="N",
        help=f"how many runs, with other chances each (default {DEFAULT_SEEDS})",
    )
    parser.add_argument(
        "--what-if",
        nargs="+",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="compare with this changed, as in pools.0.count=40; may be given several times",
    )
    _add_outputs(parser)
    parser.set_defaults(func=run)


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--picture", type=Path, metavar="FILE", help="a .png, .pdf or .svg to draw")
    parser.add_argument(
        "--save-log", type=Path, metavar="FILE", help="write the event log of the first run"
    )
    parser.add_argument("--json", action="store_true", help="print data, not a table")
    parser.add_argument("--list", action="store_true", help="name the scenarios of the package")
    parser.add_argument(
        "--show", action="store_true", help="print the scenario as TOML, run nothing"
    )


def run(arguments: argparse.Namespace) -> int:
    """Do what the arguments say; return the exit code."""
    from concurrent.futures import BrokenExecutor

    from parsl_pcm.eventlog import EventLogError
    from parsl_pcm.simulator.results.picture import PictureError
    from parsl_pcm.simulator.scenarios.reading import ScenarioError
    from parsl_pcm.simulator.site.trace import TraceError

    try:
        return _run(arguments)
    except (ScenarioError, TraceError, EventLogError, PictureError, OSError) as error:
        complain(str(error))
        return BAD_INPUT
    except BrokenExecutor as error:
        complain(f"a run was ended from outside, perhaps since memory ran out: {error}")
        return NOT_DONE


def _run(arguments: argparse.Namespace) -> int:
    if arguments.list:
        return _list()
    scenario = _scenario(arguments)
    if arguments.show:
        return _show(scenario, arguments.what_if)
    _check_outputs(arguments)
    shown = _studies(scenario, arguments)
    if arguments.json:
        _say_json(shown, arguments.what_if)
    else:
        _say_table(shown, arguments)
    if arguments.picture is not None:
        _draw(shown, arguments)
    is_done = all(each.makespan_s is not None for column in shown for each in column.study.outcomes)
    return OK if is_done else NOT_DONE


# --- in ---------------------------------------------------------------------------------------


def _list() -> int:
    from parsl_pcm.simulator.scenarios.reading import find_scenario, scenario_names

    rows = [(name, find_scenario(name).about) for name in scenario_names()]
    for line in columns([("NAME", "ABOUT"), *rows]):
        say(line)
    return OK


def _scenario(arguments: argparse.Namespace) -> Scenario:
    from parsl_pcm.simulator.scenarios.from_log import scenario_from_log
    from parsl_pcm.simulator.scenarios.reading import ScenarioError, find_scenario

    if (arguments.scenario is None) is (arguments.event_log is None):
        problem = "give either a scenario (--list names those of the package) or --event-log RUN"
        raise ScenarioError("parsl-pcm simulate", [problem])
    if arguments.event_log is not None:
        return scenario_from_log(arguments.event_log)
    return find_scenario(arguments.scenario)


def _show(scenario: Scenario, what_if: Sequence[Sequence[str]]) -> int:
    from parsl_pcm.simulator.scenarios.what_if import change
    from parsl_pcm.simulator.scenarios.writing import to_toml

    say(to_toml(change(scenario, *(each for changes in what_if for each in changes))))
    return OK


def _check_outputs(arguments: argparse.Namespace) -> None:
    """Refuse early what would be refused after long runs."""
    from parsl_pcm.simulator.results import picture
    from parsl_pcm.simulator.scenarios.reading import ScenarioError

    if arguments.seeds < 1:
        raise ScenarioError("--seeds", [f"{arguments.seeds} runs tell nothing; give 1 or more"])
    if arguments.save_log is not None and arguments.save_log.exists():
        raise ScenarioError("--save-log", [f"{arguments.save_log} exists; give another name"])
    if arguments.picture is not None:
        picture.check(arguments.picture)


# --- runs -------------------------------------------------------------------------------------


def _studies(scenario: Scenario, arguments: argparse.Namespace) -> list[Column]:
    """Run what was asked for, all with the same seeds; show how far that is, if anybody looks."""
    from tqdm import tqdm

    from parsl_pcm.cli.simulate_table import Column
    from parsl_pcm.simulator.results.study import study
    from parsl_pcm.simulator.scenarios.what_if import change

    changed = [change(scenario, *changes) for changes in arguments.what_if]
    seeds = range(1, arguments.seeds + 1)
    names = [AS_IT_IS, *(f"what if {number}" for number in range(1, len(changed) + 1))]
    logs = [arguments.save_log, *[None] * len(changed)]
    num_runs = len(seeds) * len(names)
    with tqdm(total=num_runs, desc=scenario.name, unit="run", disable=None, leave=False) as bar:

        def tell(_: Outcome) -> None:
            bar.update()

        cores = os.cpu_count() or 1
        return [
            Column(name, study(each, seeds, max_processes=cores, log=log, on_outcome=tell))
            for name, each, log in zip(names, [scenario, *changed], logs, strict=True)
        ]


# --- out --------------------------------------------------------------------------------------


def _say_table(shown: Sequence[Column], arguments: argparse.Namespace) -> None:
    from parsl_pcm.cli.simulate_table import limits, table

    scenario, num_seeds = shown[0].study.scenario, arguments.seeds
    seeds = "1 run" if num_seeds == 1 else f"medians of {num_seeds} runs"
    say(f"{scenario.name}: {seeds}")
    if scenario.about:
        say(scenario.about)
    for column, changes in zip(shown[1:], arguments.what_if, strict=True):
        say(f"{column.heading}: {' '.join(changes)}")
    say()
    for line in (*table(shown), "", *limits(shown)):
        say(line)
    if arguments.save_log is not None:
        say(f"\nEvent log: {arguments.save_log}")


def _say_json(shown: Sequence[Column], what_if: Sequence[Sequence[str]]) -> None:
    from parsl_pcm.cli.simulate_table import data

    all_changes: list[Sequence[str]] = [(), *what_if]
    found = [
        data(column.study, changes) for column, changes in zip(shown, all_changes, strict=True)
    ]
    say(json.dumps(found, indent=2))


def _draw(shown: Sequence[Column], arguments: argparse.Namespace) -> None:
    from parsl_pcm.simulator.results.picture import Shown, can_draw, draw

    if not can_draw():
        complain("No picture: pip install 'parsl-pcm[plot]'")
        return
    abouts = [f"GPUs, {column.heading}" for column in shown] if len(shown) > 1 else ["GPUs"]
    details = ["", *(f": {' '.join(changes)}" for changes in arguments.what_if)]
    drawn = [
        Shown(column.study.typical, column.heading, about + detail)
        for column, about, detail in zip(shown, abouts, details, strict=True)
    ]
    draw(drawn, arguments.picture)
    complain(f"Picture: {arguments.picture}")
