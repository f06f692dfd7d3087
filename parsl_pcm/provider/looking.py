"""Asking the site on behalf of Growth: what is idle, and what has become of our jobs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence

from parsl_pcm.clock import monotonic_s
from parsl_pcm.provider.flavours import Flavour
from parsl_pcm.provider.growth.growth import Growth
from parsl_pcm.provider.schedulers.observations import (
    IdleGpus,
    Job,
    JobBook,
    JobPhase,
    LookError,
    Probe,
)

logger = logging.getLogger(__name__)


class Looker:
    """Looks at a site, one probe and one job book after the other, and tells Growth.

    Parameters
    ----------
    flavours
        Those that share a probe or a job book are looked at in one call.
    growth, lock
        The lock is held whenever Growth is used, and never while the site is asked.
    """

    def __init__(
        self, flavours: Mapping[str, Flavour], growth: Growth, lock: threading.RLock
    ) -> None:
        self._flavours = flavours
        self._growth = growth
        self._lock = lock
        self._last_seen: dict[str, Job] = {}
        self._complaints: dict[str, str] = {}

    def look_at_idle_gpus(self) -> None:
        """Count what is idle of each flavour."""
        probes: dict[int, tuple[Probe, list[Flavour]]] = {}
        for flavour in self._flavours.values():
            probe = flavour.idle_probe
            if probe is not None:
                probes.setdefault(id(probe), (probe, []))[1].append(flavour)
        for probe, flavours in probes.values():
            asked_at = monotonic_s()
            rows, complaint = _ask(probe)
            self._note(f"idle GPUs of {', '.join(each.name for each in flavours)}", complaint)
            for flavour in flavours:
                self._count(flavour, rows, complaint, asked_at)

    def _count(
        self, flavour: Flavour, rows: Sequence[IdleGpus] | None, complaint: str, now: float
    ) -> None:
        num_idle = None if rows is None else flavour.count_idle(rows)
        if rows is not None:
            self._note(f"GPUs of {flavour}", "" if num_idle is not None else _nothing_like(flavour))
            # If the site shows nothing of the kind, one block at a time lets it say so itself.
            num_idle = 1 if num_idle is None else num_idle
        with self._lock:
            self._growth.saw_idle(flavour.name, num_idle, now, complaint)

    def look_at_jobs(self) -> list[Job]:
        """Return the jobs of ours that changed since the last look."""
        changed: list[Job] = []
        for book, of_flavour in self._open_jobs().values():
            asked = [job_id for job_ids in of_flavour.values() for job_id in job_ids]
            try:
                found = book.jobs(asked)
            except LookError as error:
                self._note_blindness(list(of_flavour), str(error))
            else:
                self._note(f"jobs of {', '.join(of_flavour)}", "")
                changed += self._take(asked, found)
        return changed

    def _note_blindness(self, flavours: Sequence[str], complaint: str) -> None:
        self._note(f"jobs of {', '.join(flavours)}", complaint)
        with self._lock:
            for name in flavours:
                self._growth.could_not_see_jobs(name, complaint)

    def _open_jobs(self) -> dict[int, tuple[JobBook, dict[str, list[str]]]]:
        """Return the open jobs by flavour, by the book that they are in."""
        books: dict[int, tuple[JobBook, dict[str, list[str]]]] = {}
        with self._lock:
            blocks = list(self._growth.blocks.values())
        for block in blocks:
            flavour = self._flavours[block.flavour]
            book = flavour.job_book(block.num_gpus)
            of_flavour = books.setdefault(id(book), (book, {}))[1]
            of_flavour.setdefault(flavour.name, []).append(block.job_id)
        return books

    def _take(self, asked: Sequence[str], found: Mapping[str, Job]) -> list[Job]:
        with self._lock:
            ended = self._growth.saw_jobs(asked, found, monotonic_s())
        news = {job_id: job for job_id, job in found.items() if job.phase is not JobPhase.ENDED}
        for block in ended:
            job = found.get(block.job_id)
            news[block.job_id] = job or Job(
                job_id=block.job_id,
                phase=JobPhase.ENDED,
                ending=block.ending,
                num_restarts=block.num_restarts,
                words=block.words,
            )
        changed = [job for job in news.values() if self._is_news(job)]
        for job in changed:
            logger.info("job %s: %s", job.job_id, job.words or job.phase.value)
        self._last_seen.update(news)
        for block in ended:
            del self._last_seen[block.job_id]
        return changed

    def _is_news(self, job: Job) -> bool:
        last = self._last_seen.get(job.job_id)
        return last is None or _gist(last) != _gist(job)

    def _note(self, what: str, complaint: str) -> None:
        """Log a complaint when it is new, and when it is over."""
        if complaint == self._complaints.get(what, ""):
            return
        self._complaints[what] = complaint
        if complaint:
            logger.warning("cannot see the %s: %s", what, complaint)
        else:
            logger.info("can see the %s again", what)


def _ask(probe: Probe) -> tuple[Sequence[IdleGpus] | None, str]:
    try:
        return probe.look(), ""
    except LookError as error:
        return None, str(error)


def _nothing_like(flavour: Flavour) -> str:
    return (
        f"the site shows none in partition {flavour.partition!r} of type {flavour.gpu_type!r}: "
        "check these names with `parsl-pcm doctor`"
    )


def _gist(job: Job) -> tuple[object, ...]:
    """Return what of a job is worth telling: the time left runs down by itself."""
    return (job.phase, job.ending, job.num_restarts, job.notice_s is None)
