"""A site's batch system in virtual time: jobs wait for a node, run on it, and lose it.

It shows jobs as the job books of real ones do (``provider/schedulers/observations.py``).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from random import Random

import msgspec

from parsl_pcm.provider.schedulers.observations import Ending, Job, JobPhase
from parsl_pcm.simulator.engine.timeline import Timeline
from parsl_pcm.simulator.scenario import Pool
from parsl_pcm.simulator.site.availability import Life, gamma


@dataclass(slots=True)
class Partition:
    """Nodes of one kind.

    Attributes
    ----------
    num_gpus
        Of each node.
    spec
        How nodes are waited for and taken back.
    num_free
        Nodes that a job may have now.
    places
        Those nodes, and some that have gone.
    waiting
        Jobs that get a node as soon as one is free, and some that were cancelled.
    """

    name: str
    num_gpus: int
    spec: Pool
    num_free: int = 0
    places: list[Life] = field(default_factory=list)
    waiting: deque[BatchJob] = field(default_factory=deque)


@dataclass(slots=True, eq=False)
class BatchJob:
    """A job from its submission to its end."""

    partition: Partition
    shown: Job
    """What the job book says."""
    life: Life | None = None
    """The node that it runs on."""
    started_s: float = 0.0
    is_cancelled: bool = False


class BatchSystem:
    """Who gets which node: first come, first served; which node it is, is chance.

    Parameters
    ----------
    lives
        When which nodes are there, sorted by ``from_s``.
    partition_of
        The partition of a node.
    start
        Called with the id of a job and its node when it starts. Whoever is called says with
        :meth:`left` that it is over.
    """

    def __init__(
        self,
        lives: Iterable[Life],
        partition_of: Callable[[Life], Partition],
        *,
        time: Timeline,
        random: Random,
        start: Callable[[str, Life], object],
    ) -> None:
        self.num_submitted = 0
        """Jobs so far."""
        self._lives = iter(lives)
        self._partition_of = partition_of
        self._time = time
        self._random = random
        self._start = start
        self._jobs: dict[str, BatchJob] = {}
        self._free: set[Life] = set()
        self._num_present = 0
        self._coming = next(self._lives, None)
        self._expect_next()

    @property
    def is_over(self) -> bool:
        """Whether no node is there, and none will come."""
        return self._coming is None and self._num_present == 0

    # --- what it is asked ---------------------------------------------------------------------

    def shown(self, job_id: str) -> Job:
        """Return what is shown of a job that has not been forgotten."""
        return self._jobs[job_id].shown

    def jobs(self, job_ids: Iterable[str]) -> Mapping[str, Job]:
        """Return what has become of jobs; it forgets those that have ended."""
        found = {job_id: self._jobs[job_id].shown for job_id in job_ids if job_id in self._jobs}
        for job_id, job in found.items():
            if job.phase is JobPhase.ENDED:
                del self._jobs[job_id]
        return found

    # --- what it is told ----------------------------------------------------------------------

    def submit(self, partition: Partition) -> str:
        """Take a job for one node; return its id."""
        self.num_submitted += 1
        job_id = str(self.num_submitted)
        job = BatchJob(partition, Job(job_id=job_id, phase=JobPhase.PENDING, words="PENDING"))
        self._jobs[job_id] = job
        self._queue(job, 0.0)
        return job_id

    def cancel(self, job_id: str) -> None:
        """Begin to end a job: at once if it waits; else when :meth:`left` says so."""
        job = self._jobs.get(job_id)
        if job is None or job.shown.phase is JobPhase.ENDED:
            return
        job.is_cancelled = True
        if job.life is None:
            _end(job, Ending.CANCELLED)

    def left(self, job_id: str) -> None:
        """Take in that nothing of a job runs on its node any more."""
        job = self._jobs[job_id]
        life, spec = job.life, job.partition.spec
        assert life is not None, "only what runs can leave"
        job.life = None
        is_taken = self._time.now >= _leaves_at(life, spec)
        if job.is_cancelled:
            _end(job, Ending.CANCELLED)
        elif is_taken and spec.requeue_s is not None:
            self._requeue(job, spec.requeue_s)
        elif is_taken:
            _end(job, Ending.NODE_FAILED if life.fails else Ending.PREEMPTED)
        else:
            is_timed_out = self._time.now >= job.started_s + (spec.walltime_s or math.inf)
            _end(job, Ending.TIMED_OUT if is_timed_out else Ending.FINISHED)
        if not is_taken:
            self._offer(life)

    # --- nodes --------------------------------------------------------------------------------

    def _expect_next(self) -> None:
        if self._coming is not None:
            self._time.at(self._coming.from_s, self._let_come)

    def _let_come(self) -> None:
        """Let all nodes come whose time it is, before anything is done with one of them."""
        came = []
        while self._coming is not None and self._coming.from_s <= self._time.now:
            came.append(self._coming)
            self._coming = next(self._lives, None)
        self._expect_next()
        for life in came:
            self._come(life)

    def _come(self, life: Life) -> None:
        leaves_at = _leaves_at(life, self._partition_of(life).spec)
        if leaves_at <= self._time.now:
            return
        self._num_present += 1
        self._time.at(leaves_at, partial(self._go, life))
        self._offer(life)

    def _go(self, life: Life) -> None:
        self._num_present -= 1
        if life in self._free:
            self._free.remove(life)
            self._partition_of(life).num_free -= 1

    def _offer(self, life: Life) -> None:
        partition = self._partition_of(life)
        self._free.add(life)
        partition.places.append(life)
        partition.num_free += 1
        self._match(partition)

    # --- jobs ---------------------------------------------------------------------------------

    def _requeue(self, job: BatchJob, requeue_s: float) -> None:
        job.shown = msgspec.structs.replace(
            job.shown,
            phase=JobPhase.PENDING,
            num_restarts=job.shown.num_restarts + 1,
            words="PENDING (BeginTime)",
        )
        self._queue(job, requeue_s)

    def _queue(self, job: BatchJob, delay_s: float) -> None:
        spec = job.partition.spec
        wait_s = gamma(self._random, spec.queue_wait_s, spec.queue_wait_cv)
        self._time.after(delay_s + wait_s, partial(self._line_up, job))

    def _line_up(self, job: BatchJob) -> None:
        job.partition.waiting.append(job)
        self._match(job.partition)

    def _match(self, partition: Partition) -> None:
        """Start what waits on what is free."""
        while partition.waiting and partition.num_free:
            job = partition.waiting.popleft()
            if not job.is_cancelled:
                self._run(job, self._take(partition))

    def _take(self, partition: Partition) -> Life:
        """Take any of the free nodes."""
        places = partition.places
        while True:
            index = self._random.randrange(len(places))
            places[index], places[-1] = places[-1], places[index]
            life = places.pop()
            if life in self._free:
                self._free.remove(life)
                partition.num_free -= 1
                return life

    def _run(self, job: BatchJob, life: Life) -> None:
        job.life = life
        job.started_s = self._time.now
        job.shown = msgspec.structs.replace(job.shown, phase=JobPhase.RUNNING, words="RUNNING")
        self._start(job.shown.job_id, life)


def _leaves_at(life: Life, spec: Pool) -> float:
    """Return until when a job may be given a node, or go on after another has left it."""
    notice_s = 0.0 if life.fails else spec.notice_s or 0.0
    return life.until_s - notice_s


def _end(job: BatchJob, ending: Ending) -> None:
    job.shown = msgspec.structs.replace(
        job.shown, phase=JobPhase.ENDED, ending=ending, words=ending.name
    )
