"""PBS's answers, written after its Reference Guide and the known faults of its JSON."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from parsl_pcm.provider.schedulers import pbspro
from parsl_pcm.provider.schedulers.observations import Ending, IdleGpus, JobPhase, LookError
from parsl_pcm.provider.schedulers.pbspro import (
    TYPE_RESOURCES,
    PBSJobs,
    PBSProbe,
    idle_gpus,
    job,
    jobs_of_json,
    jobs_of_text,
    vnodes_of_json,
    vnodes_of_text,
)

RECORDED = Path(__file__).parents[1] / "recorded" / "pbspro"
NODES, NODES_TEXT = (
    (RECORDED / "pbsnodes.json").read_text(),
    (RECORDED / "pbsnodes.txt").read_text(),
)
QUEUE, QUEUE_TEXT = (RECORDED / "qstat.json").read_text(), (RECORDED / "qstat.txt").read_text()


def gpus(found: Sequence[IdleGpus]) -> dict[tuple[str, str], tuple[int, int]]:
    return {(each.partition, each.gpu_type): (each.num_idle, each.num_total) for each in found}


def test_nodes_are_counted_by_queue_and_type() -> None:
    assert gpus(idle_gpus(vnodes_of_json(NODES), "ngpus", TYPE_RESOURCES)) == {
        ("preemptable", "a100"): (7, 8),
        ("prod", "a100"): (4, 4),
        # One that is taken whole, one that is down.
        ("", "a100"): (0, 4),
        ("", ""): (1, 2),
    }


def test_text_is_read_as_well() -> None:
    assert gpus(idle_gpus(vnodes_of_text(NODES_TEXT), "ngpus", TYPE_RESOURCES)) == {
        ("preemptable", "a100"): (3, 4),
        ("", "a100"): (0, 4),
    }


@pytest.mark.parametrize(
    ("job_id", "phase", "ending", "num_restarts", "exit_code"),
    [
        ("11.pbs", JobPhase.PENDING, None, 0, None),
        ("12.pbs", JobPhase.RUNNING, None, 0, None),
        ("13.pbs", JobPhase.PENDING, None, 1, None),
        ("14.pbs", JobPhase.RUNNING, None, 0, None),
        ("15.pbs", JobPhase.ENDED, Ending.FINISHED, 0, 0),
        ("16.pbs", JobPhase.ENDED, Ending.FAILED, 0, 3),
        ("17.pbs", JobPhase.ENDED, Ending.TIMED_OUT, 0, -29),
        ("18.pbs", JobPhase.ENDED, Ending.CANCELLED, 0, 143),
        ("19.pbs", JobPhase.ENDED, Ending.FAILED, 1, 137),
        ("20.pbs", JobPhase.SUSPENDED, None, 0, None),
        ("21.pbs", JobPhase.PENDING, None, 21, None),
        ("22.pbs", JobPhase.ENDED, Ending.PREEMPTED, 0, 143),
        ("23.pbs", JobPhase.ENDED, Ending.CANCELLED, 0, None),
    ],
)
def test_states_of_jobs(
    job_id: str, phase: JobPhase, ending: Ending | None, num_restarts: int, exit_code: int | None
) -> None:
    found = job(job_id, dict(jobs_of_json(QUEUE))[job_id])
    seen = (found.phase, found.ending, found.num_restarts, found.exit_code)
    assert seen == (phase, ending, num_restarts, exit_code)


def test_comment_reaches_the_user() -> None:
    found = job("21.pbs", dict(jobs_of_json(QUEUE))["21.pbs"])
    assert found.words == "H (job held, too many failed attempts to run)"


def test_jobs_in_text_are_read_as_well() -> None:
    found = dict(jobs_of_text(QUEUE_TEXT))
    assert job("12.pbs", found["12.pbs"]).num_restarts == 1
    assert job("15.pbs", found["15.pbs"]).ending is Ending.FINISHED


class FakePBS:
    """Answers as the commands do."""

    def __init__(self, json_form: str, text_form: str, *, has_history: bool = True) -> None:
        self.forms = {True: json_form, False: text_form}
        self.has_history = has_history
        self.commands: list[list[str]] = []

    def ask(self, command: list[str], *, timeout_s: float, accepted: Sequence[int] = (0,)) -> str:
        self.commands.append(command)
        if "-x" in command and not self.has_history:
            raise LookError("qstat: PBS is not configured to maintain job history")
        return self.forms["json" in command]


def test_server_name_may_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pbspro, "ask", FakePBS(QUEUE, QUEUE_TEXT).ask)
    assert list(PBSJobs().jobs(["12.pbs.site.org", "4711.pbs"])) == ["12.pbs.site.org"]
    assert PBSJobs().jobs([]) == {}


def test_text_is_asked_for_where_json_is_beyond_repair(monkeypatch: pytest.MonkeyPatch) -> None:
    pbs = FakePBS(QUEUE.replace("block", 'a "block" {', 1), QUEUE_TEXT)
    monkeypatch.setattr(pbspro, "ask", pbs.ask)
    book = PBSJobs()
    assert book.jobs(["12.pbs"])["12.pbs"].num_restarts == 1
    assert book.jobs(["12.pbs"])["12.pbs"].num_restarts == 1
    assert ["json" in command for command in pbs.commands] == [True, False, False]


def test_site_without_a_job_history_is_asked_without(monkeypatch: pytest.MonkeyPatch) -> None:
    pbs = FakePBS(QUEUE, QUEUE_TEXT, has_history=False)
    monkeypatch.setattr(pbspro, "ask", pbs.ask)
    book = PBSJobs()
    assert book.jobs(["12.pbs"])
    assert book.jobs(["12.pbs"])
    assert ["-x" in command for command in pbs.commands] == [True, False, False]


def test_unknown_jobs_alone_are_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pbspro, "ask", FakePBS("", "").ask)
    assert PBSJobs().jobs(["12.pbs"]) == {}


def test_probe_takes_the_names_of_the_site(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pbspro, "ask", FakePBS(NODES.replace("gputype", "card"), "").ask)
    assert ("prod", "a100") in gpus(PBSProbe(type_resource="card").look())
    assert PBSProbe(gpu_resource="naccelerators").look() == []


def test_broken_answers_raise_nothing_but_look_errors() -> None:
    readers = {
        NODES: lambda text: idle_gpus(vnodes_of_json(text), "ngpus", TYPE_RESOURCES),
        NODES_TEXT: lambda text: idle_gpus(vnodes_of_text(text), "ngpus", TYPE_RESOURCES),
        QUEUE: lambda text: [job(*found) for found in jobs_of_json(text)],
        QUEUE_TEXT: lambda text: [job(*found) for found in jobs_of_text(text)],
    }
    num_refused = 0
    for seed in range(50):
        chance = random.Random(seed)
        for whole, read in readers.items():
            start = chance.randrange(len(whole))
            junk = chance.choice(["", "}", "null", "9" * 5000, " = ", '"'])
            try:
                read(whole[:start] + junk + whole[start + chance.randrange(30) :])
            except LookError:
                num_refused += 1
    assert num_refused > 0
