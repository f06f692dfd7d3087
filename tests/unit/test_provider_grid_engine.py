"""Grid Engine's answers: real ones of 8.1.9, and broken ones."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from parsl_pcm.provider.schedulers import grid_engine
from parsl_pcm.provider.schedulers.grid_engine import (
    TYPE_RESOURCES,
    GridEngineJobs,
    GridEngineProbe,
    idle_gpus,
    jobs,
)
from parsl_pcm.provider.schedulers.observations import JobPhase, LookError

REAL = Path(__file__).parents[1] / "recorded" / "grid_engine" / "8.1.9"


def real(name: str) -> str:
    return (REAL / name).read_text()


def num_idle(output: str) -> dict[tuple[str, str], int]:
    found = idle_gpus(output, "gpu", TYPE_RESOURCES)
    return {(each.partition, each.gpu_type): each.num_idle for each in found}


def test_what_is_left_of_a_host_is_idle_in_each_of_its_queues() -> None:
    found = num_idle(real("qhost-running.xml"))
    assert found == {("preempt", "a10"): 1, ("dedicated", "a10"): 1}


@pytest.mark.parametrize("letter", ["d", "s", "S", "E", "au", "C"])
def test_queue_in_any_state_takes_no_jobs(letter: str) -> None:
    output = real("qhost-running.xml").replace(
        "qname='preempt' name='state_string'>", f"qname='preempt' name='state_string'>{letter}"
    )
    assert num_idle(output) == {("preempt", "a10"): 0, ("dedicated", "a10"): 1}


def test_real_state_of_suspended_and_disabled_queues_is_seen() -> None:
    assert num_idle(real("qhost-subordinate.xml"))["preempt", "a10"] == 0
    assert num_idle(real("qhost-subordinate.xml"))["dedicated", "a10"] == 1
    assert num_idle(real("qhost-disabled.xml"))["preempt", "a10"] == 0


def test_queue_without_a_free_slot_takes_no_jobs() -> None:
    output = real("qhost-running.xml").replace(
        "qname='dedicated' name='slots_used'>0", "qname='dedicated' name='slots_used'>4"
    )
    assert num_idle(output)["dedicated", "a10"] == 0


def test_hosts_without_gpus_are_left_out() -> None:
    assert num_idle(real("qhost-running.xml").replace("'gpu'", "'licences'")) == {}


@pytest.mark.parametrize(
    ("name", "job_id", "state", "phase", "num_restarts", "notice_s"),
    [
        ("qstat-suspended.xml", "1", "s", JobPhase.SUSPENDED, 0, None),
        ("qstat-subordinate.xml", "1", "S", JobPhase.SUSPENDED, 0, None),
        ("qstat-subordinate.xml", "4", "r", JobPhase.RUNNING, 0, None),
        ("qstat-requeued.xml", "5", "Rq", JobPhase.PENDING, 1, None),
        ("qstat-restarted.xml", "5", "Rr", JobPhase.RUNNING, 1, None),
        ("qstat-restarted.xml", "1", "dr", JobPhase.RUNNING, 0, 0.0),
        ("qstat-restarted.xml", "2", "qw", JobPhase.PENDING, 0, None),
        ("qstat-restarted.xml", "3", "hqw", JobPhase.PENDING, 0, None),
        ("qstat-restarted.xml", "6", "Eqw", JobPhase.PENDING, 0, None),
    ],
)
def test_real_states_of_jobs(
    name: str, job_id: str, state: str, phase: JobPhase, num_restarts: int, notice_s: float | None
) -> None:
    found = jobs(real(name))[job_id]
    seen = (found.words, found.phase, found.num_restarts, found.notice_s)
    assert seen == (state, phase, num_restarts, notice_s)


def test_commands_ask_for_the_names_of_the_site(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def ask(command: list[str], *, timeout_s: float) -> str:
        commands.append(command)
        return real("qhost-running.xml" if command[0] == "qhost" else "qstat-restarted.xml")

    monkeypatch.setattr(grid_engine, "ask", ask)
    found = GridEngineProbe(gpu_resource="gpu", type_resource="card").look()
    assert {each.gpu_type for each in found} == {""}
    assert commands[0] == ["qhost", "-q", "-F", "gpu,card", "-xml"]
    assert list(GridEngineJobs().jobs(["5", "4711"])) == ["5"]
    assert GridEngineJobs().jobs([]) == {}
    assert len(commands) == 2


@pytest.mark.parametrize("junk", ["", "no XML", "<job_info>", "<a><job_list/></a>", "\x00"])
def test_other_answers_are_refused(junk: str) -> None:
    with pytest.raises(LookError):
        jobs(junk)


def test_broken_answers_raise_nothing_but_look_errors() -> None:
    num_refused = 0
    for seed in range(80):
        chance = random.Random(seed)
        for name, read in (("qstat-restarted.xml", jobs), ("qhost-running.xml", num_idle)):
            whole = real(name)
            start = chance.randrange(len(whole))
            junk = chance.choice(["", "<", "&", "9" * 5000, "\x00", "]]>"])
            try:
                read(whole[:start] + junk + whole[start + chance.randrange(20) :])
            except LookError:
                num_refused += 1
    assert num_refused > 0
