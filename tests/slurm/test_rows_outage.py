"""Schedulers that do not answer: nothing freezes, nothing is lost, nothing runs away."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.slurm.on_slurm import broken_commands, flavour_of, items, results, running_on
from tests.slurm_lab.books import Books
from tests.slurm_lab.lab import SlurmLab

OUTAGE_S = 5.0


def test_controller_that_is_away_stops_neither_items_nor_growth_after_it(
    lab: SlurmLab, books: Books, tmp_path: Path
):
    num_before = lab.num_submitted()
    with running_on([flavour_of(lab, books, name) for name in ("h100", "titanx")], tmp_path):
        submit = items(books, max_concurrency=2)
        futures = [submit(0)]
        books.wait_for(1, "begun")
        with lab.outage():
            futures += [submit(item, 0.1) for item in range(1, 20)]
            for future in futures[1:]:
                future.result(timeout=180)
            futures += [submit(item) for item in range(20, 26)]
            time.sleep(OUTAGE_S)
        books.wait_for(3, "job")  # it grows again
        for item in (0, *range(20, 26)):
            books.open_gate(item)
        assert results(futures) == list(range(26))
    assert lab.num_submitted() - num_before == 3


def test_commands_that_fail_for_a_while_submit_nothing_twice(
    lab: SlurmLab, books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    num_before = lab.num_submitted()
    with running_on([flavour_of(lab, books, "titanx")], tmp_path):
        submit = items(books)
        with monkeypatch.context() as broken:
            broken.setenv("PATH", broken_commands(tmp_path) + os.pathsep + os.environ["PATH"])
            futures = [submit(item, 0.1) for item in range(10)]
            time.sleep(OUTAGE_S)
            assert not any(future.done() for future in futures)
            assert lab.num_submitted() == num_before
        assert results(futures) == list(range(10))
    assert lab.num_submitted() - num_before <= 2
