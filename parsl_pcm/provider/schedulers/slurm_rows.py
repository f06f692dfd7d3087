"""What Slurm's answers mean, whichever form they came in.

``slurm_text.py`` and ``slurm_json.py`` make rows; here rows become idle GPUs and jobs. The names
of the states are those of Slurm 22.05 to 26.05 (``squeue(1)``, ``sinfo(1)``, and
``data_parser`` in its sources).
"""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from msgspec import Struct

from parsl_pcm.provider.schedulers.loose_json import as_int
from parsl_pcm.provider.schedulers.observations import Ending, IdleGpus, Job, JobPhase


class NodeRow(Struct, frozen=True, kw_only=True):
    """One node in one partition."""

    partition: str
    is_partition_up: bool = True
    states: frozenset[str]
    """In lower case; in the text form also the sign behind the state, as ``*``."""
    gres: str
    """As ``gpu:a10:2(S:0-1),shard:8``."""
    gres_used: str
    """As ``gpu:a10:1(IDX:0),shard:0``."""
    num_idle_cpus: int | None = None
    """None if not told."""


class JobRow(Struct, frozen=True, kw_only=True):
    """One job; times are seconds since the epoch by the scheduler's clock."""

    job_id: str
    states: tuple[str, ...]
    """In upper case, full or compact: a base state, and flags in the newer JSON."""
    num_restarts: int = 0
    preempted_at_s: float | None = None
    ends_at_s: float | None = None
    exit_code: int | None = None
    reason: str = ""


# ----------------------------------------------------------------------------- nodes

HARMLESS = {"cloud", "dynamic_norm", "undrain", "resume"}
TAKES_JOBS_NOW = {"idle", "mixed", "mix"}
# Busy, starting, asleep, or kept for a job that is planned: later they take ours. A job that is
# being cleaned up no longer counts as using its GPUs, though they are not free yet.
TAKES_JOBS_LATER = {"allocated", "alloc", "completing", "comp", "+", "planned", "plnd", "-"} | {
    "powered_down", "powering_down", "power_down", "powering_up", "power_up", "~", "%", "!", "#",
}  # fmt: skip


def idle_gpus(nodes: Iterable[NodeRow], gres_name: str) -> list[IdleGpus]:
    """Add up the GPUs of all nodes by partition and type."""
    idle: dict[tuple[str, str], int] = defaultdict(int)
    total: dict[tuple[str, str], int] = defaultdict(int)
    for node in nodes:
        for gpu_type, (num_idle, num_total) in _gpus_of(node, gres_name).items():
            idle[node.partition, gpu_type] += num_idle
            total[node.partition, gpu_type] += num_total
    return [
        IdleGpus(partition=key[0], gpu_type=key[1], num_idle=idle[key], num_total=total[key])
        for key in sorted(total)
    ]


def _gpus_of(node: NodeRow, gres_name: str) -> dict[str, tuple[int, int]]:
    """Return the idle and all GPUs by type; those of a node out of service count for neither."""
    states = node.states - HARMLESS
    total = _counts(node.gres, gres_name)
    if not node.is_partition_up or not states <= TAKES_JOBS_NOW | TAKES_JOBS_LATER:
        return dict.fromkeys(total, (0, 0))
    # Without a free CPU no job can start, whatever else is free.
    if not states or not states <= TAKES_JOBS_NOW or node.num_idle_cpus == 0:
        return {gpu_type: (0, num) for gpu_type, num in total.items()}
    used = _counts(node.gres_used, gres_name)
    num_unclear = sum(num for gpu_type, num in used.items() if gpu_type not in total)
    return {
        gpu_type: (max(0, num - used.get(gpu_type, 0) - num_unclear), num)
        for gpu_type, num in total.items()
    }


def has_gpus(gres: str, gres_name: str) -> bool:
    """Tell whether a node has any of the wanted resource."""
    return bool(_counts(gres, gres_name))


@functools.lru_cache(maxsize=1024)  # nodes of a kind are many, kinds are few
def _counts(gres: str, gres_name: str) -> Mapping[str, int]:
    """Return how many of a resource by type: ``gpu:a10:2(S:0-1),gpu:3`` is {"a10": 2, "": 3}."""
    counts: dict[str, int] = defaultdict(int)
    for entry in re.sub(r"\([^)]*\)", "", gres).split(","):
        name, *rest = entry.strip().split(":")
        if name != gres_name:
            continue
        # A resource that is named without a number is one (gres.conf(5)).
        num = as_int(rest[-1]) if rest else None
        types = rest if num is None else rest[:-1]
        counts[types[0].lower() if types else ""] += 1 if num is None else num
    return MappingProxyType(counts)


