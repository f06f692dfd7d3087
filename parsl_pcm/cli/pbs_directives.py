"""What ``#PBS`` lines ask for (PBS Professional and OpenPBS, and Torque's ``nodes=``)."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator, Sequence

from parsl_pcm.cli.job_request import (
    UNSET_WALLTIME,
    JobRequest,
    hours_minutes_seconds,
    left_out,
)
from parsl_pcm.sites import SiteError

_UNFIT = {
    "J": "array", "t": "array", "N": "job-name", "o": "output", "e": "error", "j": "output",
    "k": "output", "m": "mail-type", "M": "mail-user", "d": "chdir", "w": "chdir", "h": "hold",
}  # fmt: skip
_FLAGS = {"V", "h", "z", "f", "X", "I"}
_CHUNK_NAMES = {"ncpus": "ncpus", "ppn": "ncpus", "ngpus": "ngpus", "gpus": "ngpus", "mem": "mem"}
_UNIT_GB = {"b": 2.0**-30, "kb": 2.0**-20, "mb": 2.0**-10, "gb": 1.0, "tb": 2.0**10}
_LINE = "#PBS "


def pbs_request(directives: Sequence[Sequence[str]]) -> JobRequest:
    """Return what the directives ask for.

    Raises
    ------
    SiteError
        A value cannot be read.
    """
    pairs = [pair for words in directives for pair in _pairs(words)]
    resources = dict(pair for name, value in pairs if name == "l" for pair in _resources(value))
    options = {name: value for name, value in pairs if name != "l"}
    num_nodes, chunk = _first_chunk(resources.pop("select", resources.pop("nodes", "")))
    known = {_CHUNK_NAMES[name]: value for name, value in chunk.items() if name in _CHUNK_NAMES}
    others = ":".join(
        f"{name}={value}" if value else name
        for name, value in chunk.items()
        if name not in {*_CHUNK_NAMES, "mpiprocs", "ompthreads"}
    )
    walltime = resources.pop("walltime", None)
    memory = known.get("mem", resources.pop("mem", None))
    cores = known.get("ncpus", resources.pop("ncpus", None))
    gpus = known.get("ngpus", resources.pop("ngpus", "0"))
    return JobRequest(
        scheduler="pbs",
        partition=options.pop("q", None),
        account=options.pop("A", None),
        num_gpus=_number(gpus, "ngpus"),
        num_cores=None if cores is None else _number(cores, "ncpus"),
        memory_gb=None if memory is None else math.ceil(_gb(memory)),
        walltime=_walltime(walltime or UNSET_WALLTIME),
        num_nodes=num_nodes,
        select_options=others,
        scheduler_options=tuple(_kept(options, resources)),
        notes=tuple(_notes(options, walltime)),
    )


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not re.match(r"-[A-Za-z]", word):
            raise SiteError(f"{word!r} in a #PBS line is no option: is its name missing?")
        name, value = word[1], word[2:]
        if not value and name not in _FLAGS and rest:
            value = rest.pop(0)
        yield name, value


def _resources(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and value of each resource; commas inside of a value stay with it."""
    for part in re.split(r",(?=\w+=)", text):
        name, _, value = part.partition("=")
        yield name, value


def _first_chunk(text: str) -> tuple[int, dict[str, str]]:
    """Return the number of nodes, and the resources of each; there is one node by default."""
    parts = text.split("+")[0].split(":") if text else []
    num_nodes = 1
    if parts and parts[0].isdigit():
        num_nodes = int(parts.pop(0))
    pairs = (part.partition("=") for part in parts)
    return num_nodes, {name: value for name, _, value in pairs}


def _kept(options: dict[str, str], resources: dict[str, str]) -> Iterator[str]:
    for name, value in resources.items():
        yield f"{_LINE}-l {name}={value}" if value else f"{_LINE}-l {name}"
    for name, value in options.items():
        if name not in _UNFIT and not _is_dependency(name, value) and name != "S":
            yield f"{_LINE}-{name} {shlex.quote(value)}".rstrip() if value else f"{_LINE}-{name}"


def _notes(options: dict[str, str], walltime: str | None) -> Iterator[str]:
    for name, value in options.items():
        unfit = "dependency" if _is_dependency(name, value) else _UNFIT.get(name)
        if unfit is not None:
            yield left_out(f"-{name} {value}".rstrip(), unfit)
    if walltime is None:
        yield f"no walltime in the script: it is {UNSET_WALLTIME} here, change it as you like"


def _is_dependency(name: str, value: str) -> bool:
    return name == "W" and value.startswith("depend=")


def _gb(text: str) -> float:
    match = re.fullmatch(r"(\d+)([kmgt]?)([bw]?)", text.strip(), re.IGNORECASE)
    if match is None or match[3].lower() == "w":
        raise SiteError(f"memory {text!r} cannot be read: write it like 64gb")
    return float(match[1]) * _UNIT_GB[match[2].lower() + "b"]


def _walltime(text: str) -> str:
    """Read seconds, M:S or H:M:S."""
    if re.fullmatch(r"\d+(:\d+){0,2}", text) is None:
        raise SiteError(f"walltime {text!r} cannot be read: write it like 04:00:00")
    hours, minutes, seconds = [0, 0, *map(int, text.split(":"))][-3:]
    return hours_minutes_seconds((hours * 60 + minutes) * 60 + seconds)


def _number(text: str, name: str) -> int:
    if not text.isdigit():
        raise SiteError(f"{name}={text!r} cannot be read: give a whole number")
    return int(text)
