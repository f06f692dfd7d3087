"""A block from its submission until it is certain that it has ended."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from parsl_pcm.provider.growth.demand import BlockRequest
from parsl_pcm.provider.growth.holdback import PATIENCE_S
from parsl_pcm.provider.schedulers.observations import Ending, Job, JobPhase

LOOKS_WITHOUT_JOB = 2
"""In a row, before a job that is not listed counts as ended: one list may be incomplete."""
MIN_AGE_S = 10.0
"""A job may take some seconds to appear in the lists of its scheduler."""


@dataclass(slots=True, eq=False)
class Block:
    """One open job. Growth alone changes it."""

    job_id: str
    flavour: str
    num_gpus: int
    context: str | None
    """Whose hosts it was asked for."""
    submitted_s: float
    waiting_since_s: float
    """Submission, or the site's taking it back to start it again."""
    phase: JobPhase = JobPhase.PENDING
    running_since_s: float | None = None
    """When it was first seen running, in its present life."""
    num_restarts: int = 0
    has_manager: bool = False
    """A manager of it was there in the last snapshot of the interchange."""
    has_registered: bool = False
    """A manager has registered in its present life."""
    is_counted: bool = False
    """Since a snapshot has shown that manager, its hosts count as alive, not as coming."""
    managerless_since_s: float | None = None
    """Since when its managers are gone, after snapshots had shown some."""
    given_back_s: float | None = None
    """When its cancelling was last asked for."""
    was_needed: bool = False
    unneeded_since_s: float | None = None
    """While it waits: since when nobody needs it."""
    has_lived: bool = False
    """It ran for long enough to be worth its start."""
    is_replaced: bool = False
    """Another one was asked for while it waited to be started again."""
    num_looks_without: int = 0
    ending: Ending | None = None
    words: str = ""
    """State and reason in the scheduler's own words."""

    @property
    def is_given_back(self) -> bool:
        """Whether we have asked for its cancelling."""
        return self.given_back_s is not None

    @property
    def is_waiting_for_the_first_time(self) -> bool:
        """Whether it has never had a node, and is to have one."""
        is_waiting = self.phase is JobPhase.PENDING and self.num_restarts == 0
        return is_waiting and not self.is_given_back

    @property
    def is_between_lives(self) -> bool:
        """Whether the site took it back and has not started it again."""
        return self.phase is JobPhase.PENDING and self.num_restarts > 0

    @property
    def is_coming(self) -> bool:
        """Whether its manager may still be expected."""
        is_on_its_way = self.phase is JobPhase.PENDING or self.phase is JobPhase.RUNNING
        return is_on_its_way and not self.is_given_back and not self.is_counted

    def could_be_replaced_by(self, request: BlockRequest) -> bool:
        """Whether a new block makes this one superfluous, which waits to be started again."""
        if not self.is_between_lives or self.is_given_back or self.is_replaced:
            return False
        return (self.flavour, self.num_gpus) == (request.flavour, request.num_gpus)

    def is_stuck(self, now: float) -> bool:
        """Whether it is not worth waiting for while GPUs are idle elsewhere."""
        if self.phase is not JobPhase.PENDING:
            return False
        # A site that starts a job again lets it wait first: 120 s on Slurm (AuthInfo cred_expire).
        return self.is_between_lives or now - self.waiting_since_s >= PATIENCE_S

    def lived_s(self, now: float) -> float:
        """Return for how long it has been seen running in its present life."""
        return 0.0 if self.running_since_s is None else now - self.running_since_s


class Change(enum.Enum):
    """What a look at a job has shown of its block."""

    STARTED = "started"
    """It has its node."""
    TAKEN_BACK = "taken back"
    """The site took its node and will start it, or has started it, again."""
    ENDED = "ended"
    """It will never run again."""


def open_block(job_id: str, request: BlockRequest, now: float) -> Block:
    """Return the record of a block that was just submitted."""
    return Block(
        job_id=job_id,
        flavour=request.flavour,
        num_gpus=request.num_gpus,
        context=request.context,
        submitted_s=now,
        waiting_since_s=now,
        was_needed=request.context is not None,
    )


def register(block: Block, now: float) -> Change | None:
    """Note that a manager of the block has registered, which proves that it runs."""
    if block.is_between_lives:  # it is of the life before: nobody has told it yet
        return None
    block.has_registered = True
    block.phase = JobPhase.RUNNING
    if block.running_since_s is not None:
        return None
    block.running_since_s = now
    return Change.STARTED


def note_use(block: Block, *, has_manager: bool, now: float) -> None:
    """Note whether a snapshot of the interchange shows a manager of the block."""
    block.has_manager = has_manager
    if block.is_between_lives:
        return
    if has_manager:
        block.is_counted = True
        block.managerless_since_s = None
    elif block.is_counted and block.managerless_since_s is None:
        block.managerless_since_s = now


def see(block: Block, job: Job | None, now: float) -> Change | None:
    """Note what a look has shown of its job: None, that it is not listed; return what is new."""
    if job is None:
        return _miss(block, now)
    block.num_looks_without = 0
    block.words = job.words
    if job.phase is JobPhase.ENDED:
        return _end(block, job.ending or Ending.VANISHED)
    was_running = block.running_since_s is not None
    is_again_pending = was_running and job.phase is JobPhase.PENDING
    if job.num_restarts > block.num_restarts or is_again_pending:
        block.num_restarts = max(job.num_restarts, block.num_restarts + 1)
        _begin_again(block, job.phase, now)
        return Change.TAKEN_BACK
    block.phase = job.phase
    if job.phase is JobPhase.PENDING or was_running:
        return None
    block.running_since_s = now
    return Change.STARTED


def _miss(block: Block, now: float) -> Change | None:
    block.num_looks_without += 1
    is_certain = block.num_looks_without >= LOOKS_WITHOUT_JOB and not block.has_manager
    if is_certain and now - block.submitted_s >= MIN_AGE_S:
        return _end(block, Ending.VANISHED)
    return None


def _end(block: Block, ending: Ending) -> Change:
    block.phase = JobPhase.ENDED
    block.ending = ending
    return Change.ENDED


def _begin_again(block: Block, phase: JobPhase, now: float) -> None:
    block.phase = phase
    block.waiting_since_s = now
    block.running_since_s = None if phase is JobPhase.PENDING else now
    block.has_manager = block.has_registered = block.is_counted = block.has_lived = False
    block.is_replaced = False
    block.managerless_since_s = None
