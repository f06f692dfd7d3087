"""Commands that cancel jobs; ending real processes is in tests/integration/test_cli.py."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from parsl_pcm.provider.leftovers import cancelling
from parsl_pcm.provider.leftovers.cancelling import CANCEL_COMMANDS, MAX_IDS_PER_COMMAND, cancel
from parsl_pcm.provider.leftovers.ledger import KINDS, LOCAL, SubmittedJob
from parsl_pcm.provider.leftovers.queues import QueuedJob
from parsl_pcm.provider.schedulers.observations import LookError


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    commands: list[tuple[str, ...]] = []
    monkeypatch.setattr(cancelling, "ask", lambda command: commands.append(tuple(command)) or "")
    return commands


def test_every_kind_that_has_a_queue_can_be_cancelled() -> None:
    assert set(CANCEL_COMMANDS) == set(KINDS.values()) - {LOCAL}


def test_many_jobs_take_several_commands(asked: list[tuple[str, ...]]) -> None:
    cancel("slurm", [str(number) for number in range(MAX_IDS_PER_COMMAND + 1)])
    assert [len(command) for command in asked] == [MAX_IDS_PER_COMMAND + 1, 2]


def test_other_clusters_are_named(asked: list[tuple[str, ...]]) -> None:
    cancel("slurm@alpha", ["7"])
    assert asked == [("scancel", "--clusters=alpha", "7")]


def test_condor_forgets_jobs_that_it_would_keep(asked: list[tuple[str, ...]]) -> None:
    cancel("condor", ["7.0"])
    assert asked == [("condor_rm", "7.0"), ("condor_rm", "-forcex", "7.0")]


def complaining(command: Sequence[str]) -> str:
    raise LookError("Invalid job id specified")


def test_complaint_about_a_job_that_has_ended_is_no_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cancelling, "ask", complaining)
    monkeypatch.setattr(cancelling, "jobs_in_queue", lambda _: [])
    assert cancel("slurm", ["7"]) == {}


def test_job_that_is_on_its_way_out_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    leaving = QueuedJob(job_id="7", name="x", state="COMPLETING", is_leaving=True)
    monkeypatch.setattr(cancelling, "ask", complaining)
    monkeypatch.setattr(cancelling, "jobs_in_queue", lambda _: [leaving])
    assert cancel("slurm", ["7"]) == {}


def test_process_with_another_start_is_a_stranger() -> None:
    job = SubmittedJob(job_id="1", scheduler=LOCAL, process_start_s=12345.0)
    assert cancelling.running_processes([job]) == []
