"""What a batch system in virtual time does to jobs."""

from __future__ import annotations

import math
from random import Random
from typing import Any

from parsl_pcm.provider.schedulers.observations import Ending, JobPhase
from parsl_pcm.simulator.engine.timeline import Timeline
from parsl_pcm.simulator.scenario import Pool
from parsl_pcm.simulator.site.availability import Life
from parsl_pcm.simulator.site.batch import BatchSystem, Partition


def life(machine: int, from_s: float = 0.0, until_s: float = math.inf, **other: Any) -> Life:
    facts: dict[str, Any] = {"pool": 0, "gpu": "A10", "speed": 1.0, "is_bad": False, "fails": False}
    return Life(machine=machine, from_s=from_s, until_s=until_s, **(facts | other))


class Bed:
    """A batch system whose jobs run until a test says that they left, or their node goes."""

    def __init__(self, *lives: Life, **spec: Any) -> None:
        self.time = Timeline()
        self.partition = Partition("a10", 1, Pool(gpu="A10", count=1, **spec))
        self.started: list[tuple[str, int]] = []
        """(job, machine), in order."""
        self.batch = BatchSystem(
            sorted(lives, key=lambda each: each.from_s),
            lambda _: self.partition,
            time=self.time,
            random=Random(1),
            start=self._start,
        )
        self.at(0.0)

    def _start(self, job_id: str, life: Life) -> None:
        self.started.append((job_id, life.machine))

    def submit(self) -> str:
        return self.batch.submit(self.partition)

    def at(self, when: float) -> None:
        """Let everything happen that is planned until then."""
        while self.time.next_at() <= when:
            self.time.step()
        self.time.now = when

    def phase(self, job_id: str) -> JobPhase:
        return self.batch.shown(job_id).phase

    def ending(self, job_id: str) -> Ending | None:
        return self.batch.shown(job_id).ending


# --- starting -----------------------------------------------------------------------------------


def test_job_starts_after_its_wait_in_the_queue() -> None:
    bed = Bed(life(0), queue_wait_s=20.0)
    job = bed.submit()
    bed.at(19.9)
    assert bed.phase(job) is JobPhase.PENDING
    assert bed.partition.num_free == 1, "a node is free until somebody has it"
    bed.at(20.0)
    assert bed.phase(job) is JobPhase.RUNNING
    assert bed.partition.num_free == 0


def test_jobs_wait_for_nodes_in_the_order_of_their_submission() -> None:
    bed = Bed(life(0, from_s=100.0), life(1, from_s=200.0))
    first, second = bed.submit(), bed.submit()
    bed.at(150.0)
    assert bed.started == [(first, 0)]
    bed.at(250.0)
    assert bed.started == [(first, 0), (second, 1)]


def test_job_that_is_cancelled_while_it_waits_never_starts() -> None:
    bed = Bed(life(0, from_s=100.0))
    first, second = bed.submit(), bed.submit()
    bed.at(50.0)
    bed.batch.cancel(first)
    assert bed.ending(first) is Ending.CANCELLED
    bed.at(150.0)
    assert bed.started == [(second, 0)]


def test_any_of_the_free_nodes_is_taken_once() -> None:
    bed = Bed(*(life(machine) for machine in range(20)))
    for _ in range(20):
        bed.submit()
    bed.at(1.0)
    machines = [machine for _, machine in bed.started]
    assert sorted(machines) == list(range(20))
    assert machines != sorted(machines), "which one it is, is chance"


def test_no_job_starts_on_a_node_that_the_site_has_claimed() -> None:
    bed = Bed(life(0, until_s=100.0), life(1, until_s=100.0, fails=True), notice_s=30.0)
    bed.at(71.0)
    assert bed.partition.num_free == 1
    job = bed.submit()
    bed.at(72.0)
    assert bed.started == [(job, 1)], "a failure is not announced"
    bed.submit()
    bed.at(99.0)
    assert len(bed.started) == 1


def test_node_that_is_claimed_from_its_first_moment_is_never_there() -> None:
    bed = Bed(life(0, from_s=10.0, until_s=30.0), notice_s=60.0)
    bed.submit()
    bed.at(100.0)
    assert bed.started == []
    assert bed.batch.is_over


