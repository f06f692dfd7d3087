"""``parsl-pcm clean``: what it prints and its exit code."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from parsl_pcm.cli import clean
from parsl_pcm.provider.leftovers import cancelling, queues
from parsl_pcm.provider.leftovers.ledger import Ledger, cleaning_command
from parsl_pcm.provider.schedulers.observations import LookError


class FakeSlurm:
    """A queue with one job, which may refuse to leave."""

    name = "x"
    is_there = True
    is_stubborn = False

    def __call__(self, command: Sequence[str]) -> str:
        if command[0] == "squeue":
            return f"1|RUNNING|{self.name}\n" if self.is_there else ""
        if self.is_stubborn:
            raise LookError("scancel failed:\n  Access/permission denied")
        self.is_there = False
        return ""


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    fake = FakeSlurm()
    monkeypatch.setattr(queues, "ask", fake)
    monkeypatch.setattr(cancelling, "ask", fake)
    return fake


@pytest.fixture
def leftover(tmp_path: Path) -> Path:
    """Return the ledger of a run that ended and left one job."""
    ledger = Ledger(tmp_path / "runinfo/000/gpus/jobs.jsonl", label="gpus")
    ledger.submitted("1", "slurm")
    ledger.close()
    return ledger.path


def parsl_pcm(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    clean.add_parser(parser.add_subparsers())
    parsed = parser.parse_args(arguments)
    return int(parsed.func(parsed))


def test_default_is_the_run_directory_here(
    leftover: Path, slurm: FakeSlurm, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parsl_pcm("clean") == 0
    assert not slurm.is_there
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["RUN", "SCHEDULER", "JOB", "STATE", "OUTCOME"]
    assert row.split() == ["runinfo/000/gpus", "slurm", "1", "RUNNING", "cancelled"]
    assert row.index("cancelled") == header.index("OUTCOME")


def test_second_time_nothing_is_left(
    leftover: Path, slurm: FakeSlurm, capsys: pytest.CaptureFixture[str]
) -> None:
    parsl_pcm("clean", "--quiet")
    assert parsl_pcm("clean") == 0
    assert capsys.readouterr().out == "Nothing is left of 1 run that ended.\n"


def test_dry_run_leaves_the_job_and_says_so_by_its_exit_code(
    leftover: Path, slurm: FakeSlurm, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parsl_pcm("clean", "--dry-run") == 1
    assert slurm.is_there
    assert "would be cancelled" in capsys.readouterr().out


def test_job_that_cannot_be_cancelled_is_an_exit_code_and_one_line(
    leftover: Path, slurm: FakeSlurm, capsys: pytest.CaptureFixture[str]
) -> None:
    slurm.is_stubborn = True
    assert parsl_pcm("clean") == 1
    _, row = capsys.readouterr().out.splitlines()
    assert row.endswith("scancel failed: Access/permission denied")


def test_quiet_speaks_of_failures_only(
    leftover: Path, slurm: FakeSlurm, capsys: pytest.CaptureFixture[str]
) -> None:
    slurm.is_stubborn = True
    assert parsl_pcm("clean", "--quiet") == 1
    assert "permission denied" in capsys.readouterr().err
    slurm.is_stubborn = False
    assert parsl_pcm("clean", "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_living_run_is_mentioned(
    tmp_path: Path, slurm: FakeSlurm, capsys: pytest.CaptureFixture[str]
) -> None:
    Ledger(tmp_path / "runinfo/000/gpus/jobs.jsonl", label="gpus").submitted("1", "slurm")
    assert parsl_pcm("clean") == 0
    assert "left alone" in capsys.readouterr().out
    assert slurm.is_there


def test_missing_directory_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert parsl_pcm("clean") == 2
    assert "runinfo does not exist" in capsys.readouterr().err


def test_directory_without_runs_is_clean(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parsl_pcm("clean", str(tmp_path)) == 0
    assert "No run in" in capsys.readouterr().out


def test_command_of_the_interchange_finds_a_job_that_was_on_its_way(
    tmp_path: Path, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "jobs.jsonl"
    slurm.name = f"{Ledger(path, label='gpus', schedulers=['slurm']).tag}.block-0.1.2"
    slurm.is_there = False
    path.write_text(path.read_text().replace(f'"pid":{os.getpid()}', f'"pid":{2**22 + 1}'))

    def sbatch_ends(_: float) -> None:
        slurm.is_there = True

    monkeypatch.setattr(clean.time, "sleep", sbatch_ends)
    assert parsl_pcm(*cleaning_command(path)[3:]) == 0
    assert not slurm.is_there
    assert '"ended"' in path.read_text()
