"""Which jobs of which runs are cancelled, and what is said of the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from parsl_pcm.provider.leftovers import cancelling, queues
from parsl_pcm.provider.leftovers.ledger import Ledger, read_ledger
from parsl_pcm.provider.leftovers.orphans import Cleaner, Life, read_run, runs_below
from parsl_pcm.provider.schedulers.observations import LookError

DEAD = 2**22 + 1
"""No process has this number: it is above Linux's limit."""


class FakeSlurm:
    """squeue and scancel over a table of job names and states."""

    def __init__(self) -> None:
        self.jobs: dict[str, tuple[str, str]] = {}
        self.num_looks = 0
        self.stubborn: set[str] = set()
        self.is_away = False

    def __call__(self, command: Sequence[str]) -> str:
        if self.is_away:
            raise LookError("squeue failed with exit code 1: Unable to contact slurm controller")
        if command[0] == "squeue":
            self.num_looks += 1
            return "".join(f"{each}|{state}|{name}\n" for each, (name, state) in self.jobs.items())
        for job_id in set(command[1:]) - self.stubborn:
            self.jobs.pop(job_id, None)
        if self.stubborn & set(command[1:]):
            raise LookError("scancel failed: Access/permission denied")
        return ""


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    fake = FakeSlurm()
    monkeypatch.setattr(queues, "ask", fake)
    monkeypatch.setattr(cancelling, "ask", fake)
    return fake


def run_of(path: Path, *, pid: int = DEAD, hostname: str | None = None) -> Ledger:
    """Return a new ledger whose owner has another process number or machine."""
    ledger = Ledger(path, label="gpus", schedulers=["slurm"])
    owner = read_ledger(path).owner
    assert owner is not None
    changed = msgspec.structs.replace(owner, pid=pid, hostname=hostname or owner.hostname)
    path.write_bytes(msgspec.json.encode(changed) + b"\n")
    return ledger


def outcomes(path: Path, cleaner: Cleaner | None = None) -> dict[str, tuple[str, bool]]:
    found = (cleaner or Cleaner()).clean(read_run(path))
    return {each.job.job_id if each.job else "-": (each.outcome, each.is_gone) for each in found}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runinfo" / "000" / "gpus" / "jobs.jsonl"


def test_recorded_jobs_of_a_dead_run_are_cancelled(path: Path, slurm: FakeSlurm) -> None:
    ledger = run_of(path)
    ledger.submitted("1", "slurm", "a name that the site changed")
    slurm.jobs = {"1": ("x", "RUNNING"), "2": ("of somebody else", "RUNNING")}
    assert outcomes(path) == {"1": ("cancelled", True)}
    assert list(slurm.jobs) == ["2"]


def test_job_that_no_ledger_knows_is_found_by_the_tag_in_its_name(
    path: Path, slurm: FakeSlurm
) -> None:
    ledger = run_of(path)
    slurm.jobs = {"1": (f"{ledger.tag}.block-0.1.2", "PENDING")}
    assert outcomes(path) == {"1": ("cancelled", True)}


def test_requeued_job_that_is_still_completing_is_cancelled(path: Path, slurm: FakeSlurm) -> None:
    run_of(path).submitted("1", "slurm")
    slurm.jobs = {"1": ("x", "COMPLETING")}
    outcomes(path)
    assert slurm.jobs == {}


def test_job_that_has_ended_is_not_mentioned(path: Path, slurm: FakeSlurm) -> None:
    run_of(path).submitted("1", "slurm")
    assert outcomes(path) == {}


def test_cancelled_jobs_are_recorded_as_ended(path: Path, slurm: FakeSlurm) -> None:
    run_of(path).submitted("1", "slurm")
    slurm.jobs = {"1": ("x", "RUNNING")}
    outcomes(path)
    assert read_ledger(path).open_jobs == ()


def test_dry_run_cancels_and_records_nothing(path: Path, slurm: FakeSlurm) -> None:
    run_of(path).submitted("1", "slurm")
    slurm.jobs = {"1": ("x", "RUNNING")}
    assert outcomes(path, Cleaner(is_dry=True)) == {"1": ("would be cancelled", False)}
    assert list(slurm.jobs) == ["1"]
    assert len(read_ledger(path).open_jobs) == 1


