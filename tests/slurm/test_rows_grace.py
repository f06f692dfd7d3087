"""Blocks that are told before they are killed."""

from __future__ import annotations

import time
from pathlib import Path

from parsl.launchers import SrunLauncher

from tests.slurm.on_slurm import flavour_of, items, results, running_on
from tests.slurm_lab.books import Books
from tests.slurm_lab.lab import SlurmLab
from tests.slurm_lab.settings import GRACEFUL

ITEM_S = 1.5
LONG_ITEM_S = 4.0


def test_items_in_flight_are_delivered_in_the_grace_and_the_rest_runs_elsewhere(
    lab: SlurmLab, books: Books, tmp_path: Path
):
    flavours = [
        flavour_of(lab, books, name, partition=GRACEFUL, max_blocks=1) for name in ("a10", "titanx")
    ]
    with running_on(flavours, tmp_path):
        submit = items(books)
        futures = [submit(item, ITEM_S) for item in range(10)]
        begun = books.wait_for(4, "begun")
        told_s = time.time()
        node = begun[0].node
        with lab.taken(node) as guest:
            assert sorted(results(futures)) == list(range(10))
            lab.wait_until_taken(guest)
        assert set(books.num_runs().values()) == {1}
        there = [entry for entry in books.entries("ended") if entry.node == node]
        assert there[-1].at_s > told_s


def test_item_that_cannot_end_in_the_grace_runs_elsewhere_at_once(
    lab: SlurmLab, books: Books, tmp_path: Path
):
    """Under srun, whose steps Slurm tells by itself."""
    settings = {"partition": GRACEFUL, "max_blocks": 1, "launcher": SrunLauncher()}
    flavours = [flavour_of(lab, books, name, **settings) for name in ("h100", "titanx")]
    with running_on(flavours, tmp_path), lab.grace_of(1):
        submit = items(books, max_concurrency=2)
        # The first four fill both nodes, and tell how long an item takes; the others wait.
        futures = [submit(item, LONG_ITEM_S if item < 4 else None) for item in range(7)]
        begun = books.wait_for(5, "begun")[-1]
        with lab.taken(begun.node):
            for item in {"4", "5", "6"} - {begun.item}:
                books.open_gate(item)
            again = books.wait_for(2, "begun", begun.item)[1]
            assert again.node != begun.node
            books.open_gate(begun.item)
            assert sorted(results(futures)) == list(range(7))
        repeated = [item for item, count in books.num_runs().items() if count > 1]
        assert len(repeated) <= 2