# --- ending -------------------------------------------------------------------------------------


def test_cancelled_job_keeps_its_node_until_it_has_left() -> None:
    bed = Bed(life(0))
    job = bed.submit()
    bed.at(1.0)
    bed.batch.cancel(job)
    assert bed.phase(job) is JobPhase.RUNNING
    assert bed.partition.num_free == 0
    bed.batch.left(job)
    assert bed.ending(job) is Ending.CANCELLED
    assert bed.partition.num_free == 1


def test_job_whose_node_is_taken_back_was_preempted() -> None:
    bed = Bed(life(0, until_s=100.0), life(1, until_s=100.0, fails=True))
    jobs = {bed.submit(), bed.submit()}
    bed.at(100.0)
    for job in jobs:
        bed.batch.left(job)
    endings = {machine: bed.ending(job) for job, machine in bed.started}
    assert endings == {0: Ending.PREEMPTED, 1: Ending.NODE_FAILED}
    assert bed.partition.num_free == 0
    assert bed.batch.is_over


def test_job_that_leaves_during_its_notice_was_preempted_and_its_node_is_not_given_out() -> None:
    bed = Bed(life(0, until_s=100.0), notice_s=30.0)
    job = bed.submit()
    bed.at(75.0)
    bed.batch.left(job)
    assert bed.ending(job) is Ending.PREEMPTED
    assert bed.partition.num_free == 0


def test_job_at_the_end_of_its_walltime_timed_out_and_its_node_is_free_again() -> None:
    bed = Bed(life(0), walltime_s=60.0)
    first, second = bed.submit(), bed.submit()
    bed.at(60.0)
    bed.batch.left(first)
    assert bed.ending(first) is Ending.TIMED_OUT
    bed.at(61.0)
    assert bed.started == [(first, 0), (second, 0)]
    bed.batch.left(second)
    assert bed.ending(second) is Ending.FINISHED, "it left before its time"


def test_requeued_job_waits_and_starts_again_under_the_same_name() -> None:
    bed = Bed(life(0, until_s=100.0), life(1, from_s=110.0), requeue_s=120.0, queue_wait_s=5.0)
    job = bed.submit()
    bed.at(100.0)
    bed.batch.left(job)
    assert bed.phase(job) is JobPhase.PENDING
    assert bed.batch.shown(job).num_restarts == 1
    bed.at(224.0)
    assert len(bed.started) == 1
    bed.at(225.0)
    assert bed.started == [(job, 0), (job, 1)]


def test_requeued_job_that_is_cancelled_does_not_start_again() -> None:
    bed = Bed(life(0, until_s=100.0), life(1, from_s=110.0), requeue_s=120.0)
    job = bed.submit()
    bed.at(50.0)
    bed.batch.cancel(job)
    bed.at(100.0)
    bed.batch.left(job)
    bed.at(1000.0)
    assert bed.ending(job) is Ending.CANCELLED
    assert bed.started == [(job, 0)]


# --- what is told -------------------------------------------------------------------------------


def test_job_book_shows_what_is_asked_for_and_forgets_what_has_ended() -> None:
    bed = Bed(life(0))
    jobs = [bed.submit(), bed.submit(), bed.submit()]
    bed.at(1.0)
    bed.batch.cancel(jobs[1])
    shown = bed.batch.jobs(jobs[:2])
    assert {job: each.phase for job, each in shown.items()} == {
        jobs[0]: JobPhase.RUNNING,
        jobs[1]: JobPhase.ENDED,
    }
    assert list(bed.batch.jobs(jobs)) == [jobs[0], jobs[2]]


def test_site_is_not_over_while_a_node_is_there_or_will_come() -> None:
    bed = Bed(life(0, until_s=50.0), life(1, from_s=200.0, until_s=300.0))
    over = []
    for when in (10.0, 100.0, 250.0, 300.0):
        bed.at(when)
        over.append(bed.batch.is_over)
    assert over == [False, False, False, True]
