"""Cancelling jobs without the provider that submitted them: the run that had it is dead.

A job counts as cancelled when its scheduler says so, whatever the exit code of its tool was: jobs
end by themselves between two commands.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterable, Sequence

import psutil

from parsl_pcm.clock import monotonic_s
from parsl_pcm.provider.leftovers.ledger import LOCAL, SubmittedJob, is_same_process
from parsl_pcm.provider.leftovers.queues import QueuedJob, jobs_in_queue
from parsl_pcm.provider.schedulers.commands import ask
from parsl_pcm.provider.schedulers.observations import LookError

CANCEL_COMMANDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "slurm": (("scancel",),),
    # The second one makes it forget jobs that it keeps after their end (leave_in_queue).
    "condor": (("condor_rm",), ("condor_rm", "-forcex")),
    "pbs": (("qdel",),),
    "grid_engine": (("qdel",),),
    "lsf": (("bkill",),),
}
"""By kind of scheduler; job ids are added."""
MAX_IDS_PER_COMMAND = 200
"""A command line holds more, but a controller that is asked for fewer answers sooner."""
PATIENCE_WITH_PROCESSES_S = 5.0
"""From SIGTERM to SIGKILL: a manager says goodbye and ends its hosts in less."""


def jobs_of_run(
    queue: Iterable[QueuedJob], recorded: Collection[str], tag: str | None
) -> list[QueuedJob]:
    """Return the jobs of a run among those in a queue, also those that no ledger knows.

    Parameters
    ----------
    recorded
        Ids of its jobs.
    tag
        Part of the names of its jobs; None: nothing is known but the recorded ones.
    """
    return [job for job in queue if job.job_id in recorded or (tag and tag in job.name)]


def running_processes(recorded: Iterable[SubmittedJob]) -> list[QueuedJob]:
    """Return those of a run's local jobs that still run on this machine."""
    return [
        QueuedJob(job_id=job.job_id, name=job.name, state="running")
        for job in recorded
        if job.process_start_s and is_same_process(int(job.job_id), job.process_start_s)
    ]


def cancel(kind: str, job_ids: Sequence[str]) -> dict[str, str]:
    """Cancel jobs; return the scheduler's own words for each that is still in the queue.

    Processes of this machine, and those that they started, get SIGTERM, and SIGKILL if that does
    not end them.
    """
    if kind == LOCAL:
        return _end_process_groups([int(job_id) for job_id in job_ids])
    scheduler, _, clusters = kind.partition("@")
    where = (f"--clusters={clusters}",) if clusters else ()
    complaints = [
        complaint
        for first in range(0, len(job_ids), MAX_IDS_PER_COMMAND)
        for command in CANCEL_COMMANDS.get(scheduler, ())
        if (complaint := _try((*command, *where, *job_ids[first : first + MAX_IDS_PER_COMMAND])))
    ]
    if not complaints and scheduler in CANCEL_COMMANDS:
        return {}
    return _still_there(kind, job_ids, words=" ".join(complaints))


def _try(command: Sequence[str]) -> str:
    """Run a command; return what it complains of, "" if nothing."""
    try:
        ask(command)
    except LookError as error:
        return str(error)
    return ""


def _still_there(kind: str, job_ids: Sequence[str], *, words: str) -> dict[str, str]:
    try:
        there = {job.job_id for job in jobs_in_queue(kind) if not job.is_leaving}
    except LookError as error:
        return dict.fromkeys(job_ids, words or str(error))
    return {job_id: words for job_id in job_ids if job_id in there}


def _end_process_groups(leaders: Sequence[int]) -> dict[str, str]:
    groups = {_group_of(leader) for leader in leaders} - {os.getpgrp(), None}
    members = [each for each in psutil.process_iter() if _group_of(each.pid) in groups]
    for stop in (psutil.Process.terminate, psutil.Process.kill):
        for process in members:
            with contextlib.suppress(psutil.Error):
                stop(process)
        members = _left_after_waiting(members)
    return {str(process.pid): "does not end, not by SIGKILL either" for process in members}


def _left_after_waiting(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return the processes that live on; psutil's own waiting takes zombies for alive."""
    deadline = monotonic_s() + PATIENCE_WITH_PROCESSES_S
    while processes and monotonic_s() < deadline:
        time.sleep(0.05)
        processes = [each for each in processes if is_same_process(each.pid, each.create_time())]
    return processes


def _group_of(pid: int) -> int | None:
    with contextlib.suppress(OSError):
        return os.getpgid(pid)
    return None
