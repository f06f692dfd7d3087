"""When blocks end before any manager registers: tell the user why, instead of waiting for ever."""

from __future__ import annotations

from parsl.executors.status_handling import BlockProviderExecutor
from parsl.jobs.states import JobState, JobStatus

from parsl_pcm.errors import BlocksFailed

MAX_SILENT_ENDS = 3
"""Blocks that ended without a word (cancelled, preempted, timed out) before we give up."""


class BlockErrorHandler:
    """Fails an executor whose blocks cannot start.

    A block whose command failed with an exit code tells the truth about the environment, so one
    is enough while no manager has ever registered. Blocks that ended without one may have been
    preempted: only several in a row count.
    """

    def __call__(self, executor: BlockProviderExecutor, status: dict[str, JobStatus]) -> None:
        """Look at the blocks; called by Parsl after each poll."""
        if getattr(executor, "has_seen_manager", False) or executor.bad_state_is_set:
            return
        ended = [s for s in status.values() if s.terminal and s.state is not JobState.SCALED_IN]
        if not ended:
            return
        failed = [s for s in ended if s.exit_code]
        if failed or (len(ended) == len(status) and len(ended) >= MAX_SILENT_ENDS):
            executor.set_bad_state_and_fail_all(BlocksFailed(_explain((failed or ended)[0])))


def _explain(status: JobStatus) -> str:
    lines = ["a block ended before its manager registered, so no task can run."]
    if status.exit_code is not None:
        lines.append(f"Exit code: {status.exit_code}.")
    if status.message:
        lines.append(status.message)
    for name, text in (("stderr", status.stderr_summary), ("stdout", status.stdout_summary)):
        if text and text.strip():
            lines.append(f"Its {name}:\n{text.strip()}")
    lines.append(
        "Usual causes: worker_init of the provider does not activate an environment with "
        "parsl_pcm (the command parsl-pcm-manager must be found), or the worker cannot reach "
        "the address of the executor."
    )
    return "\n".join(lines)
