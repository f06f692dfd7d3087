"""Checks of the site: its scheduler, its partitions, what is idle there now."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from parsl_pcm.cli.checks import Result, fail, ok, warn
from parsl_pcm.provider.leftovers.ledger import LOCAL
from parsl_pcm.provider.leftovers.queues import jobs_in_queue
from parsl_pcm.provider.schedulers.commands import ask
from parsl_pcm.provider.schedulers.grid_engine import GridEngineProbe
from parsl_pcm.provider.schedulers.htcondor import CondorProbe
from parsl_pcm.provider.schedulers.observations import IdleGpus, LookError, Probe
from parsl_pcm.provider.schedulers.pbspro import PBSProbe
from parsl_pcm.provider.schedulers.slurm import SlurmProbe

if TYPE_CHECKING:
    from parsl_pcm.provider.flavours import Flavour

VERSION_COMMANDS = {
    "slurm": ("sinfo", "--version"),
    "condor": ("condor_q", "-version"),
    "pbs": ("qstat", "--version"),
    "grid_engine": ("qstat", "-help"),
    "lsf": ("lsid",),
}
"""By kind of scheduler; the first line of what they print says it."""
TELLTALES = {
    "slurm": "sinfo",
    "condor": "condor_q",
    "pbs": "pbsnodes",
    "grid_engine": "qhost",
    "lsf": "bjobs",
}
"""A program that no other scheduler has."""


MAX_ROWS = 20
"""Of a table that a person reads as a whole."""
PROBES: dict[str, Callable[[], Probe]] = {
    "slurm": SlurmProbe,
    "condor": CondorProbe,
    "pbs": PBSProbe,
    "grid_engine": GridEngineProbe,
}


def schedulers_here() -> list[str]:
    """Return the kinds of scheduler whose tools are on PATH."""
    return [kind for kind, program in TELLTALES.items() if shutil.which(program)]


def scheduler_answers(kind: str) -> Result:
    """Ask a scheduler for its version and this user's jobs."""
    if kind == LOCAL:
        return ok("scheduler", "none: blocks are processes of this machine")
    try:
        num_jobs = len(jobs_in_queue(kind))
    except LookError as error:
        return fail("scheduler", f"{kind}: {error}", "no block can be asked for until it answers")
    jobs = f"{num_jobs} job{'' if num_jobs == 1 else 's'} of yours in its queue"
    return ok("scheduler", f"{_version(kind) or kind} answers; {jobs}")


def _version(kind: str) -> str:
    with contextlib.suppress(LookError):
        lines = ask(VERSION_COMMANDS[kind.partition("@")[0]]).strip().splitlines()
        return lines[0].strip("$ ") if lines else ""
    return ""


def no_scheduler() -> Result:
    """Say that none was found."""
    return warn(
        "scheduler",
        "no tools of Slurm, HTCondor, PBS, Grid Engine or LSF on PATH",
        "run this on a login node, or load the module that has them; without one, the site "
        "`local` runs blocks on this machine",
    )


def idle_gpus(probe: Probe, flavours: Sequence[Flavour] = ()) -> Result:
    """Look for idle GPUs, and for what each flavour would get of them."""
    try:
        rows = probe.look()
    except LookError as error:
        return fail("idle GPUs", str(error), "blocks are asked for only where this works")
    table = _table(rows, flavours)
    counts = {each.name: each.count_idle(rows) for each in flavours}
    absent = [name for name, count in counts.items() if count is None]
    taken = [name for name, count in counts.items() if count == 0]
    if absent:
        cure = "set partition and gpu_type of the flavour to a row of this table"
        return fail("idle GPUs", f"the site has none for {_listed(absent)}", cure, table)
    if not rows:
        cure = "ask the site how its GPUs are named; see the probe of your flavour"
        return warn("idle GPUs", "the scheduler knows of no GPUs", cure)
    if taken:
        cure = "start all the same: blocks are asked for as soon as GPUs become idle"
        return warn("idle GPUs", f"none now for {_listed(taken)}", cure, table)
    ours = ", ".join(f"{count} for {name!r}" for name, count in counts.items())
    return ok("idle GPUs", ours or "by partition and type:", table)


def _listed(names: Sequence[str]) -> str:
    return f"flavour {', '.join(map(repr, names))}"


def _table(rows: Sequence[IdleGpus], flavours: Sequence[Flavour]) -> tuple[tuple[str, ...], ...]:
    """Return the rows; of a large site only those that a flavour takes, if any does."""
    takers = {
        row: [each.name for each in flavours if each.count_idle([row]) is not None] for row in rows
    }
    if len(rows) > MAX_ROWS and any(takers.values()):
        takers = {row: names for row, names in takers.items() if names}
    heading = ("PARTITION", "TYPE", "IDLE", "TOTAL", *(["FLAVOUR"] if flavours else []))
    body = [
        (
            row.partition or "-",
            row.gpu_type or "-",
            str(row.num_idle),
            str(row.num_total),
            *([" ".join(takers[row])] if flavours else []),
        )
        for row in sorted(takers, key=lambda row: (row.partition, row.gpu_type))
    ]
    return (heading, *body) if body else ()


def partition_exists(kind: str, name: str | None) -> Result:
    """Check that the partition or queue of a provider is there and open."""
    if not name:
        return ok("partition", "the site's default")
    try:
        states = _partitions(kind, name)
    except LookError as error:
        return fail("partition", str(error), f"check the name of the partition or queue {name!r}")
    missing = [each for each in name.split(",") if each not in states]
    if missing:
        cure = f"set it to one of those that are there: {', '.join(states) or 'none is'}"
        return fail("partition", f"there is no {', '.join(missing)!r} in {kind}", cure)
    closed = [each for each in name.split(",") if states[each] != "up"]
    if closed:
        cure = "wait for the site to open it, or choose another"
        return warn("partition", f"{', '.join(closed)} takes no jobs now", cure)
    return ok("partition", f"{name} is there")


def _partitions(kind: str, name: str) -> dict[str, str]:
    """Return the state of the partitions that are there, at least of those in question."""
    scheduler, _, clusters = kind.partition("@")
    match scheduler:
        case "slurm":
            where = (f"--clusters={clusters}",) if clusters else ()
            return read_sinfo(ask(("sinfo", *where, "--noheader", "--all", "--format=%R|%a")))
        case "pbs":
            ask(("qstat", "-Q", name))
        case "grid_engine":
            ask(("qconf", "-sq", name))
        case "lsf":
            ask(("bqueues", name))
        case _:  # HTCondor and others have no queues to choose from
            pass
    return dict.fromkeys(name.split(","), "up")  # these tools fail for a queue that is not there


def read_sinfo(text: str) -> dict[str, str]:
    """Return the state of each partition in sinfo's lines of name and state."""
    return dict(_pairs(line.split("|") for line in text.splitlines()))


def _pairs(rows: Iterable[Sequence[str]]) -> list[tuple[str, str]]:
    return [(row[0], row[1]) for row in rows if len(row) == 2]
