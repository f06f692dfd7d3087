"""What can never run says why, in the scheduler's or the job's own words."""

from __future__ import annotations

from pathlib import Path

from parsl_pcm.errors import BlocksFailed
from tests.running import fails_with
from tests.slurm.on_slurm import flavour_of, items, running_on
from tests.slurm_lab.books import Books
from tests.slurm_lab.lab import SlurmLab


def test_refused_blocks_fail_their_tasks_with_the_words_of_slurm(
    lab: SlurmLab, books: Books, tmp_path: Path
):
    flavours = [
        flavour_of(lab, books, "h100", scheduler_options="#SBATCH --constraint=no_such"),
        flavour_of(lab, books, "h100", partition="no_such_partition"),
    ]
    with running_on(flavours, tmp_path):
        text = fails_with(items(books)(0), BlocksFailed, timeout_s=180)
    assert "Invalid feature specification" in text
    assert "invalid partition specified: no_such_partition" in text


def test_broken_environment_fails_the_tasks_with_the_end_of_stderr(
    lab: SlurmLab, books: Books, tmp_path: Path
):
    broken = "echo 'module: no such environment: llm' >&2\nexit 3"
    with running_on([flavour_of(lab, books, "h100", worker_init=broken)], tmp_path):
        text = fails_with(items(books)(0), BlocksFailed, timeout_s=180)
    assert "no such environment: llm" in text
    assert 1 <= len(books.entries("job")) <= 10
