"""What ``#SBATCH`` lines ask for (https://slurm.schedmd.com/sbatch.html)."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence

from parsl_pcm.cli.job_request import (
    UNFIT_FOR_PILOTS,
    UNSET_WALLTIME,
    JobRequest,
    hours_minutes_seconds,
    left_out,
)
from parsl_pcm.sites import SiteError

_LONG_NAMES = {
    "A": "account", "C": "constraint", "D": "chdir", "G": "gpus", "H": "hold", "J": "job-name",
    "L": "licenses", "M": "clusters", "N": "nodes", "O": "overcommit", "W": "wait", "a": "array",
    "b": "begin", "c": "cpus-per-task", "d": "dependency", "e": "error", "i": "input",
    "k": "no-kill", "m": "distribution", "n": "ntasks", "o": "output", "p": "partition",
    "q": "qos", "s": "oversubscribe", "t": "time", "w": "nodelist", "x": "exclude",
}  # fmt: skip
_FLAGS = {
    "contiguous", "exclusive", "get-user-env", "hold", "no-kill", "no-requeue", "overcommit",
    "oversubscribe", "parsable", "quiet", "reboot", "requeue", "spread-job", "use-min-nodes",
    "verbose", "wait",
}  # fmt: skip
"""Options that take no value, or one after ``=`` only."""
_UNDERSTOOD = {
    "account", "clusters", "constraint", "cpus-per-gpu", "cpus-per-task", "gpus", "gpus-per-node",
    "gpus-per-task", "gres", "mem", "mem-per-cpu", "mem-per-gpu", "nodes", "ntasks",
    "no-requeue", "ntasks-per-gpu", "ntasks-per-node", "partition", "qos", "requeue", "time",
}  # fmt: skip
_UNIT_GB = {"K": 2.0**-20, "M": 2.0**-10, "": 2.0**-10, "G": 1.0, "T": 2.0**10}
"""sbatch's default unit of memory is the megabyte."""

Options = Mapping[str, str]
"""Value by long name of the option; "" for flags. The last one of a name counts, as for sbatch."""


def slurm_request(directives: Sequence[Sequence[str]]) -> JobRequest:
    """Return what the directives ask for.

    Raises
    ------
    SiteError
        A value cannot be read.
    """
    options = dict(pair for words in directives for pair in _pairs(words))
    gpu_type, num_gpus, other_gres = _gpus(options)
    num_cores = _cores(options, num_gpus)
    kept = [_line(name, value) for name, value in options.items() if _is_kept(name, value)]
    if other_gres:
        kept.append(_line("gres", other_gres))
    return JobRequest(
        scheduler="slurm",
        partition=options.get("partition"),
        account=options.get("account"),
        qos=options.get("qos"),
        constraint=options.get("constraint"),
        gpu_type=gpu_type,
        num_gpus=num_gpus,
        # A second --gres would take the place of the first.
        uses_gres="gpus-per-node" not in options and "gres" in options and not other_gres,
        num_cores=num_cores,
        memory_gb=_memory_gb(options, num_cores or 1, num_gpus),
        walltime=_walltime(options),
        num_nodes=_number(options.get("nodes", "1").partition("-")[0], "nodes"),
        requeue="requeue" in options,
        scheduler_options=tuple(kept),
        notes=tuple(_notes(options)),
    )


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            raise SiteError(f"{word!r} in an #SBATCH line is no option: is its name missing?")
        if word.startswith("--"):
            name, has_value, value = word[2:].partition("=")
        else:
            name, value = _LONG_NAMES.get(word[1:2], word[1:2]), word[2:]
            has_value = value
        if not has_value and name not in _FLAGS and rest and not rest[0].startswith("-"):
            value = rest.pop(0)
        yield name, value


def _is_kept(name: str, value: str) -> bool:
    if name == "mem" and _is_whole_memory(value):
        return True
    return name not in _UNDERSTOOD | set(UNFIT_FOR_PILOTS)


def _line(name: str, value: str) -> str:
    dashes = "--" if len(name) > 1 else "-"
    joint = "" if not value else "=" if len(name) > 1 else " "
    return f"#SBATCH {dashes}{name}{joint}{shlex.quote(value) if value else ''}"


