"""The thread that lets an executor grow onto idle GPUs and shrink again.

Each turn: ask the interchange what waits, look at the site, tell the interchange what the site
did to our blocks, give back what nobody needs, ask for more where GPUs are idle. What is decided,
:class:`~parsl_pcm.provider.growth.growth.Growth` decides.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from parsl_pcm.clock import monotonic_s
from parsl_pcm.errors import InterchangeLost
from parsl_pcm.provider.growth.demand import MIN_TURN_S, demand_of, use_of
from parsl_pcm.provider.opportunistic import OpportunisticProvider
from parsl_pcm.provider.schedulers.observations import Job, JobPhase
from parsl_pcm.types import BlockId
from parsl_pcm.wire.messages import AnyMessage, BlockGone, BlockNotice

logger = logging.getLogger(__name__)


class Blocks(Protocol):
    """The blocks of an executor, as this thread needs them."""

    def block_of_job(self, job_id: str) -> BlockId | None:
        """Return the block of a job; None if it is not known (yet)."""
        ...

    def job_of_block(self, block_id: BlockId) -> str | None:
        """Return the job of a block; None if there is none."""
        ...

    def ask_demand(self) -> Mapping[str, Any]:
        """Return the interchange's answer to ``DEMAND``; raises InterchangeLost."""
        ...

    def tell_interchange(self, message: AnyMessage) -> None:
        """Send a message; raises InterchangeLost."""
        ...

    def scale_out_facade(self, n: int) -> Sequence[str]:
        """Ask for n blocks."""
        ...

    def give_back(self, block_ids: Sequence[BlockId]) -> None:
        """End these blocks."""
        ...

    def job_ended(self, job_id: str) -> None:
        """Take note that a job will never run again."""
        ...


class Elasticity:
    """Drives an OpportunisticProvider for as long as its executor runs.

    Parameters
    ----------
    on_failure
        Called once, in the thread, if it ends because of an error of ours.
    """

    def __init__(
        self,
        blocks: Blocks,
        provider: OpportunisticProvider,
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._blocks = blocks
        self._provider = provider
        self._on_failure = on_failure
        self._is_called = threading.Event()
        self._is_over = threading.Event()
        self._heeds_work = True
        self._told = ""
        # Commands of the scheduler take seconds: they must not delay the thread of the client,
        # which delivers results, nor Parsl's. Ended and joined by stop().
        self._thread = threading.Thread(target=self._run, name="pcm-elasticity", daemon=True)

    def start(self) -> None:
        """Begin; nothing is wanted yet."""
        self._provider.saw_demand([], [])
        self._thread.start()

    def wake(self) -> None:
        """Have a look soon: a manager has gone."""
        self._is_called.set()

    def work_came(self) -> None:
        """Have a look soon, unless the next one is planned anyway: there is something to do."""
        if self._heeds_work:
            self._is_called.set()

    def stop(self) -> None:
        """End; a command of the scheduler that runs is waited for."""
        self._is_over.set()
        self._is_called.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._is_over.is_set():
                self._is_called.clear()
                self._heeds_work = True  # what comes from here on may come too late for this turn
                started_s = monotonic_s()
                has_more = self._turn()
                self._heeds_work = not has_more
                self._is_over.wait(max(0.0, started_s + MIN_TURN_S - monotonic_s()))
                rest_s = started_s + self._provider.look_every_s - monotonic_s()
                self._is_called.wait(max(0.0, rest_s) if has_more else None)
        except InterchangeLost:
            logger.info("the interchange is gone: no block is asked for any more")
        except Exception as error:
            logger.exception("the thread that asks for blocks fails")
            self._on_failure(error)

    def _turn(self) -> bool:
        """Do what is due; return whether another look is wanted without being called."""
        is_needed = self._take_demand()
        if not is_needed and not self._provider.has_open_jobs():
            return False
        for job in self._provider.look():
            self._tell_change(job)
        self._take_demand()
        self._shrink()
        self._grow()
        self._tell_people()
        return True

    def _take_demand(self) -> bool:
        """Tell the provider what waits and what the blocks do; return whether blocks are needed."""
        answer = self._blocks.ask_demand()
        demands = [demand_of(row) for row in answer["contexts"]]
        rows = [(self._blocks.job_of_block(row["block_id"]), row) for row in answer["blocks"]]
        uses = [use_of(job_id, row) for job_id, row in rows if job_id is not None]
        self._provider.saw_demand(demands, uses)
        return any(demand.num_wanted for demand in demands) or self._provider.min_blocks > 0

    def _tell_change(self, job: Job) -> None:
        block_id = self._blocks.block_of_job(job.job_id)
        if job.phase is JobPhase.ENDED:
            self._blocks.job_ended(job.job_id)
        if block_id is None:
            return
        # A job that waits again has no manager. Once it runs again, the registration of its new
        # manager says so by itself; not every site tells managers of the restarts that we see.
        is_over = job.phase is JobPhase.ENDED
        if is_over or (job.phase is JobPhase.PENDING and job.num_restarts > 0):
            last_gone = job.num_restarts if is_over else job.num_restarts - 1
            gone = BlockGone(block_id=block_id, num_restarts=last_gone, reason=job.words)
            self._blocks.tell_interchange(gone)
        elif job.notice_s is not None:
            notice = BlockNotice(
                block_id=block_id, num_restarts=job.num_restarts, remaining_s=job.notice_s
            )
            self._blocks.tell_interchange(notice)

    def _shrink(self) -> None:
        jobs = self._provider.to_give_back()
        block_ids = [self._blocks.block_of_job(job_id) for job_id in jobs]
        known = [block_id for block_id in block_ids if block_id is not None]
        if known:
            logger.info("giving back the blocks %s", ", ".join(known))
            self._blocks.give_back(known)

    def _grow(self) -> None:
        num_blocks = self._provider.room()
        if num_blocks and not self._is_over.is_set():
            self._blocks.scale_out_facade(num_blocks)

    def _tell_people(self) -> None:
        sentence = self._provider.waiting_for()
        if sentence != self._told:
            self._told = sentence
            logger.info("%s", sentence or "nothing is waited for any more")
