"""``parsl-pcm clean``: cancel the jobs that a dead run left in the queue."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from parsl_pcm.cli.tables import columns, complain, say
from parsl_pcm.clock import monotonic_s

if TYPE_CHECKING:
    from parsl_pcm.provider.leftovers.orphans import Leftover, Run

NOTHING_LEFT, SOMETHING_LEFT, BAD_INPUT = 0, 1, 2
"""Exit codes."""
DYING_S = 10.0
"""A process needs its time to end; and sbatch, once started, may outlive it by Parsl's 10 s."""
LOOK_AGAIN_S = 0.2


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to those of ``parsl-pcm``."""
    parser = subparsers.add_parser(
        "clean",
        help="cancel the jobs that a dead run left in the queue",
        description="Cancel the jobs that dead runs left in the queue. Runs whose process lives "
        "are left alone. Exit code: 0 nothing is left, 1 something is, 2 bad input.",
    )
    parser.add_argument(
        "run_dirs",
        nargs="*",
        metavar="RUN_DIR",
        help="Parsl's run_dir, one run in it, or a ledger (default: ./runinfo)",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be cancelled")
    parser.add_argument(
        "--force",
        action="store_true",
        help="also runs of which nobody can tell whether they live, as on another login node",
    )
    parser.add_argument("--quiet", action="store_true", help="speak of failures only")
    parser.add_argument(
        "--after-crash",
        action="store_true",
        help="give the run's process a few seconds to end, and look twice: a job may have been on "
        "its way to the queue",
    )
    parser.set_defaults(func=run)


def run(arguments: argparse.Namespace) -> int:
    """Clean; return the exit code."""
    from parsl_pcm.provider.leftovers.orphans import runs_below

    places = [Path(each) for each in arguments.run_dirs or ["runinfo"]]
    try:
        runs = runs_below(places)
    except OSError as error:
        complain(str(error))
        return BAD_INPUT
    found: list[Leftover] = []
    if arguments.after_crash:
        runs = _wait_for_ends(runs)
        found = [each for each in _clean(runs, arguments) if each.is_gone]
        time.sleep(DYING_S)
        runs = runs_below(places)
    found += _clean(runs, arguments)
    left = [each for each in found if not each.is_gone]
    if not arguments.quiet:
        _report(runs, found, places)
    elif left:
        complain("\n".join(_table(left)))
    return SOMETHING_LEFT if left else NOTHING_LEFT


def _wait_for_ends(runs: Sequence[Run]) -> list[Run]:
    from parsl_pcm.provider.leftovers.orphans import Life, read_run

    deadline = monotonic_s() + DYING_S
    now = list(runs)
    while any(each.life is Life.ALIVE for each in now) and monotonic_s() < deadline:
        time.sleep(LOOK_AGAIN_S)
        now = [read_run(each.ledger) for each in runs]
    return now


def _clean(runs: Sequence[Run], arguments: argparse.Namespace) -> list[Leftover]:
    from parsl_pcm.provider.leftovers.orphans import Cleaner

    cleaner = Cleaner(is_dry=arguments.dry_run, is_forced=arguments.force)
    return [leftover for each in runs for leftover in cleaner.clean(each)]


def _report(runs: Sequence[Run], found: Sequence[Leftover], places: Sequence[Path]) -> None:
    from parsl_pcm.provider.leftovers.orphans import Life

    alive = [each for each in runs if each.life is Life.ALIVE]
    num_over = len(runs) - len(alive)
    if not runs:
        say(f"No run in {', '.join(map(str, places))} has a record of its jobs.")
    if found:
        say("\n".join(_table(found)))
    elif num_over:
        say(f"Nothing is left of {num_over} run{'s' if num_over > 1 else ''} that ended.")
    for each in alive:
        say(f"{each.ledger.parent}: left alone, {each.process} lives")


def _table(found: Sequence[Leftover]) -> list[str]:
    header = ("RUN", "SCHEDULER", "JOB", "STATE", "OUTCOME")
    return columns([header, *map(_row, found)])


def _row(each: Leftover) -> tuple[str, ...]:
    job_id, state = (each.job.job_id, each.job.state) if each.job else ("-", "-")
    outcome = " ".join(each.outcome.split())
    return str(each.run.ledger.parent), each.scheduler, job_id, state, outcome
