"""Slurm's answers in the form that its man pages describe as ``--Format=type:suffix``.

One line an entry, every field with the same sign behind it. Preferred over JSON: it holds what we
need and nothing else, is the same from 20.02 to 26.05, and lets ``squeue`` select our own jobs
(22.05 answers ``--json`` with the jobs of everybody).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from parsl_pcm.provider.schedulers.loose_json import as_int
from parsl_pcm.provider.schedulers.observations import LookError
from parsl_pcm.provider.schedulers.slurm_rows import JobRow, NodeRow, has_gpus

SIGN = "|"
# NodeHost would be the name of the machine, which several nodes may share.
NODE_FIELDS = ("NodeList", "Partition", "Available", "StateLong", "CPUsState", "Gres", "GresUsed")
# The reason comes last: plugins put their own words there.
JOB_FIELDS = ("JobID", "State", "RestartCnt", "PreemptTime", "EndTime", "exit_code", "Reason")
TIMES = {"SLURM_TIME_FORMAT": "%s"}
"""Environment that makes the clients print seconds since the epoch."""


def format_of(fields: Sequence[str]) -> str:
    """Return the argument of ``-O``."""
    return ",".join(f"{field}:{SIGN}" for field in fields)


def node_rows(output: str, gres_name: str) -> list[NodeRow]:
    """Read what ``sinfo --noheader --Node -O`` printed; nodes without GPUs are left out.

    Raises
    ------
    LookError
        It is something else.
    """
    return [
        _node_row(fields, gres_name)
        for fields in _lines(output, "sinfo", NODE_FIELDS)
        if has_gpus(fields[5], gres_name)
    ]


def _node_row(fields: list[str], gres_name: str) -> NodeRow:
    _, partition, available, state, cpus, gres, gres_used = fields[: len(NODE_FIELDS)]
    # Unknown to this sinfo: it prints an empty field, with a complaint on stderr.
    if not gres_used or not state:
        raise LookError(f"sinfo did not tell state and use of the {gres_name}s of its nodes")
    idle = re.fullmatch(r"\d+/(\d+)/\d+/\d+", cpus)
    return NodeRow(
        partition=partition.rstrip("*"),
        is_partition_up=available in ("up", ""),
        states=frozenset(re.findall(r"[a-z_]+|[^a-z_]", state.lower())),
        gres=gres,
        gres_used=gres_used,
        num_idle_cpus=as_int(idle[1]) if idle else None,
    )


def job_rows(output: str) -> list[JobRow]:
    """Read what ``squeue --noheader -O`` printed.

    Raises
    ------
    LookError
        It is something else.
    """
    return [_job_row(fields) for fields in _lines(output, "squeue", JOB_FIELDS)]


def _job_row(fields: list[str]) -> JobRow:
    job_id, state, restarts, preempted, ends, status, *reason = fields
    if not job_id.isdecimal() or not state:
        raise LookError(f"squeue did not tell job and state: {SIGN.join(fields)[:200]!r}")
    return JobRow(
        job_id=job_id,
        states=(state.split()[0].upper(),),
        num_restarts=as_int(restarts) or 0,
        preempted_at_s=_time_s(preempted),
        ends_at_s=_time_s(ends),
        exit_code=_exit_code(status),
        reason=SIGN.join(reason).strip(SIGN),
    )


def _time_s(text: str) -> float | None:
    """Return seconds since the epoch; None for ``N/A``, ``NONE`` and the like."""
    seconds = as_int(text)
    return float(seconds) if seconds and seconds > 0 else None


def _exit_code(status: str) -> int | None:
    """Read a wait status (``256``: code 1), or ``code:signal`` of the newer versions."""
    code, colon, signal = status.partition(":")
    number = as_int(code)
    if number is None or not colon:
        return None if number is None else decoded(number)
    return 128 + (as_int(signal) or 0) if as_int(signal) else number


def decoded(wait_status: int) -> int:
    """Return the exit code in the shells' way: 128 and the signal, if one ended it."""
    signal = wait_status & 0x7F
    return 128 + signal if signal else wait_status >> 8 & 0xFF


def _lines(output: str, program: str, names: Sequence[str]) -> Iterator[list[str]]:
    """Yield the fields of each line, and insist that there are enough.

    A job in a line that is cut off must not look like a job that is gone.
    """
    for line in output.splitlines():
        # With --clusters, each cluster's part has a title.
        if not line.strip() or line.startswith("CLUSTER:"):
            continue
        fields = [field.strip() for field in line.split(SIGN)]
        if len(fields) <= len(names):
            raise LookError(f"{program} printed a line that does not tell {names}: {line[:200]!r}")
        yield fields
