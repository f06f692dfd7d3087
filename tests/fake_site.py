"""A batch system in memory: Parsl's provider, our probe and our job book, all of one site.

Jobs change when a test says so, and its commands fail when a test wants that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from parsl.jobs.states import JobState, JobStatus
from parsl.providers.base import ExecutionProvider
from parsl.providers.errors import SubmitException

from parsl_pcm.provider.schedulers.observations import Ending, IdleGpus, Job, JobPhase, LookError


class FakeSite(ExecutionProvider):
    """One partition with so many idle GPUs."""

    label = "fake"
    status_polling_interval = 60

    def __init__(self, num_idle: int = 0) -> None:
        self.min_blocks = self.init_blocks = 0
        self.max_blocks = 1000
        self.nodes_per_block = 1
        self.parallelism = 1.0
        self.script_dir = None
        self.resources = {}
        self.num_idle = num_idle
        self.partition = ""
        self.in_queue: dict[str, Job] = {}
        self.commands: list[str] = []
        self.cancelled: list[str] = []
        self.refusal: SubmitException | None = None
        self.is_unreachable = False
        self.num_looks = 0

    # --- as a provider ---

    def submit(self, command: str, tasks_per_node: int, job_name: str = "") -> str:
        if self.refusal is not None:
            raise self.refusal
        self.commands.append(command)
        job_id = str(len(self.commands))
        self.in_queue[job_id] = Job(job_id=job_id, phase=JobPhase.PENDING, words="PENDING")
        self.resources[job_id] = {"status": JobStatus(JobState.PENDING)}
        return job_id

    def status(self, job_ids: Sequence[object]) -> list[JobStatus]:
        raise AssertionError("the site has a job book")

    def cancel(self, job_ids: Sequence[object]) -> list[bool]:
        if self.is_unreachable:
            return [False] * len(job_ids)
        for job_id in map(str, job_ids):
            self.cancelled.append(job_id)
            self.end(job_id, Ending.CANCELLED)
        return [True] * len(job_ids)

    # --- as a probe and a job book ---

    def look(self) -> list[IdleGpus]:
        self.num_looks += 1
        self._answer()
        return [IdleGpus(num_idle=self.num_idle, num_total=100, partition=self.partition)]

    def jobs(self, job_ids: Sequence[str]) -> Mapping[str, Job]:
        self._answer()
        return {job_id: self.in_queue[job_id] for job_id in job_ids if job_id in self.in_queue}

    def _answer(self) -> None:
        if self.is_unreachable:
            raise LookError("the fake scheduler is away")

    # --- what a test lets happen ---

    def change(self, job_id: str, **what: object) -> None:
        self.in_queue[job_id] = msgspec.structs.replace(self.in_queue[job_id], **what)

    def run(self, job_id: str) -> None:
        self.change(job_id, phase=JobPhase.RUNNING, words="RUNNING")

    def end(self, job_id: str, ending: Ending) -> None:
        self.change(job_id, phase=JobPhase.ENDED, ending=ending, words=ending.name)
