"""A cluster whose sacct works, which Parsl's own provider then asks instead of squeue."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import wait_for
from tests.slurm.labs import lend, run_lab
from tests.slurm.on_slurm import flavour_of, items, job_ids, results, running_on, wait_until_dead
from tests.slurm_lab.books import Books
from tests.slurm_lab.lab import SlurmLab
from tests.slurm_lab.settings import LabSettings


@pytest.fixture(scope="module")
def accounting_lab() -> Iterator[SlurmLab]:
    yield from run_lab(LabSettings(with_accounting=True))


@pytest.fixture
def lab(accounting_lab: SlurmLab) -> Iterator[SlurmLab]:
    yield from lend(accounting_lab)


def test_requeued_block_counts_as_held_and_is_not_forgotten(
    lab: SlurmLab, books: Books, tmp_path: Path
):
    flavours = [flavour_of(lab, books, name, requeue=True) for name in lab.nodes]
    with running_on(flavours, tmp_path, max_blocks=2):
        submit = items(books)
        futures = [submit(item) for item in range(4)]
        begun = books.wait_for(2, "begun")
        with lab.taken(begun[0].node):
            wait_until_dead(begun[0])
            wait_for(lambda: "PREEMPTED" in lab.run("sacct", "-X", "-D", "-o", "State"), "sacct")
        seen = []
        for item in range(4):
            books.open_gate(item)
            futures[item].result(timeout=180)
            seen.append(len(job_ids(lab)))
        assert results(futures) == list(range(4))
        assert max(seen) <= 2
