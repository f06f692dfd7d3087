"""Blocks with an end: nothing begins there that cannot end in time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.slurm.on_slurm import flavour_of, items, results, running_on
from tests.slurm_lab.books import Books
from tests.slurm_lab.lab import SlurmLab

ITEM_S = 4.0
NUM_ITEMS = 8


@pytest.mark.slow
def test_block_is_drained_before_its_walltime_ends(lab: SlurmLab, books: Books, tmp_path: Path):
    """The shortest walltime that Slurm knows is one minute."""
    num_before = len(lab.endings())
    with running_on([flavour_of(lab, books, "h100", walltime="00:01:00")], tmp_path):
        submit = items(books)
        futures = [submit(item, ITEM_S) for item in range(NUM_ITEMS)]
        assert results(futures, timeout_s=150) == list(range(NUM_ITEMS))
        # Slurm may signal the end up to 60 s early, before it is known how long an item takes.
        repeated = {item for item, count in books.num_runs().items() if count > 1}
        assert repeated <= {"0"}
        assert len(books.entries("job")) > 1
    assert "TIMEOUT" not in lab.endings()[num_before:]
