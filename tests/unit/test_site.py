"""What the site's environment says of a block."""

from __future__ import annotations

from pathlib import Path

import pytest

from parsl_pcm.manager.site import GpuFacts, gpu_facts, num_restarts, remaining_s

NOW_S = 1_700_000_000.0


def remaining(since_start_s: float = 0.0, **environment: str) -> float | None:
    return remaining_s(environment, now_wall_s=NOW_S, since_start_s=since_start_s)


def end_in(seconds: float) -> str:
    return str(int(NOW_S + seconds))


# --- remaining time ---------------------------------------------------------------------------


def test_end_is_unknown_where_nobody_tells() -> None:
    assert remaining() is None
    assert remaining(SLURM_JOB_END_TIME="", PARSL_PCM_WALLTIME_S=" ") is None


def test_end_that_slurm_tells_is_taken() -> None:
    assert remaining(SLURM_JOB_END_TIME=end_in(90), PARSL_PCM_WALLTIME_S="60") == 90


def test_walltime_counts_from_the_start_of_the_block() -> None:
    told = {"PARSL_PCM_WALLTIME_S": "600", "PARSL_PCM_BLOCK_AGE_S": "100"}
    assert remaining(since_start_s=2.5, **told) == 497.5
    assert remaining(PARSL_PCM_WALLTIME_S="600", PARSL_PCM_BLOCK_AGE_S="") == 600


@pytest.mark.parametrize("garbage", ["Unknown", "12:30", "nan", "inf", "-5"])
def test_garbage_is_logged_and_not_used(garbage: str, caplog: pytest.LogCaptureFixture) -> None:
    assert remaining(SLURM_JOB_END_TIME=garbage, PARSL_PCM_WALLTIME_S="60") == 60
    assert f"SLURM_JOB_END_TIME={garbage}" in caplog.text
    assert remaining(PARSL_PCM_WALLTIME_S=garbage) is None
    assert remaining(PARSL_PCM_WALLTIME_S="60", PARSL_PCM_BLOCK_AGE_S=garbage) == 60


def test_end_that_is_over_is_not_believed(caplog: pytest.LogCaptureFixture) -> None:
    assert remaining(SLURM_JOB_END_TIME=end_in(-1)) is None
    assert remaining(SLURM_JOB_END_TIME=end_in(-1), PARSL_PCM_WALLTIME_S="60") == 60
    assert remaining(PARSL_PCM_WALLTIME_S="60", PARSL_PCM_BLOCK_AGE_S="60") is None
    assert caplog.text.count("yet we run") == 3


# --- restarts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, 0),
        ({"SLURM_RESTART_COUNT": "2"}, 2),
        ({"SLURM_RESTART_COUNT": "two"}, 0),
        ({"RESTARTED": "0"}, 0),
        ({"RESTARTED": "1"}, 1),
        ({"PBS_JOBID": "7.server"}, 0),
    ],
)
def test_restarts_are_those_that_the_scheduler_tells(
    environment: dict[str, str], expected: int
) -> None:
    assert num_restarts(environment) == expected


@pytest.mark.parametrize(
    ("ad", "expected"),
    [
        ("NumJobStarts = 0\n", 0),
        ('MyType = "Job"\nNumJobStarts = 2\nOwner = "me"\n', 2),
        ("NumJobStartsDelayed = 7\nJobRunCount = 3\n", 0),
        ("NumJobStarts = undefined\n", 0),
        ("", 0),
    ],
)
def test_condor_job_ad_counts_the_starts_before_this_one(
    ad: str, expected: int, tmp_path: Path
) -> None:
    path = tmp_path / ".job.ad"
    path.write_text(ad)
    environment = {"_CONDOR_JOB_AD": str(path), "SLURM_RESTART_COUNT": "9"}
    assert num_restarts(environment) == expected


def test_job_ad_that_cannot_be_read_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert num_restarts({"_CONDOR_JOB_AD": "/no/such/ad"}) == 0
    assert "/no/such/ad" in caplog.text


# --- GPUs -------------------------------------------------------------------------------------


def test_facts_of_gpus_are_read() -> None:
    text = '{"name": "a10", "memory_bytes": 24000000000, "compute_capability": 8.6}'
    expected = GpuFacts(name="a10", memory_bytes=24 * 10**9, compute_capability=8.6)
    assert gpu_facts({"PARSL_PCM_GPU": text}) == expected


def test_facts_may_be_unknown_one_by_one() -> None:
    text = '{"name": "a10", "memory_bytes": null}'
    assert gpu_facts({"PARSL_PCM_GPU": text}) == GpuFacts(name="a10")
    assert gpu_facts({}) == gpu_facts({"PARSL_PCM_GPU": ""}) == GpuFacts()


@pytest.mark.parametrize("garbage", ["a10", "[1]", '{"memory_bytes": "much"}', '{"name"'])
def test_garbled_facts_are_logged_and_not_used(
    garbage: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert gpu_facts({"PARSL_PCM_GPU": garbage}) == GpuFacts()
    assert garbage in caplog.text
