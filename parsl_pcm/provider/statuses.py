"""Our jobs as Parsl's strategies and tools want to see them."""

from __future__ import annotations

from typing import Any

from parsl.jobs.states import JobState, JobStatus

from parsl_pcm.provider.schedulers.observations import Ending, Job, JobPhase

_STATE_OF_PHASE = {
    JobPhase.PENDING: JobState.PENDING,
    JobPhase.RUNNING: JobState.RUNNING,
    JobPhase.SUSPENDED: JobState.HELD,
}
# SCALED_IN is the one end that Parsl's error handlers, and HighThroughputExecutor for a block that
# never connected, do not take for a failure: what the site does to a block is none.
_STATE_OF_ENDING = {
    Ending.FINISHED: JobState.COMPLETED,
    Ending.FAILED: JobState.FAILED,
    Ending.PREEMPTED: JobState.SCALED_IN,
    Ending.NODE_FAILED: JobState.SCALED_IN,
    Ending.TIMED_OUT: JobState.TIMEOUT,
    Ending.CANCELLED: JobState.CANCELLED,
    Ending.VANISHED: JobState.SCALED_IN,
}


def parsl_status(job: Job, stdout_path: str | None, stderr_path: str | None) -> JobStatus:
    """Return the status of a job in Parsl's terms; its message holds the scheduler's words."""
    state = _STATE_OF_PHASE[job.phase] if job.ending is None else _STATE_OF_ENDING[job.ending]
    return JobStatus(
        state,
        message=job.words or None,
        exit_code=job.exit_code,
        stdout_path=stdout_path,
        stderr_path=stderr_path,
    )


def output_paths(resource: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return where stdout and stderr of a job are, from what a provider of Parsl keeps of it."""
    status = resource.get("status")
    stdout = resource.get("job_stdout_path") or getattr(status, "stdout_path", None)
    stderr = resource.get("job_stderr_path") or getattr(status, "stderr_path", None)
    script = resource.get("script_path")  # of LocalProvider
    if script and not stderr:
        return f"{script}.out", f"{script}.err"
    return stdout, stderr
