from __future__ import annotations

import subprocess

import pytest
from parsl.providers.errors import SubmitException

from parsl_pcm.provider.refusals import is_passing, words_of

BAD_ACCOUNT = "sbatch: error: Batch job submission failed: Invalid account or account/partition"


def refusal(stderr: str, stdout: str = "") -> SubmitException:
    return SubmitException("name", "no id", stdout=stdout, stderr=stderr, retcode=1)


def test_words_are_the_schedulers_alone() -> None:
    assert words_of(refusal(BAD_ACCOUNT + "\n")) == BAD_ACCOUNT


def test_silence_is_told_with_the_exit_code() -> None:
    assert "exit code 1" in words_of(refusal(""))


@pytest.mark.parametrize(
    "words",
    [
        "sbatch: error: Batch job submission failed: Unable to contact slurm controller "
        "(connect failure)",
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
        "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying",
        "qsub: Connection refused",
        "ERROR: Failed to connect to local queue manager",
        "error: commlib error: got select error (Connection refused)",
    ],
)
def test_server_that_is_away_is_passing(words: str) -> None:
    assert is_passing(refusal(words))


@pytest.mark.parametrize(
    "words",
    [
        BAD_ACCOUNT,
        "sbatch: error: invalid partition specified: gpu-x",
        "sbatch: error: QOSMaxSubmitJobPerUserLimit",
        "qsub: Unknown queue",
    ],
)
def test_refusal_for_good_is_not_passing(words: str) -> None:
    assert not is_passing(refusal(words))


def test_command_that_hangs_is_passing() -> None:
    assert is_passing(subprocess.TimeoutExpired("sbatch job.sh", 10))
