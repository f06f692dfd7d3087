"""Blocks killed without grace: what ran there runs again, no Parsl retry is used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.running import wait_for
from tests.slurm.on_slurm import (
    broken_commands,
    flavour_of,
    items,
    job_ids,
    results,
    running_on,
    wait_until_dead,
)
from tests.slurm_lab.books import Books
from tests.slurm_lab.lab import SlurmLab
from tests.slurm_lab.settings import CANCELLING


@pytest.mark.parametrize("requeue", [True, False])
def test_item_of_a_killed_block_runs_again_when_the_only_node_is_back(
    requeue: bool, lab: SlurmLab, books: Books, tmp_path: Path
):
    with running_on([flavour_of(lab, books, "h100", requeue=requeue)], tmp_path):
        futures = [items(books)(0)]
        (first,) = books.wait_for(1, "begun")
        with lab.taken(first.node):
            wait_until_dead(first)
        books.wait_for(2, "begun")
        books.open_gate(0)
        assert results(futures) == [0]
    assert len(books.entries("job")) == 2


def test_item_of_a_killed_block_runs_on_a_warm_node_before_its_block_is_back(
    lab: SlurmLab, books: Books, tmp_path: Path
):
    flavours = [flavour_of(lab, books, name, max_blocks=1) for name in ("a10", "titanx")]
    with running_on(flavours, tmp_path):
        submit = items(books, max_concurrency=2)
        futures = [submit(item) for item in range(4)]
        begun = books.wait_for(4, "begun")
        assert len({entry.node for entry in begun}) == 2
        victim = min(begun, key=lambda entry: int(entry.item))  # of two, the one that goes first
        spared = next(entry for entry in begun if entry.node != victim.node)
        books.open_gate(spared.item)
        futures[int(spared.item)].result(timeout=180)
        with lab.taken(victim.node):
            wait_until_dead(victim)
            again = books.wait_for(2, "begun", victim.item)[1]
            assert (again.node, again.pid) == (spared.node, spared.pid)
        for item in range(4):
            books.open_gate(item)
        assert results(futures) == [0, 1, 2, 3]


@pytest.mark.parametrize("strategy", ["none", "htex_auto_scale"])
def test_cancelled_block_is_replaced(strategy: str, lab: SlurmLab, books: Books, tmp_path: Path):
    flavours = [flavour_of(lab, books, name, partition=CANCELLING) for name in ("h100", "a10")]
    settings = {"strategy": strategy}
    with running_on(flavours, tmp_path, max_blocks=1, parsl_settings=settings):
        futures = [items(books)(0)]
        (first,) = books.wait_for(1, "begun")
        jobs = job_ids(lab)
        with lab.taken(first.node):
            again = books.wait_for(2, "begun")[1]
            assert again.node != first.node
        wait_for(lambda: not job_ids(lab) & jobs, "the job is over")
        books.open_gate(0)
        assert results(futures) == [0]


def test_block_preempted_before_its_manager_registered_is_no_error(
    lab: SlurmLab, books: Books, tmp_path: Path
):
    gate = tmp_path / "slow-start-is-over"
    slow_start = f"while [ ! -e {gate} ]; do sleep 0.1; done"
    flavour = flavour_of(lab, books, "h100", partition=CANCELLING, worker_init=slow_start)
    with running_on([flavour], tmp_path):
        futures = [items(books)(0)]
        (first,) = books.wait_for(1, "job")
        with lab.taken(first.node) as guest:
            lab.wait_until_taken(guest)
            wait_until_dead(first)
        gate.touch()
        books.open_gate(0)
        assert results(futures) == [0]
        assert len(books.entries("job")) == 2


def test_nothing_is_sent_to_a_node_that_died_while_it_was_idle(
    lab: SlurmLab, books: Books, tmp_path: Path
):
    with running_on([flavour_of(lab, books, "h100")], tmp_path, keep_warm_s=600.0) as executor:
        submit = items(books)
        assert results([submit(0, 0.0)]) == [0]
        (loaded,) = books.entries("loaded")
        with lab.taken(loaded.node):
            wait_until_dead(loaded)
            futures = [submit(1, 0.0), submit(2, 0.0)]
            wait_for(lambda: not executor.connected_managers(), "its death is noticed")
        assert results(futures) == [1, 2]
        assert books.num_runs() == {"0": 1, "1": 1, "2": 1}


def test_node_failure_costs_no_retry(lab: SlurmLab, books: Books, tmp_path: Path):
    flavours = [flavour_of(lab, books, name) for name in ("h100", "a10")]
    with running_on(flavours, tmp_path):
        futures = [items(books)(0)]
        (first,) = books.wait_for(1, "begun")
        lab.fail(first.node)
        again = books.wait_for(2, "begun")[1]
        assert again.node != first.node
        books.open_gate(0)
        assert results(futures) == [0]


def test_idle_block_that_must_be_held_is_replaced(lab: SlurmLab, books: Books, tmp_path: Path):
    flavours = [flavour_of(lab, books, name, partition=CANCELLING) for name in ("h100", "a10")]
    with running_on(flavours, tmp_path, min_blocks=1) as executor:
        wait_for(lambda: executor.connected_managers(), "a block is held")
        (job,) = lab.queue()
        with lab.taken(job.node):
            books.wait_for(2, "job")
            wait_for(lambda: executor.connected_managers(), "another block is held")
        wait_for(lambda: job.job_id not in job_ids(lab), "the job is over")


def test_job_that_slurm_has_forgotten_is_replaced(
    lab: SlurmLab, books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """No command of ours answers from before the kill until Slurm has purged the job."""
    with running_on([flavour_of(lab, books, "h100", partition=CANCELLING)], tmp_path):
        futures = [items(books)(0)]
        (first,) = books.wait_for(1, "begun")
        (job,) = job_ids(lab)
        with monkeypatch.context() as broken:
            broken.setenv("PATH", broken_commands(tmp_path) + os.pathsep + os.environ["PATH"])
            with lab.taken(first.node):
                wait_until_dead(first)
            wait_for(lambda: job not in lab.remembered_jobs(), "Slurm has forgotten the job")
            assert not futures[0].done()
        books.open_gate(0)
        assert results(futures) == [0]
