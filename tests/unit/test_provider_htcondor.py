"""HTCondor's answers, written after its manual, and broken ones."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from parsl_pcm.provider.schedulers import htcondor
from parsl_pcm.provider.schedulers.htcondor import CondorJobs, CondorProbe, idle_gpus, jobs
from parsl_pcm.provider.schedulers.observations import Ending, JobPhase, LookError

RECORDED = Path(__file__).parents[1] / "recorded" / "htcondor"
STATUS = (RECORDED / "condor_status.json").read_text()
QUEUE = (RECORDED / "condor_q.json").read_text()


def test_slots_are_counted_by_the_name_of_their_gpus() -> None:
    found = {each.gpu_type: (each.num_idle, each.num_total) for each in idle_gpus(STATUS, "")}
    assert found == {
        # Three left on the first; the second has no CPU left; the third is drained.
        "nvidia a100-sxm4-40gb": (3, 8),
        # Static slots, one of them claimed.
        "quadro rtx 6000": (1, 2),
        # Asleep, and kept by its owner.
        "nvidia l40s": (0, 0),
        # What is an expression is not known.
        "": (0, 2),
    }


@pytest.mark.parametrize(
    ("job_id", "phase", "ending", "num_restarts", "exit_code"),
    [
        ("118907.0", JobPhase.PENDING, None, 0, None),
        ("118908.0", JobPhase.RUNNING, None, 0, None),
        ("118909.0", JobPhase.PENDING, None, 1, None),
        ("118910.0", JobPhase.RUNNING, None, 1, None),
        ("118911.0", JobPhase.ENDED, Ending.FINISHED, 0, 0),
        ("118912.0", JobPhase.ENDED, Ending.FAILED, 0, 3),
        ("118913.0", JobPhase.ENDED, Ending.FAILED, 0, 137),
        ("118914.0", JobPhase.PENDING, None, 1, None),
        ("118915.0", JobPhase.ENDED, Ending.CANCELLED, 0, None),
        ("118916.0", JobPhase.RUNNING, None, 0, None),
        ("118917.0", JobPhase.SUSPENDED, None, 0, None),
    ],
)
def test_states_of_jobs(
    job_id: str, phase: JobPhase, ending: Ending | None, num_restarts: int, exit_code: int | None
) -> None:
    found = jobs(QUEUE)[job_id]
    seen = (found.phase, found.ending, found.num_restarts, found.exit_code)
    assert seen == (phase, ending, num_restarts, exit_code)


def test_reasons_reach_the_user() -> None:
    assert jobs(QUEUE)["118914.0"].words.startswith("Held (Job has gone over memory limit")
    assert jobs(QUEUE)["118909.0"].words.startswith("Idle (claim was preempted")


def test_job_that_delivers_its_files_has_no_time_left() -> None:
    assert jobs(QUEUE)["118916.0"].notice_s == 0.0


def test_no_ads_are_no_output() -> None:
    assert idle_gpus("", "") == []
    assert jobs("\n") == {}
    assert jobs("[\n]\n") == {}


def test_commands_name_pool_constraint_and_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def ask(command: list[str], *, timeout_s: float) -> str:
        commands.append(command)
        return STATUS if command[0] == "condor_status" else QUEUE

    monkeypatch.setattr(htcondor, "ask", ask)
    found = CondorProbe(pool="cm.site", constraint="GPUs_Capability >= 8.0").look()
    assert {each.partition for each in found} == {"cm.site"}
    assert list(CondorJobs().jobs(["118908.0", "1.0"])) == ["118908.0"]
    assert CondorJobs().jobs([]) == {}
    assert commands[0][1:3] == ["-pool", "cm.site"]
    assert commands[0][5].endswith("&& (GPUs_Capability >= 8.0)")
    assert commands[1][:3] == ["condor_q", "118908.0", "1.0"]
    assert len(commands) == 2


@pytest.mark.parametrize("junk", ["{}", "3", '[{"JobStatus": 2}]', "[3]", "-- Failed to fetch ads"])
def test_other_answers_are_refused(junk: str) -> None:
    with pytest.raises(LookError):
        jobs(junk)


def test_broken_answers_raise_nothing_but_look_errors() -> None:
    num_refused = 0
    for seed in range(50):
        chance = random.Random(seed)
        start = chance.randrange(len(QUEUE))
        for whole, read in ((QUEUE, jobs), (STATUS, lambda text: idle_gpus(text, ""))):
            try:
                read(
                    whole[:start]
                    + chance.choice(["", "}", "null", "9" * 5000])
                    + whole[start + 9 :]
                )
            except LookError:
                num_refused += 1
    assert num_refused > 0
