"""Our jobs as the Parsl provider that submitted them sees them: for schedulers without a book."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from parsl_pcm.provider.schedulers.observations import Ending, Job, JobPhase, LookError

if TYPE_CHECKING:
    from parsl.jobs.states import JobStatus
    from parsl.providers.base import ExecutionProvider

# By name, so that Parsl, which takes most of a second, need not be imported here.
PHASES = {
    "PENDING": JobPhase.PENDING,
    "HELD": JobPhase.PENDING,
    "RUNNING": JobPhase.RUNNING,
    # Parsl's tables of states have gaps; what is in none of them has not ended.
    "UNKNOWN": JobPhase.RUNNING,
}
ENDINGS = {
    "COMPLETED": Ending.FINISHED,
    "FAILED": Ending.FAILED,
    "TIMEOUT": Ending.TIMED_OUT,
    "CANCELLED": Ending.CANCELLED,
    "SCALED_IN": Ending.CANCELLED,
    "MISSING": Ending.VANISHED,
}


class ParslJobs:
    """Asks the provider's own ``status()``: no restarts and no notice can be seen this way.

    Parameters
    ----------
    provider
        The one that submits the jobs; it answers for its own jobs only.
    """

    def __init__(self, provider: ExecutionProvider) -> None:
        self._provider = provider

    def jobs(self, job_ids: Sequence[str]) -> Mapping[str, Job]:
        """Return the given jobs, by job id.

        Raises
        ------
        LookError
            The provider's ``status()`` failed, or did not answer for all of them.
        """
        if not job_ids:
            return {}
        try:
            statuses = self._provider.status(list(job_ids))
        except Exception as error:  # any: schedulers, files, other people's code
            raise LookError(
                f"{type(self._provider).__name__}.status() failed: {type(error).__name__}: {error}"
            ) from error
        if len(statuses) != len(job_ids) or None in statuses:
            raise LookError(f"{type(self._provider).__name__}.status() did not tell of all jobs")
        return {
            job_id: _job(job_id, status) for job_id, status in zip(job_ids, statuses, strict=True)
        }


def _job(job_id: str, status: JobStatus) -> Job:
    name = status.state.name
    ending = None if name in PHASES else ENDINGS.get(name, Ending.VANISHED)
    return Job(
        job_id=job_id,
        phase=PHASES.get(name, JobPhase.ENDED),
        ending=ending,
        exit_code=status.exit_code,
        words=f"{name} ({status.message})" if status.message else name,
    )
