"""Growth against a site that lies, falls silent, preempts and refuses, with random histories.

The site knows the truth: what is never to happen is checked against that at every submission.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from parsl_pcm.provider.flavours import Flavour
from parsl_pcm.provider.growth.demand import BlockRequest, BlockUse, Demand, Limits
from parsl_pcm.provider.growth.growth import Growth
from parsl_pcm.provider.schedulers.observations import Ending, Job, JobPhase
from parsl_pcm.types import Requirements

LOOK_EVERY_S = 5.0
START_S = 3.0
"""From the start of a job to its manager."""
SEEDS = range(5)


@dataclass(eq=False)
class SimJob:
    job_id: str
    flavour: str
    phase: JobPhase = JobPhase.PENDING
    ending: Ending | None = None
    num_restarts: int = 0
    may_start_s: float = 0.0
    running_s: float = 0.0
    ended_s: float = math.inf
    idle_since_s: float | None = None
    was_left_out: bool = False

    @property
    def is_live(self) -> bool:
        return self.phase is not JobPhase.ENDED


@dataclass
class Site:
    """Pools of GPUs that others use too."""

    random: Random
    sizes: dict[str, int]
    chaos: float
    """0: all goes well; 1: nothing is sure."""
    now: float = 0.0
    taken: dict[str, int] = field(default_factory=dict)
    """GPUs of others."""
    jobs: dict[str, SimJob] = field(default_factory=dict)

    def live(self, flavour: str | None = None) -> list[SimJob]:
        return [job for job in self.jobs.values() if job.is_live and flavour in (None, job.flavour)]

    def running(self, flavour: str) -> list[SimJob]:
        return [job for job in self.live(flavour) if job.phase is JobPhase.RUNNING]

    def idle(self, flavour: str) -> int:
        used = self.taken.get(flavour, 0) + len(self.running(flavour))
        return self.sizes[flavour] - used

    def happens(self, chance: float) -> bool:
        return self.random.random() < chance * self.chaos

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for flavour, size in self.sizes.items():
            if self.happens(0.2):
                self.taken[flavour] = self.random.randint(0, size)
            while self.idle(flavour) < 0:
                self._take_back(self.random.choice(self.running(flavour)))
            self._start_jobs(flavour)
        for job in self.live():
            if job.phase is JobPhase.RUNNING and self.happens(0.005):
                endings = [Ending.FAILED, Ending.NODE_FAILED, Ending.TIMED_OUT, Ending.FINISHED]
                self.end(job, self.random.choice(endings))

    def _start_jobs(self, flavour: str) -> None:
        for job in self.live(flavour):
            is_ready = job.phase is JobPhase.PENDING and self.now >= job.may_start_s
            if is_ready and self.idle(flavour) > 0 and not self.happens(0.3):
                job.phase, job.running_s = JobPhase.RUNNING, self.now
                job.idle_since_s = self.now + START_S

    def _take_back(self, job: SimJob) -> None:
        if self.random.randint(0, 1):
            self.end(job, Ending.PREEMPTED)
        else:
            job.phase = JobPhase.PENDING
            job.num_restarts += 1
            job.may_start_s = self.now + 120.0

    def end(self, job: SimJob, ending: Ending) -> None:
        job.phase, job.ending, job.ended_s = JobPhase.ENDED, ending, self.now

    def listed(self) -> dict[str, Job]:
        """Return a list of jobs that leaves some out, none twice in a row; old ones are purged."""
        rows = {}
        for job in self.jobs.values():
            is_left_out = not job.was_left_out and self.happens(0.2)
            job.was_left_out = is_left_out
            if not is_left_out and self.now - job.ended_s < 20.0:
                rows[job.job_id] = Job(
                    job_id=job.job_id,
                    phase=job.phase,
                    ending=job.ending,
                    num_restarts=job.num_restarts,
                )
        return rows


def flavours(**limits: Any) -> list[Flavour]:
    def provider(_: int) -> Any:
        return SimpleNamespace()

    probe: Any = SimpleNamespace()
    fast = Flavour("fast", provider, probe=probe, partition="fast", speed=2.0, **limits)
    return [fast, Flavour("slow", provider, probe=probe, partition="slow", speed=1.0)]


class Run:
    """What the provider does: looks, tells, asks, cancels."""

    def __init__(self, site: Site, choices: list[Flavour], limits: Limits) -> None:
        self.site = site
        self.choices = choices
        self.limits = limits
        self.growth = Growth(choices, limits)
        self.num_wanted = 0
        self.looks: dict[str, tuple[int, int]] = {}
        """Idle GPUs and our running blocks at the last look that worked."""
        self.submissions: list[tuple[float, BlockRequest]] = []

    def turn(self, seconds: float = LOOK_EVERY_S) -> None:
        self.site.pass_time(seconds)
        self._look_at_jobs()
        self._look_at_gpus()
        self._look_at_work()
        for job_id in self.growth.to_give_back(self.site.now):
            self.growth.given_back(job_id, self.site.now)
            job = self.site.jobs[job_id]
            if job.is_live and not self.site.happens(0.3):
                self.site.end(job, Ending.CANCELLED)
        self._submit()

    def _look_at_jobs(self) -> None:
        if self.site.happens(0.2):
            for each in self.choices:
                self.growth.could_not_see_jobs(each.name, "no answer")
            return
        asked = list(self.growth.blocks)
        for block in self.growth.saw_jobs(asked, self.site.listed(), self.site.now):
            assert not self.site.jobs[block.job_id].is_live, "it has not ended"

    def _look_at_gpus(self) -> None:
        for each in self.choices:
            if self.site.happens(0.2):
                self.growth.saw_idle(each.name, None, self.site.now, "no answer")
                self.looks.pop(each.name, None)
            else:
                num_idle = self.site.idle(each.name)
                self.growth.saw_idle(each.name, num_idle, self.site.now)
                self.looks[each.name] = (num_idle, len(self.site.running(each.name)))

    def _look_at_work(self) -> None:
        if self.site.happens(0.1):
            self.num_wanted = self.site.random.randint(0, 30)
        up = [job for job in self.hosts() if self.site.now >= job.running_s + START_S]
        demand = Demand(
            name="f",
            ways=(Requirements(gpus=1),),
            num_wanted=self.num_wanted,
            num_hosts=len(up),
            setup_s=20.0,
        )
        self.growth.saw_demand([demand], list(self._uses(up)), self.site.now)

    def hosts(self) -> list[SimJob]:
        return [job for job in self.site.live() if job.phase is JobPhase.RUNNING]

    def _uses(self, up: list[SimJob]) -> Iterator[BlockUse]:
        for rank, job in enumerate(up):
            is_busy = rank < self.num_wanted
            if is_busy:
                job.idle_since_s = None
            elif job.idle_since_s is None:
                job.idle_since_s = self.site.now
            yield BlockUse(
                job_id=job.job_id,
                num_managers=1,
                num_leases=int(is_busy),
                num_starting=0,
                idle_s=0.0 if job.idle_since_s is None else self.site.now - job.idle_since_s,
                setup_s=20.0,
            )

    def _submit(self) -> None:
        for request in self.growth.wanted(self.site.now):
            if self.site.happens(0.2):
                is_transient = self.site.happens(0.5)
                self.growth.refused(request, "no", self.site.now, is_transient=is_transient)
                return
            job = SimJob(f"j{len(self.site.jobs)}", request.flavour)
            self.site.jobs[job.job_id] = job
            self.growth.submitted(job.job_id, request, self.site.now)
            self.submissions.append((self.site.now, request))
            self._check(request.flavour)

    def _check(self, name: str) -> None:
        """Check a submission against the truth."""
        live = self.site.live(name)
        flavour = next(each for each in self.choices if each.name == name)
        assert name in self.looks, "submitted though nothing was known"
        num_idle, num_ours = self.looks[name]
        waiting = [job for job in live if job.phase is JobPhase.PENDING and job.num_restarts == 0]
        assert len(waiting) <= num_idle - flavour.keep_free
        assert len(live) <= (flavour.max_blocks or math.inf)
        assert len(self.site.live()) <= (self.limits.max_blocks or math.inf)
        if flavour.max_share < 1.0:
            # Plus one: a block that was just taken back counts twice, if a list left it out.
            assert len(live) <= flavour.max_share * (num_idle + num_ours) + 1


LIMITS = [
    ({}, Limits()),
    ({"max_blocks": 3}, Limits(max_blocks=10)),
    ({"max_share": 0.5, "keep_free": 2}, Limits(max_blocks=25, min_blocks=2)),
]


def after_chaos(seed: int, num_turns: int = 100) -> Run:
    random = Random(seed)
    limits_of_flavour, limits = LIMITS[seed % len(LIMITS)]
    site = Site(random, {"fast": random.randint(1, 20), "slow": random.randint(0, 20)}, chaos=1.0)
    run = Run(site, flavours(**limits_of_flavour), limits)
    for _ in range(num_turns):
        run.turn(random.choice([1.0, LOOK_EVERY_S, 20.0]))
    return run


@pytest.mark.parametrize("seed", SEEDS)
def test_limits_hold_whatever_the_site_says_and_work_goes_on_when_it_is_calm(seed: int) -> None:
    run = after_chaos(seed)
    site = run.site
    site.chaos = 0.0
    site.taken = {"fast": site.sizes["fast"] // 3, "slow": 0}
    run.num_wanted = 12
    for _ in range(80):  # 20 minutes: longer than any wait
        run.turn(15.0)
    fast = run.choices[0]
    num_free = {name: size - site.taken[name] for name, size in site.sizes.items()}
    most_fast = min(
        math.floor(fast.max_share * num_free["fast"]),
        num_free["fast"] - fast.keep_free,
        fast.max_blocks or 99,
    )
    most = min(max(most_fast, 0) + num_free["slow"], run.limits.max_blocks or 99)
    # Blocks that ran there before may keep more of one flavour than would be asked for now.
    assert min(12, most) <= len(run.hosts()) <= 12
    if len(run.hosts()) == 12:
        assert len(site.live()) == 12, "a block waits for nothing"

    run.num_wanted = 0
    for _ in range(24):
        run.turn()
    assert len(run.hosts()) <= len(site.live()) <= run.limits.min_blocks
    assert len(run.hosts()) >= min(run.limits.min_blocks, most)
    assert len(run.growth.blocks) == len(site.live())


def test_silent_scheduler_is_asked_ever_more_seldom() -> None:
    site = Site(Random(0), {"fast": 100, "slow": 0}, chaos=0.0)
    run = Run(site, flavours(), Limits())
    run.num_wanted = 50
    num_tries = 0
    for _ in range(720):  # an hour
        site.now += LOOK_EVERY_S
        run._look_at_gpus()
        run._look_at_work()
        for request in run.growth.wanted(site.now)[:1]:
            num_tries += 1
            run.growth.refused(request, "timed out", site.now, is_transient=True)
    assert 10 <= num_tries <= 20


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_same_history_same_answers(seed: int) -> None:
    first, second = after_chaos(seed), after_chaos(seed)
    assert first.submissions == second.submissions
    assert first.submissions, "nothing was tried at all"