def test_run_that_lives_is_left_alone(path: Path, slurm: FakeSlurm) -> None:
    Ledger(path, label="gpus", schedulers=["slurm"]).submitted("1", "slurm")
    slurm.jobs = {"1": ("x", "RUNNING")}
    assert read_run(path).life is Life.ALIVE
    assert outcomes(path, Cleaner(is_forced=True)) == {}
    assert list(slurm.jobs) == ["1"]


def test_process_that_ended_its_run_in_order_may_live_on(path: Path, slurm: FakeSlurm) -> None:
    ledger = Ledger(path, label="gpus", schedulers=["slurm"])
    ledger.submitted("1", "slurm")
    ledger.close()
    slurm.jobs = {"1": ("x", "RUNNING")}
    assert outcomes(path) == {"1": ("cancelled", True)}


def test_run_that_ended_in_order_without_jobs_asks_nobody(path: Path, slurm: FakeSlurm) -> None:
    ledger = Ledger(path, label="gpus", schedulers=["slurm"])
    ledger.close()
    assert outcomes(path) == {}
    assert slurm.num_looks == 0


def test_run_on_another_machine_needs_force(path: Path, slurm: FakeSlurm) -> None:
    run_of(path, hostname="login2").submitted("1", "slurm")
    slurm.jobs = {"1": ("x", "RUNNING")}
    ((outcome, is_gone),) = outcomes(path).values()
    assert "login2" in outcome
    assert "--force" in outcome
    assert not is_gone
    assert outcomes(path, Cleaner(is_forced=True)) == {"1": ("cancelled", True)}


def test_processes_on_another_machine_are_no_business_of_force(path: Path) -> None:
    ledger = run_of(path, hostname="login2")
    ledger.submitted("1", "local")
    path.write_text(path.read_text().replace('"schedulers":["slurm"]', '"schedulers":[]'))
    ((outcome, is_gone),) = outcomes(path, Cleaner(is_forced=True)).values()
    assert "run this command there" in outcome
    assert not is_gone


def test_refusal_comes_in_the_schedulers_words_for_the_jobs_that_stay(
    path: Path, slurm: FakeSlurm
) -> None:
    ledger = run_of(path)
    ledger.submitted("1", "slurm")
    ledger.submitted("2", "slurm")
    slurm.jobs = {"1": ("x", "RUNNING"), "2": ("y", "RUNNING")}
    slurm.stubborn = {"2"}
    found = outcomes(path)
    assert found["1"] == ("cancelled", True)
    assert found["2"] == ("scancel failed: Access/permission denied", False)


def test_scheduler_that_is_away_is_reported_with_its_words(path: Path, slurm: FakeSlurm) -> None:
    run_of(path).submitted("1", "slurm")
    slurm.is_away = True
    ((outcome, is_gone),) = outcomes(path).values()
    assert "Unable to contact slurm controller" in outcome
    assert not is_gone


def test_jobs_of_an_unknown_scheduler_are_reported(path: Path, slurm: FakeSlurm) -> None:
    run_of(path).submitted("1", "kubernetes")
    ((outcome, is_gone),) = outcomes(path).values()
    assert "the site's own tools" in outcome
    assert not is_gone


def test_scheduler_is_asked_once_for_all_runs(tmp_path: Path, slurm: FakeSlurm) -> None:
    for name in "abc":
        run_of(tmp_path / name / "jobs.jsonl").submitted(name, "slurm")
    cleaner = Cleaner()
    for run in runs_below([tmp_path]):
        cleaner.clean(run)
    assert slurm.num_looks == 1


def test_runs_are_found_from_every_level(path: Path) -> None:
    Ledger(path, label="gpus")
    for place in (path.parents[2], path.parents[1], path.parent, path):
        assert [run.ledger for run in runs_below([place])] == [path]


def test_place_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist.*runinfo"):
        runs_below([tmp_path / "nowhere"])
