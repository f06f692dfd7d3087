"""The jobs behind the blocks of an executor: each is recorded, and none is left in the queue."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from parsl.providers.base import ExecutionProvider

from parsl_pcm.clock import monotonic_s
from parsl_pcm.provider.leftovers.cancelling import CANCEL_COMMANDS, cancel, jobs_of_run
from parsl_pcm.provider.leftovers.ledger import LEDGER_NAME, Ledger, scheduler_kind
from parsl_pcm.provider.leftovers.queues import jobs_in_queue
from parsl_pcm.provider.schedulers.observations import LookError

logger = logging.getLogger(__name__)

SWEEP_PATIENCE_S = 15.0
"""For a scheduler that is busy at the end of a run; after that the user is told what to do."""
SWEEP_PAUSE_S = 0.3


class BlockJobs:
    """Submits the jobs of one executor and knows them until they are out of the queue.

    Parameters
    ----------
    provider
        Jobs are submitted through it.
    directory
        Of the executor, in the run directory: the ledger is there.
    label
        Of the executor.
    """

    def __init__(self, provider: ExecutionProvider, directory: str, label: str) -> None:
        self._provider = provider
        self._submitted: dict[str, list[str]] = {}
        """Job ids by kind of scheduler."""
        kinds = _kinds_of(provider)
        self.ledger = Ledger(Path(directory) / LEDGER_NAME, label=label, schedulers=kinds)
        self.has_queue = any(_has_queue(kind) for kind in kinds)
        """Whether jobs can wait somewhere after their executor is gone."""

    def submit(self, command: str, block_id: str) -> object:
        """Submit the job of a block; return the site's name for it.

        Raises whatever the provider raises.
        """
        name = f"{self.ledger.tag}.block-{block_id}"
        job_id = self._provider.submit(command, 1, name)
        if job_id:
            kind = self._kind_of(job_id)
            self.ledger.submitted(str(job_id), kind, name)
            self._submitted.setdefault(kind, []).append(str(job_id))
        return job_id

    def close(self) -> None:
        """Cancel whatever is left in any queue: jobs that were requeued, or whose id got lost."""
        deadline_s = monotonic_s() + SWEEP_PATIENCE_S
        for kind in self._submitted:
            if _has_queue(kind):
                self._sweep(kind, deadline_s)
        self.ledger.close()

    def _sweep(self, kind: str, deadline_s: float) -> None:
        while complaint := self._cancel_rest(kind):
            if monotonic_s() >= deadline_s:
                logger.error(
                    "jobs may be left in the queue of %s (%s): run `parsl-pcm clean %s`",
                    kind,
                    complaint,
                    self.ledger.path,
                )
                return
            time.sleep(SWEEP_PAUSE_S)

    def _cancel_rest(self, kind: str) -> str:
        """Cancel what is in the queue; return what is wrong, "" if nothing is left."""
        try:
            queued = jobs_of_run(jobs_in_queue(kind), self._submitted[kind], self.ledger.tag)
        except LookError as error:
            return str(error)
        left = [job.job_id for job in queued if not job.is_leaving]
        if not left:
            return ""
        refused = cancel(kind, left)
        return "; ".join(refused.values()) or f"{len(left)} being cancelled"

    def _kind_of(self, job_id: object) -> str:
        provider_of = getattr(self._provider, "provider_of", None)
        return scheduler_kind(provider_of(job_id) if provider_of else self._provider)


def _kinds_of(provider: ExecutionProvider) -> list[str]:
    providers = getattr(provider, "providers", None) or [provider]
    return sorted({scheduler_kind(each) for each in providers})


def _has_queue(kind: str) -> bool:
    return kind.partition("@")[0] in CANCEL_COMMANDS