def _notes(options: Options) -> Iterator[str]:
    for name, value in options.items():
        if name in UNFIT_FOR_PILOTS:
            yield left_out(f"--{name}={value}" if value else f"--{name}", name)
    if "time" not in options:
        yield f"no --time in the script: walltime is {UNSET_WALLTIME}, change it as you like"
    if "exclusive" in options:
        yield "kept: --exclusive, so a block is a whole node: let it ask for all the GPUs there"
    if "clusters" in options:
        yield f"left out: --clusters={options['clusters']}, for idle GPUs are looked for here only"


def _gpus(options: Options) -> tuple[str | None, int, str]:
    """Return type and number of GPUs on each node, and what else is in ``--gres``."""
    gres = options.get("gres", "").split(",")
    of_gres = [each for each in gres if re.match(r"(gres[:/])?gpu\b", each)]
    others = ",".join(each for each in gres if each and each not in of_gres)
    if "gpus-per-node" in options:
        gpu_type, number = _type_and_number(options["gpus-per-node"])
    elif of_gres:
        gpu_type, number = _type_and_number(re.sub(r"^(gres[:/])?gpu:?", "", of_gres[0]))
    elif "gpus" in options:
        gpu_type, number = _type_and_number(options["gpus"])
        number = math.ceil(number / _number(options.get("nodes", "1").partition("-")[0], "nodes"))
    elif "gpus-per-task" in options:
        gpu_type, number = _type_and_number(options["gpus-per-task"])
        number *= _tasks(options)
    else:
        return None, 0, others
    return gpu_type, number, others


def _type_and_number(text: str) -> tuple[str | None, int]:
    """Read ``a100:2``, ``a100``, ``2`` or nothing, which is one of any type."""
    bare = re.sub(r"\(.*\)$", "", text).strip()
    if "," in bare:
        raise SiteError(f"two types of GPU in one job ({text!r}): make one script a type")
    kind, _, number = bare.rpartition(":")
    if not number:
        return None, 1
    if number.isdigit():
        return kind or None, int(number)
    return bare, 1


def _tasks(options: Options) -> int:
    if "ntasks-per-node" in options:
        return _number(options["ntasks-per-node"], "ntasks-per-node")
    nodes = _number(options.get("nodes", "1").partition("-")[0], "nodes")
    return math.ceil(_number(options.get("ntasks", "1"), "ntasks") / nodes)


def _cores(options: Options, num_gpus: int) -> int | None:
    if "cpus-per-gpu" in options:
        return _number(options["cpus-per-gpu"], "cpus-per-gpu") * max(num_gpus, 1)
    if {"cpus-per-task", "ntasks", "ntasks-per-node"} & set(options):
        return _number(options.get("cpus-per-task", "1"), "cpus-per-task") * _tasks(options)
    return None


def _memory_gb(options: Options, num_cores: int, num_gpus: int) -> int | None:
    if "mem" in options and not _is_whole_memory(options["mem"]):
        return math.ceil(_gb(options["mem"]))
    if "mem-per-cpu" in options:
        return math.ceil(_gb(options["mem-per-cpu"]) * num_cores)
    if "mem-per-gpu" in options:
        return math.ceil(_gb(options["mem-per-gpu"]) * max(num_gpus, 1))
    return None


def _is_whole_memory(text: str) -> bool:
    return bool(re.fullmatch(r"0+[KMGT]?B?", text, re.IGNORECASE))


def _gb(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)B?", text.strip(), re.IGNORECASE)
    if match is None:
        raise SiteError(f"memory {text!r} cannot be read: write it like 64G")
    return float(match[1]) * _UNIT_GB[match[2].upper()]


def _walltime(options: Options) -> str:
    """Read M, M:S, H:M:S, D-H, D-H:M or D-H:M:S."""
    text = options.get("time", UNSET_WALLTIME)
    if re.fullmatch(r"(\d+-)?\d+(:\d+){0,2}", text) is None:
        raise SiteError(f"time {text!r} cannot be read: write it like 04:00:00")
    days, _, clock = text.rpartition("-")
    numbers = [int(part) for part in clock.split(":")]
    if days or len(numbers) == 3:
        hours, minutes, seconds = [*numbers, 0, 0][:3]
    else:
        hours, minutes, seconds = [0, *numbers, 0][:3]
    return hours_minutes_seconds(((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds)


def _number(text: str, name: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise SiteError(f"--{name}={text!r} cannot be read: give a whole number above 0")
    return int(text)
