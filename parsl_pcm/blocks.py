"""When blocks end before any manager registers: tell the user why, instead of waiting for ever."""

from __future__ import annotations

from collections.abc import Callable

from parsl.executors.status_handling import BlockProviderExecutor
from parsl.jobs.states import JobState, JobStatus

from parsl_pcm.clock import monotonic_s
from parsl_pcm.errors import BlocksFailed
from parsl_pcm.provider.opportunistic import OpportunisticProvider

MAX_SILENT_ENDS = 3
"""Blocks that ended without a word (cancelled, preempted, timed out) before we give up."""
PATIENCE_WITHOUT_BLOCK_S = 30.0
"""A scaling strategy starts a block at its next turn, 5 s later by default; people need longer."""


class BlockErrorHandler:
    """Fails an executor whose tasks wait for blocks that will never serve them.

    A block whose command failed with an exit code tells the truth about the environment, so one
    is enough while no manager has ever registered. Blocks that ended without one may have been
    preempted: only several in a row count. And once all blocks are gone, somebody must start
    another while tasks are open: if nobody does, as with ``strategy="none"``, the tasks fail.

    An OpportunisticProvider knows more of its blocks, and asks for others by itself: there it is
    asked for its judgement instead.
    """

    def __init__(self, *, clock: Callable[[], float] = monotonic_s) -> None:
        self._clock = clock
        self._waiting_in_vain_since: float | None = None

    def __call__(self, executor: BlockProviderExecutor, status: dict[str, JobStatus]) -> None:
        """Look at the blocks; called by Parsl after each poll."""
        if executor.bad_state_is_set:
            return
        if isinstance(executor.provider, OpportunisticProvider):
            reason = executor.provider.reason_to_give_up()
        else:
            reason = self._reason_to_give_up(executor, list(status.values()))
        if reason is not None:
            executor.set_bad_state_and_fail_all(BlocksFailed(reason))

    def _reason_to_give_up(
        self, executor: BlockProviderExecutor, blocks: list[JobStatus]
    ) -> str | None:
        ended = [block for block in blocks if block.terminal]
        is_waiting_in_vain = len(ended) == len(blocks) and len(executor.tasks) > 0
        dead = [block for block in ended if block.state is not JobState.SCALED_IN]
        if dead and not getattr(executor, "has_seen_manager", False):
            failed = [block for block in dead if block.exit_code]
            if failed or (len(ended) == len(blocks) and len(dead) >= MAX_SILENT_ENDS):
                return _explain((failed or dead)[0])
        if self._is_out_of_patience(is_waiting_in_vain=is_waiting_in_vain):
            return _explain_emptiness(dead[-1:])
        return None

    def _is_out_of_patience(self, *, is_waiting_in_vain: bool) -> bool:
        if not is_waiting_in_vain:
            self._waiting_in_vain_since = None
            return False
        now = self._clock()
        if self._waiting_in_vain_since is None:
            self._waiting_in_vain_since = now
        return now - self._waiting_in_vain_since >= PATIENCE_WITHOUT_BLOCK_S


def _explain_emptiness(last: list[JobStatus]) -> str:
    ending = f" The last one, {last[0].state.name}: {_output(last[0])}" if last else ""
    return (
        "no block is left and nobody starts another, so the open tasks would wait for ever."
        f"{ending} Use a scaling strategy (Config(strategy='htex_auto_scale') or 'simple'), or a "
        "provider with init_blocks of 1 or more."
    )


def _explain(status: JobStatus) -> str:
    return (
        "a block ended before its manager registered, so no task can run.\n"
        f"{_output(status)}\n"
        "Usual causes: worker_init of the provider does not activate an environment with "
        "parsl_pcm (the command parsl-pcm-manager must be found), or the worker cannot reach "
        "the address of the executor."
    )


def _output(status: JobStatus) -> str:
    """Return what is known of the end of a block."""
    lines = [] if status.exit_code is None else [f"Exit code: {status.exit_code}."]
    if status.message:
        lines.append(status.message)
    for name, text in (("stderr", status.stderr_summary), ("stdout", status.stdout_summary)):
        if text and text.strip():
            lines.append(f"Its {name}:\n{text.strip()}")
    return "\n".join(lines) or "Nothing is known of its end."
