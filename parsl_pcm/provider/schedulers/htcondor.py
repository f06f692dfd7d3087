"""HTCondor: idle GPUs from ``condor_status``, our jobs from ``condor_q``. One call each, read-only.

Attributes as in the manual's "Machine ClassAd Attributes" and "Job ClassAd Attributes" (23.0).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from parsl_pcm.provider.schedulers.commands import DEFAULT_TIMEOUT_S, ask
from parsl_pcm.provider.schedulers.loose_json import as_dict, as_int, as_list, as_text, loads
from parsl_pcm.provider.schedulers.observations import Ending, IdleGpus, Job, JobPhase, LookError

# A dynamic slot's GPUs are counted by the partitionable slot that it was cut from; a backfill
# slot has the same GPUs as the slot beside it.
SLOTS_WITH_GPUS = "TotalSlotGPUs > 0 && DynamicSlot =!= true && BackfillSlot =!= true"
SLOT_ATTRIBUTES = (
    "State", "PartitionableSlot", "Offline", "Cpus", "GPUs", "TotalSlotGPUs", "GPUs_DeviceName",
    "CUDADeviceName",
)  # fmt: skip
TAKES_JOBS_NOW = {"Unclaimed", "Backfill"}
TAKES_JOBS_LATER = {"Claimed", "Matched", "Preempting"}


class CondorProbe:
    """Idle GPUs by type, in the words of their driver: ``nvidia a100-sxm4-40gb``.

    Parameters
    ----------
    pool
        Host of another pool's collector; None is the pool of this machine. Used as the partition.
    constraint
        A ClassAd expression that slots must fulfil besides, for instance
        ``GPUs_Capability >= 8.0``.
    timeout_s
        How long the call may take.
    """

    def __init__(
        self,
        *,
        pool: str | None = None,
        constraint: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        self._pool = pool or ""
        wanted = f"({SLOTS_WITH_GPUS}) && ({constraint})" if constraint else SLOTS_WITH_GPUS
        where = ["-pool", pool] if pool else []
        self._command = [
            "condor_status", *where, "-json", "-constraint", wanted,
            "-attributes", ",".join(SLOT_ATTRIBUTES),
        ]  # fmt: skip
        self._timeout_s = timeout_s

    def look(self) -> list[IdleGpus]:
        """Return one entry for each type of GPU.

        Raises
        ------
        LookError
            HTCondor does not answer, or in a form that we do not know.
        """
        return idle_gpus(ask(self._command, timeout_s=self._timeout_s), self._pool)


def idle_gpus(output: str, pool: str) -> list[IdleGpus]:
    """Add up the GPUs of all slots that ``condor_status -json`` printed, by type."""
    idle: dict[str, int] = defaultdict(int)
    total: dict[str, int] = defaultdict(int)
    for ad in _ads(output, "condor_status"):
        gpu_type = as_text(ad.get("GPUs_DeviceName", ad.get("CUDADeviceName"))).lower()
        num_idle, num_total = _gpus_of(ad)
        idle[gpu_type] += num_idle
        total[gpu_type] += num_total
    return [
        IdleGpus(partition=pool, gpu_type=each, num_idle=idle[each], num_total=total[each])
        for each in sorted(total)
    ]


def _gpus_of(slot: dict[str, Any]) -> tuple[int, int]:
    """Return the idle and all GPUs; those of a slot that takes no jobs count for neither."""
    state = as_text(slot.get("State"))
    if slot.get("Offline") is True or state not in TAKES_JOBS_NOW | TAKES_JOBS_LATER:
        return 0, 0
    num_total = max(0, as_int(slot.get("TotalSlotGPUs")) or 0)
    # What a partitionable slot has left; without a CPU nothing can be cut from it.
    num_left = as_int(slot.get("GPUs")) or 0
    if state not in TAKES_JOBS_NOW or as_int(slot.get("Cpus")) == 0:
        return 0, num_total
    return max(0, min(num_left, num_total)), num_total


JOB_ATTRIBUTES = (
    "ClusterId", "ProcId", "JobStatus", "NumJobStarts", "ExitCode", "ExitBySignal", "ExitSignal",
    "HoldReason", "RemoveReason", "VacateReason",
)  # fmt: skip
STATUSES = {
    1: ("Idle", JobPhase.PENDING),
    2: ("Running", JobPhase.RUNNING),
    3: ("Removed", JobPhase.ENDED),
    4: ("Completed", JobPhase.ENDED),
    5: ("Held", JobPhase.PENDING),
    6: ("TransferringOutput", JobPhase.RUNNING),
    7: ("Suspended", JobPhase.SUSPENDED),
}
TRANSFERRING_OUTPUT = 6


class CondorJobs:
    """Our jobs as ``condor_q`` shows them.

    Ended jobs are seen because Parsl's provider submits with ``leave_in_queue``. HTCondor does
    not announce that it is about to take a machine back, so ``notice_s`` is not known before.
    """

    def __init__(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._timeout_s = timeout_s

    def jobs(self, job_ids: Sequence[str]) -> Mapping[str, Job]:
        """Return those of the given jobs (``118907.0``) that HTCondor still knows, by job id.

        Raises
        ------
        LookError
            HTCondor does not answer, or in a form that we do not know.
        """
        if not job_ids:
            return {}
        command = ["condor_q", *job_ids, "-json", "-attributes", ",".join(JOB_ATTRIBUTES)]
        found = jobs(ask(command, timeout_s=self._timeout_s))
        return {job_id: found[job_id] for job_id in job_ids if job_id in found}


def jobs(output: str) -> dict[str, Job]:
    """Read what ``condor_q -json`` printed."""
    return {job.job_id: job for job in map(_job, _ads(output, "condor_q"))}


def _job(ad: dict[str, Any]) -> Job:
    cluster, process = as_int(ad.get("ClusterId")), as_int(ad.get("ProcId"))
    status = as_int(ad.get("JobStatus"))
    if cluster is None or process is None or status not in STATUSES:
        raise LookError(f"condor_q did not tell job and state: {str(ad)[:200]}")
    name, phase = STATUSES[status]
    exit_code = _exit_code(ad) if name == "Completed" else None
    return Job(
        job_id=f"{cluster}.{process}",
        phase=phase,
        ending=_ending(name, exit_code) if phase is JobPhase.ENDED else None,
        num_restarts=_num_restarts(ad, phase),
        # The job has exited already.
        notice_s=0.0 if status == TRANSFERRING_OUTPUT else None,
        exit_code=exit_code,
        words=_words(name, ad),
    )


def _num_restarts(ad: dict[str, Any], phase: JobPhase) -> int:
    """Count as Slurm does: a job that waits to be started again has been restarted once."""
    num_starts = as_int(ad.get("NumJobStarts")) or 0
    return num_starts if phase is JobPhase.PENDING else max(0, num_starts - 1)


def _exit_code(ad: dict[str, Any]) -> int | None:
    """Return the exit code in the shells' way: 128 and the signal, if one ended it."""
    if ad.get("ExitBySignal") is True:
        return 128 + (as_int(ad.get("ExitSignal")) or 0)
    return as_int(ad.get("ExitCode"))


def _ending(name: str, exit_code: int | None) -> Ending:
    if name == "Removed":
        return Ending.CANCELLED
    return Ending.FINISHED if exit_code in (0, None) else Ending.FAILED


def _words(name: str, ad: dict[str, Any]) -> str:
    reasons = {"Held": "HoldReason", "Removed": "RemoveReason", "Idle": "VacateReason"}
    reason = as_text(ad.get(reasons.get(name, "")))
    return f"{name} ({reason})" if reason else name


def _ads(output: str, program: str) -> list[dict[str, Any]]:
    """Read a list of ClassAds; HTCondor prints nothing at all for none."""
    answer = loads(output, f"{program} -json")
    if answer is not None and not isinstance(answer, list):
        raise LookError(f"{program} -json printed no list")
    return [as_dict(each) for each in as_list(answer)]
