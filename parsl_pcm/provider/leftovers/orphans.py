"""Jobs that a dead run left in the queue: found by its ledger and its tag, and cancelled."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from parsl_pcm.provider.leftovers.cancelling import cancel, jobs_of_run, running_processes
from parsl_pcm.provider.leftovers.ledger import (
    LEDGER_NAME,
    LOCAL,
    LedgerContents,
    SubmittedJob,
    is_owner_alive,
    read_ledger,
    record_ends,
)
from parsl_pcm.provider.leftovers.queues import QueuedJob, jobs_in_queue
from parsl_pcm.provider.schedulers.observations import LookError


class Life(enum.Enum):
    """Whether anybody may still need the jobs of a run."""

    ALIVE = "alive"
    """Its process runs on this machine."""
    OVER = "over"
    """Its process is gone, or has ended the run in order."""
    UNKNOWN = "unknown"
    """Its process is on another machine, or nothing is known of it."""


class Run(Struct, frozen=True, kw_only=True):
    """A run as its ledger shows it."""

    ledger: Path
    contents: LedgerContents
    life: Life

    @property
    def process(self) -> str:
        """Its process, in words."""
        owner = self.contents.owner
        return f"process {owner.pid} on {owner.hostname}" if owner else "an unknown process"


class Leftover(Struct, frozen=True, kw_only=True):
    """A job that a run left behind, or a scheduler that cannot be asked, and what came of it."""

    run: Run
    scheduler: str
    job: QueuedJob | None = None
    outcome: str
    is_gone: bool
    """Nothing of it is left, or it needs nothing but a moment."""


class Cleaner:
    """Cancels what runs left behind; each scheduler is asked once.

    Parameters
    ----------
    is_dry
        Only say what would be cancelled.
    is_forced
        Take a run of which nobody knows whether it lives for dead.
    """

    def __init__(self, *, is_dry: bool = False, is_forced: bool = False) -> None:
        self._is_dry = is_dry
        self._is_forced = is_forced
        self._queues: dict[str, list[QueuedJob] | LookError] = {}

    def clean(self, run: Run) -> list[Leftover]:
        """Cancel the jobs of a run, unless it lives, and write their ends into its ledger."""
        is_clean = run.contents.is_closed and not run.contents.open_jobs
        if run.life is Life.ALIVE or is_clean:
            return []
        leftovers = [
            leftover for kind in run.contents.schedulers for leftover in self._clean_kind(run, kind)
        ]
        gone = [each.job.job_id for each in leftovers if each.job and each.is_gone]
        if gone:
            record_ends(run.ledger, gone)
        return leftovers

    def _clean_kind(self, run: Run, kind: str) -> Iterator[Leftover]:
        try:
            jobs = self._jobs(run, kind)
        except LookError as error:
            outcome = f"not cancelled: {error}"
            yield Leftover(run=run, scheduler=kind, outcome=outcome, is_gone=False)
            return
        # Also those that are about to leave: a job that Slurm requeues is COMPLETING before.
        complaints = self._cancel(run, kind, [job.job_id for job in jobs])
        for job in jobs:
            outcome = complaints.get(job.job_id, "cancelled")
            is_gone = job.job_id not in complaints
            yield Leftover(run=run, scheduler=kind, job=job, outcome=outcome, is_gone=is_gone)

    def _jobs(self, run: Run, kind: str) -> list[QueuedJob]:
        recorded = [job for job in run.contents.open_jobs if job.scheduler == kind]
        if kind == LOCAL:
            return _local_jobs(run, recorded)
        owner = run.contents.owner
        job_ids = {job.job_id for job in recorded}
        return jobs_of_run(self._queue(kind), job_ids, owner.tag if owner else None)

    def _queue(self, kind: str) -> list[QueuedJob]:
        if kind not in self._queues:
            try:
                self._queues[kind] = jobs_in_queue(kind)
            except LookError as error:
                self._queues[kind] = error
        answer = self._queues[kind]
        if isinstance(answer, LookError):
            raise answer
        return answer

    def _cancel(self, run: Run, kind: str, job_ids: list[str]) -> dict[str, str]:
        """Return the reason for each job that stays."""
        if run.life is Life.UNKNOWN and not self._is_forced:
            reason = f"left alone: nobody here can tell whether {run.process} lives (see --force)"
            return dict.fromkeys(job_ids, reason)
        if self._is_dry:
            return dict.fromkeys(job_ids, "would be cancelled")
        return cancel(kind, job_ids) if job_ids else {}


def _local_jobs(run: Run, recorded: list[SubmittedJob]) -> list[QueuedJob]:
    if run.life is Life.UNKNOWN and recorded:
        # The same number names a stranger's process here.
        raise LookError(f"its blocks ran beside {run.process}: run this command there")
    return running_processes(recorded)


def runs_below(places: Iterable[Path]) -> list[Run]:
    """Return the runs that have a ledger in or near some directories.

    Parameters
    ----------
    places
        Parsl's run directories: all of ``runinfo``, one run, one executor of it; or a ledger.

    Raises
    ------
    FileNotFoundError
        Naming the place that is not there.
    """
    ledgers: dict[Path, None] = {}
    for place in places:
        if not place.exists():
            raise FileNotFoundError(
                f"{place} does not exist: name the run directory (Parsl's run_dir, by default "
                "runinfo where the script was started)"
            )
        ledgers.update(dict.fromkeys([place] if place.is_file() else _ledgers_in(place)))
    return [read_run(path) for path in ledgers]


def _ledgers_in(directory: Path) -> Sequence[Path]:
    # No deeper: there Parsl may keep a file for each task.
    found = [directory.glob(above + LEDGER_NAME) for above in ("", "*/", "*/*/")]
    return sorted(path for paths in found for path in paths)


def read_run(ledger: Path) -> Run:
    """Return a run as it is now."""
    contents = read_ledger(ledger)
    return Run(ledger=ledger, contents=contents, life=_life(contents))


def _life(contents: LedgerContents) -> Life:
    if contents.is_closed:
        return Life.OVER
    is_alive = is_owner_alive(contents.owner) if contents.owner else None
    return {True: Life.ALIVE, False: Life.OVER, None: Life.UNKNOWN}[is_alive]
