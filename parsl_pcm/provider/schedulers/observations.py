"""What can be seen of a site: its idle GPUs and our jobs. A site of another kind is two Protocols.

Everything here is read-only, and one call answers for all flavours or jobs at once: schedulers
are shared with people who wait for an answer too.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct


class IdleGpus(Struct, frozen=True, kw_only=True):
    """GPUs of one type in one partition (queue, pool) at this moment."""

    num_idle: int
    """Free now, on nodes that take jobs now."""
    num_total: int
    """On nodes that take jobs at all."""
    partition: str = ""
    """In the site's own words; "" where it has none."""
    gpu_type: str = ""
    """The site's name for the type, lower case; "" if it does not tell."""


class JobPhase(enum.Enum):
    """Where a job is in its life."""

    PENDING = "pending"
    """Waits to be started, for the first time or again."""
    RUNNING = "running"
    """Has its node; may be about to lose it (``notice_s``)."""
    SUSPENDED = "suspended"
    """Stopped in place: it holds its place and computes nothing."""
    ENDED = "ended"
    """Will never run again."""


class Ending(enum.Enum):
    """Why a job ended: what the site did is no fault of the job."""

    FINISHED = "finished"
    """Exited by itself with code 0."""
    FAILED = "failed"
    """Exited by itself with another code, or ran out of memory."""
    PREEMPTED = "preempted"
    """The site took it back, and does not start it again."""
    NODE_FAILED = "node_failed"
    """Its node died, and it is not started again."""
    TIMED_OUT = "timed_out"
    """Reached its walltime."""
    CANCELLED = "cancelled"
    """Somebody removed it, with or without our asking."""
    VANISHED = "vanished"
    """The scheduler has forgotten it, so nothing is known of its end."""


class Job(Struct, frozen=True, kw_only=True):
    """One of our jobs as its scheduler shows it."""

    job_id: str
    phase: JobPhase
    ending: Ending | None = None
    """Not None iff the phase is ENDED."""
    num_restarts: int = 0
    """How often the site has started it again after taking it back."""
    notice_s: float | None = None
    """Seconds until the site takes its node back, if it has said so; else None."""
    exit_code: int | None = None
    words: str = ""
    """State and reason in the scheduler's own words, for people: ``PENDING (Priority)``."""


class LookError(RuntimeError):
    """A site could not be asked, or did not answer in a form that we understand.

    The message is a sentence for the user: the command, its own words, the usual cure.
    """


class Probe(Protocol):
    """Tells what is idle."""

    def look(self) -> Sequence[IdleGpus]:
        """Return one entry for each partition and type of GPU.

        Raises
        ------
        LookError
            If it cannot be told now; nothing counts as idle until the next look.
        """
        ...


class JobBook(Protocol):
    """Tells what has become of our jobs."""

    def jobs(self, job_ids: Sequence[str]) -> Mapping[str, Job]:
        """Return those of the given jobs that the scheduler still knows, by job id.

        Raises
        ------
        LookError
            If it cannot be told now; what was known before still stands.
        """
        ...