# ------------------------------------------------------------------------------ jobs

PENDING = {
    "PENDING", "PD", "CONFIGURING", "CF", "POWER_UP_NODE", "REQUEUED", "RQ", "REQUEUE_FED", "RF",
    "REQUEUE_HOLD", "RH", "RESV_DEL_HOLD", "RD", "SPECIAL_EXIT", "SE", "EXPEDITING",
}  # fmt: skip
SUSPENDED = {"SUSPENDED", "S", "STOPPED", "ST"}
# Its processes are stopped or gone already, its node is being cleaned.
LEAVING = {"COMPLETING", "CG", "STAGE_OUT", "SO"}
ENDINGS = {
    "COMPLETED": Ending.FINISHED, "CD": Ending.FINISHED,
    "FAILED": Ending.FAILED, "F": Ending.FAILED,
    "LAUNCH_FAILED": Ending.FAILED, "RECONFIG_FAIL": Ending.FAILED,
    "OUT_OF_MEMORY": Ending.FAILED, "OOM": Ending.FAILED,
    "PREEMPTED": Ending.PREEMPTED, "PR": Ending.PREEMPTED,
    "NODE_FAIL": Ending.NODE_FAILED, "NF": Ending.NODE_FAILED,
    "BOOT_FAIL": Ending.NODE_FAILED, "BF": Ending.NODE_FAILED,
    "TIMEOUT": Ending.TIMED_OUT, "TO": Ending.TIMED_OUT,
    "DEADLINE": Ending.TIMED_OUT, "DL": Ending.TIMED_OUT,
    "CANCELLED": Ending.CANCELLED, "CA": Ending.CANCELLED,
    "REVOKED": Ending.CANCELLED, "RV": Ending.CANCELLED,
}  # fmt: skip
# A job that is requeued shows no end, or the end of its next run, while its node is cleaned.
# A time limit is at least a minute; clocks of two machines differ by less than this.
NEXT_RUN_S = 30.0


def job(row: JobRow, now_s: float) -> Job:
    """Translate one row; a state that no version known to us has counts as running."""
    phase, ending = _phase(row, now_s)
    return Job(
        job_id=row.job_id,
        phase=phase,
        ending=ending,
        num_restarts=row.num_restarts,
        notice_s=_notice_s(row, now_s) if phase is JobPhase.RUNNING else None,
        exit_code=row.exit_code if phase is JobPhase.ENDED else None,
        words=_words(row),
    )


def _phase(row: JobRow, now_s: float) -> tuple[JobPhase, Ending | None]:
    states = set(row.states)
    if states & PENDING:
        return JobPhase.PENDING, None
    if states & LEAVING:
        return (JobPhase.PENDING if _comes_back(row, now_s) else JobPhase.RUNNING), None
    if states & SUSPENDED:
        return JobPhase.SUSPENDED, None
    for ending in _endings(row.states):
        return JobPhase.ENDED, _true_ending(ending, row)
    return JobPhase.RUNNING, None


def _comes_back(row: JobRow, now_s: float) -> bool:
    """Tell whether a job that leaves its node has been requeued."""
    if any(_endings(row.states)):
        return False
    return row.ends_at_s is None or row.ends_at_s > now_s + NEXT_RUN_S


def _endings(states: Iterable[str]) -> Iterator[Ending]:
    return (ENDINGS[state] for state in states if state in ENDINGS)


def _true_ending(ending: Ending, row: JobRow) -> Ending:
    """Slurm shows a job that obeys the first signal of its grace period as finished or failed."""
    left_by_itself = ending in (Ending.FINISHED, Ending.FAILED)
    return Ending.PREEMPTED if left_by_itself and row.preempted_at_s is not None else ending


def _notice_s(row: JobRow, now_s: float) -> float | None:
    if set(row.states) & LEAVING:
        return 0.0
    if row.preempted_at_s is None:
        return None
    # A job without a time limit shows no end in the text form.
    return 0.0 if row.ends_at_s is None else max(0.0, row.ends_at_s - now_s)


def _words(row: JobRow) -> str:
    state = "+".join(row.states)
    return f"{state} ({row.reason})" if row.reason not in ("", "None") else state
