"""The ledger of jobs: what is on disk after each call, and what a reader makes of it."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from parsl.providers import LocalProvider

from parsl_pcm.provider.leftovers.ledger import (
    Ledger,
    Owner,
    cleaning_command,
    is_owner_alive,
    is_same_process,
    process_start_s,
    read_ledger,
    scheduler_kind,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runinfo" / "000" / "gpus" / "jobs.jsonl"


def open_ids(path: Path) -> list[str]:
    return [job.job_id for job in read_ledger(path).open_jobs]


def owner(**fields: object) -> Owner:
    mine = {
        "hostname": socket.gethostname(),
        "pid": os.getpid(),
        "process_start_s": psutil.Process().create_time(),
        "label": "gpus",
        "tag": "pcm-1",
    }
    return Owner(**{**mine, **fields})  # type: ignore[arg-type]


def test_new_ledger_tells_its_owner_at_once(path: Path) -> None:
    ledger = Ledger(path, label="gpus", schedulers=["slurm"])
    contents = read_ledger(path)
    assert contents.owner is not None
    assert (contents.owner.pid, contents.owner.label) == (os.getpid(), "gpus")
    assert contents.owner.tag == ledger.tag
    assert contents.schedulers == ("slurm",)
    assert contents.open_jobs == ()


def test_only_its_owner_can_read_it(path: Path) -> None:
    Ledger(path, label="gpus")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_runs_have_different_tags(tmp_path: Path) -> None:
    assert Ledger(tmp_path / "a", label="x").tag != Ledger(tmp_path / "b", label="x").tag


def test_job_is_open_from_its_submission_to_its_end(path: Path) -> None:
    ledger = Ledger(path, label="gpus")
    ledger.submitted("7", "slurm", f"{ledger.tag}.block-0")
    ledger.submitted("8", "condor", f"{ledger.tag}.block-1")
    assert open_ids(path) == ["7", "8"]
    ledger.ended("7")
    (job,) = read_ledger(path).open_jobs
    assert (job.job_id, job.scheduler, job.name) == ("8", "condor", f"{ledger.tag}.block-1")
    assert read_ledger(path).schedulers == ("slurm", "condor")


def test_end_of_an_unknown_job_is_no_matter(path: Path) -> None:
    Ledger(path, label="gpus").ended("7")
    assert open_ids(path) == []


def test_line_cut_short_by_a_crash_is_skipped(path: Path) -> None:
    ledger = Ledger(path, label="gpus")
    ledger.submitted("7", "slurm", "a")
    ledger.submitted("8", "slurm", "b")
    path.write_bytes(path.read_bytes()[:-10])
    assert open_ids(path) == ["7"]


def test_record_after_a_line_cut_short_is_whole(path: Path) -> None:
    ledger = Ledger(path, label="gpus")
    ledger.submitted("7", "slurm", "a")
    path.write_bytes(path.read_bytes()[:-10])
    Ledger(path, label="gpus").submitted("8", "slurm", "b")
    assert open_ids(path) == ["8"]


def test_empty_ledger_has_no_owner(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.touch()
    assert read_ledger(path).owner is None


def test_run_in_the_same_directory_continues_the_ledger_and_its_tag(path: Path) -> None:
    first = Ledger(path, label="gpus")
    first.submitted("7", "slurm", "a")
    first.close()
    second = Ledger(path, label="gpus")
    assert second.tag == first.tag
    assert open_ids(path) == ["7"]
    assert not read_ledger(path).is_closed


def test_closed_ledger_says_so_and_may_be_closed_again(path: Path) -> None:
    ledger = Ledger(path, label="gpus")
    assert not read_ledger(path).is_closed
    ledger.close()
    ledger.close()
    assert read_ledger(path).is_closed


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's full device")
def test_full_disk_does_not_stop_the_run(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger(path, label="gpus")
    with open("/dev/full", "wb") as full:
        os.dup2(full.fileno(), ledger._file)
    ledger.submitted("7", "slurm", "pcm-x.block-0")
    assert "pcm-x.block-0" in caplog.text


def test_process_that_has_not_been_waited_for_counts_as_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout:
        child.stdout.read()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert psutil.pid_exists(child.pid)
    assert process_start_s(child.pid) is None
    child.wait()


def test_owner_is_alive_on_its_own_machine_only_if_number_and_start_agree() -> None:
    assert is_owner_alive(owner()) is True
    assert is_owner_alive(owner(process_start_s=1e9)) is False
    assert is_owner_alive(owner(pid=2**22 + 1)) is False


def test_owner_on_another_machine_is_unknown() -> None:
    assert is_owner_alive(owner(hostname="elsewhere")) is None


def test_local_job_remembers_when_its_process_started(path: Path) -> None:
    Ledger(path, label="gpus").submitted(str(os.getpid()), "local")
    (job,) = read_ledger(path).open_jobs
    assert job.process_start_s is not None
    assert is_same_process(os.getpid(), job.process_start_s)


@pytest.mark.parametrize(
    ("label", "kind"),
    [("slurm", "slurm"), ("pbspro", "pbs"), ("torque", "pbs"), ("LSF", "lsf"), ("aws", "aws")],
)
def test_kind_follows_from_the_label_of_the_provider(label: str, kind: str) -> None:
    assert scheduler_kind(SimpleNamespace(label=label)) == kind  # type: ignore[arg-type]


def test_local_provider_is_local() -> None:
    assert scheduler_kind(LocalProvider()) == "local"


def test_other_clusters_are_part_of_the_kind() -> None:
    provider = SimpleNamespace(label="slurm", clusters="alpha")
    assert scheduler_kind(provider) == "slurm@alpha"  # type: ignore[arg-type]


def test_cleaning_command_names_the_ledger(path: Path) -> None:
    command = cleaning_command(path)
    assert command[:4] == (sys.executable, "-m", "parsl_pcm.cli", "clean")
    assert command[-1] == str(path)
