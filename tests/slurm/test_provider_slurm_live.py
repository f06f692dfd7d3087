"""Probe and job book against a real Slurm, in both forms that it can be asked in."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from parsl_pcm.provider.schedulers.commands import NoAnswerError
from parsl_pcm.provider.schedulers.observations import Ending, Job, JobPhase
from parsl_pcm.provider.schedulers.slurm import SlurmJobs, SlurmProbe
from tests.slurm_lab.lab import SlurmLab
from tests.slurm_lab.settings import GRACEFUL, PREEMPTIBLE
from tests.slurm_lab.waiting import wait_for


@pytest.fixture(params=["text", "json"])
def refused(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the other form be refused: the clients know no option of this name."""
    from parsl_pcm.provider.schedulers import slurm

    honest = slurm.ask

    def ask(command: list[str], **options: object) -> str:
        other = "-O" if request.param == "json" else "--json"
        words = ["--no-such-option" if word == other else word for word in command]
        return honest(words, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(slurm, "ask", ask)
    return str(request.param)


def idle(gpu_type: str, partition: str = PREEMPTIBLE) -> tuple[int, int]:
    (found,) = (
        each for each in SlurmProbe(partitions=(partition,)).look() if each.gpu_type == gpu_type
    )
    return found.num_idle, found.num_total


def submitted(lab: SlurmLab, node: str, *options: str, partition: str = GRACEFUL) -> str:
    command = ("sbatch", "--parsable", "-p", partition, "-w", node, "--gres=gpu:1", "--time=5")
    return lab.run(*command, *options, "-o", "/dev/null", "--wrap", "exec sleep 1000").strip()


def until(job_id: str, what: str, is_so: Callable[[Job], bool]) -> Job:
    book = SlurmJobs()

    def job() -> Job | None:
        found = book.jobs([job_id]).get(job_id)
        return found if found is not None and is_so(found) else None

    return wait_for(job, f"job {job_id} {what}")


@pytest.mark.usefixtures("refused")
def test_gpus_that_somebody_takes_are_not_idle(lab: SlurmLab) -> None:
    gpu_type, node = next(iter(lab.nodes.items()))
    num_idle, num_total = idle(gpu_type)
    assert num_idle == num_total > 0
    with lab.taken(node, num_gpus=1) as job_id:
        lab.wait_until_taken(job_id)
        assert idle(gpu_type) == (num_total - 1, num_total)
    wait_for(lambda: idle(gpu_type) == (num_total, num_total), "it is idle again")


@pytest.mark.usefixtures("refused")
def test_node_that_failed_offers_nothing(lab: SlurmLab) -> None:
    gpu_type, node = next(iter(lab.nodes.items()))
    lab.fail(node)
    try:
        assert idle(gpu_type) == (0, 0)
    finally:
        lab.repair(node)


@pytest.mark.usefixtures("refused")
def test_notice_comes_before_the_node_is_taken_back(lab: SlurmLab) -> None:
    node = next(iter(lab.nodes.values()))
    job_id = submitted(lab, node)
    assert until(job_id, "runs", lambda job: job.phase is JobPhase.RUNNING).notice_s is None
    with lab.taken(node):
        noticed = until(job_id, "has notice", lambda job: job.notice_s is not None)
        assert noticed.phase is JobPhase.RUNNING
        assert noticed.num_restarts == 0
        again = until(job_id, "is requeued", lambda job: job.num_restarts == 1)
        assert again.phase is not JobPhase.ENDED
        until(job_id, "waits", lambda job: job.phase is JobPhase.PENDING)
        lab.cancel(job_id)
    ended = until(job_id, "has ended", lambda job: job.phase is JobPhase.ENDED)
    assert ended.ending is Ending.CANCELLED


@pytest.mark.usefixtures("refused")
def test_job_that_is_not_requeued_ends_as_preempted(lab: SlurmLab) -> None:
    node = next(iter(lab.nodes.values()))
    job_id = submitted(lab, node, "--no-requeue", partition=PREEMPTIBLE)
    until(job_id, "runs", lambda job: job.phase is JobPhase.RUNNING)
    with lab.taken(node):
        ended = until(job_id, "has ended", lambda job: job.phase is JobPhase.ENDED)
    assert ended.ending is Ending.PREEMPTED


def test_controller_that_is_away_is_told_in_its_own_words(lab: SlurmLab) -> None:
    with lab.outage(), pytest.raises(NoAnswerError, match="Unable to contact slurm controller"):
        SlurmJobs().jobs(["1"])
