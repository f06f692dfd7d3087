"""``parsl-pcm clean`` and ``parsl-pcm doctor`` against a real Slurm."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from parsl_pcm.provider.leftovers.ledger import Ledger
from tests.slurm.on_slurm import broken_commands
from tests.slurm_lab.lab import SlurmLab
from tests.slurm_lab.settings import PREEMPTIBLE
from tests.slurm_lab.waiting import wait_for

CONFIG = """
from parsl import Config
from parsl_pcm import PCMExecutor
from parsl_pcm.provider import OpportunisticProvider, slurm_flavour

def fresh_config(partition={partition!r}, gpu_type={gpu_type!r}, worker_init={worker_init!r}):
    flavour = slurm_flavour(
        partition=partition, gpu_type=gpu_type, walltime="00:30:00", worker_init=worker_init
    )
    provider = OpportunisticProvider([flavour], look_every_s=1.0)
    executor = PCMExecutor(
        label="gpus", provider=provider, cores_per_worker=0.25, print_summary=False
    )
    return Config(
        executors=[executor], run_dir={run_dir!r}, usage_tracking=0, strategy="none"
    )
"""


def parsl_pcm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "parsl_pcm.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def submit(lab: SlurmLab, name: str, *options: str) -> str:
    return lab.run(
        "sbatch", "--parsable", f"--partition={PREEMPTIBLE}", "--gres=gpu:1", "--time=5",
        f"--job-name={name}", "--output=/dev/null", *options, "--wrap", "exec sleep 1000",
    ).strip()  # fmt: skip


def state_of(lab: SlurmLab, job_id: str) -> str:
    return next((job.state for job in lab.queue() if job.job_id == job_id), "")


def test_jobs_that_run_wait_or_start_again_are_cancelled_and_no_others(lab: SlurmLab) -> None:
    ledger = Ledger("runinfo/000/gpus/jobs.jsonl", label="gpus", schedulers=["slurm"])
    runs, again, waits = (f"{ledger.tag}.block-{number}.1.2" for number in range(3))
    ours = [submit(lab, runs), submit(lab, again), submit(lab, waits, "--begin=now+1hour")]
    unrecorded = submit(lab, f"{ledger.tag}.block-3.1.2", "--hold")
    of_others = submit(lab, "mine", "--hold")
    for job_id in ours:
        ledger.submitted(job_id, "slurm")
    for job_id in ours[:2]:
        wait_for(lambda job_id=job_id: state_of(lab, job_id) == "RUNNING", f"{job_id} runs")
    lab.run("scontrol", "requeue", ours[1])

    assert parsl_pcm("clean").returncode == 0
    assert state_of(lab, ours[0]) == "RUNNING", "this process owns the run, and lives"
    ledger.close()
    done = parsl_pcm("clean")

    assert done.returncode == 0, done.stdout
    cancelled = {line.split()[2] for line in done.stdout.splitlines()[1:]}
    assert cancelled == {*ours, unrecorded}
    wait_for(lambda: [job.job_id for job in lab.queue()] == [of_others], "only theirs is left")
    lab.run("scancel", of_others)


@pytest.mark.usefixtures("lab")
def test_jobs_stay_on_record_while_slurm_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger("runinfo/000/gpus/jobs.jsonl", label="gpus", schedulers=["slurm"])
    ledger.submitted("1", "slurm")
    ledger.close()
    with monkeypatch.context() as patch:
        patch.setenv("PATH", broken_commands(tmp_path))
        done = parsl_pcm("clean")
        assert done.returncode == 1
        assert "Unable to contact slurm controller" in done.stdout
    assert parsl_pcm("clean").returncode == 0


@pytest.fixture
def config(lab: SlurmLab, tmp_path: Path) -> str:
    path = tmp_path / "site.py"
    gpu_type = next(iter(lab.nodes))
    settings = {"partition": PREEMPTIBLE, "gpu_type": gpu_type, "worker_init": lab.worker_init}
    path.write_text(CONFIG.format(**settings, run_dir=str(tmp_path / "runinfo")))
    return str(path)


def examined(*arguments: str) -> dict[str, Any]:
    """Return the results by title, and the exit code."""
    done = parsl_pcm("doctor", "--json", *arguments)
    return {**{each["title"]: each for each in json.loads(done.stdout)}, "code": done.returncode}


def test_configuration_that_fits_the_site_is_fine(config: str, lab: SlurmLab) -> None:
    found = examined(config)
    levels = {title: each["level"] for title, each in found.items() if title != "code"}
    run_dir = levels.pop("run directory")
    assert set(levels.values()) == {"OK"}, levels
    assert run_dir in {"OK", "FAIL"}, "temporary folders are seen by one machine only"
    assert "slurm" in found["scheduler"]["detail"]
    assert f"--partition={PREEMPTIBLE}" in found["submit script"]["detail"]
    rows = {(row["PARTITION"], row["TYPE"]): row for row in found["idle GPUs"]["table"]}
    assert {kind for partition, kind in rows if partition == PREEMPTIBLE} == set(lab.nodes)
    assert lab.queue() == []


@pytest.mark.parametrize(
    ("setting", "title", "words"),
    [
        ("partition=gpux", "partition", "no 'gpux'"),
        ("gpu_type=h900", "idle GPUs", "h900"),
        ("gpu_type=h900", "test of script", "not available"),
        ("worker_init=exit 1", "worker_init", "ended the shell"),
    ],
)
def test_what_does_not_fit_is_a_failure(setting: str, title: str, words: str, config: str) -> None:
    found = examined(config, "--set", setting)
    assert found["code"] == 1
    assert found[title]["level"] == "FAIL"
    assert words in found[title]["detail"]


def test_test_job_holds_a_gpu_and_leaves_the_queue_empty(config: str, lab: SlurmLab) -> None:
    found = examined(config, "--submit", "--wait-s", "60")
    job = found["test job"]
    assert job["level"] == "OK", job
    seen = {row["WHAT"]: row["SEEN THERE"] for row in job["table"]}
    assert seen["node"] in lab.nodes.values()
    assert seen["holds"] == "one GPU"
    assert "CUDA_VISIBLE_DEVICES=" in seen["assigned"]
    assert seen["walltime"] == "known"
