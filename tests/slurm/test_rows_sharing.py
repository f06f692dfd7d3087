"""Several blocks on one node, and what a block takes of it."""

from __future__ import annotations

from pathlib import Path

from tests.slurm.on_slurm import flavour_of, items, results, running_on
from tests.slurm_lab.books import Books
from tests.slurm_lab.lab import SlurmLab


def test_two_blocks_on_one_node_use_the_two_gpus_that_slurm_gave(
    lab: SlurmLab, books: Books, tmp_path: Path
):
    with running_on([flavour_of(lab, books, "a10")], tmp_path):
        submit = items(books)
        futures = [submit(item) for item in range(2)]
        begun = books.wait_for(2, "begun")
        assert {entry.node for entry in begun} == {lab.nodes["a10"]}
        assert {entry.device for entry in begun} == {"0", "1"}
        for item in range(2):
            books.open_gate(item)
        assert results(futures) == [0, 1]
    assert books.entries("overlap") == []


def test_context_that_needs_two_gpus_gets_a_block_with_two(
    lab: SlurmLab, books: Books, tmp_path: Path
):
    with running_on([flavour_of(lab, books, name) for name in lab.nodes], tmp_path):
        assert results([items(books, gpus=2)(0, 0.0)]) == [0]
        (begun,) = books.entries("begun")
        assert begun.device == "0,1"


def test_block_shares_its_node_unless_it_is_exclusive(lab: SlurmLab, books: Books, tmp_path: Path):
    flavour = flavour_of(lab, books, "a10", scheduler_options="#SBATCH --exclusive")
    with running_on([flavour], tmp_path):
        submit = items(books)
        futures = [submit(item) for item in range(2)]
        books.wait_for(1, "begun")
        num_cores = lab.run("squeue", "-h", "--states=RUNNING", "-o", "%C").split()
        assert num_cores == ["8"]
        for item in range(2):
            books.open_gate(item)
        assert results(futures) == [0, 1]


def test_idle_gpus_are_left_to_others(lab: SlurmLab, books: Books, tmp_path: Path):
    flavours = [flavour_of(lab, books, name) for name in lab.nodes]
    with running_on(flavours, tmp_path, keep_free=3):
        submit = items(books)
        futures = [submit(item, 0.5) for item in range(12)]
        assert sorted(results(futures)) == list(range(12))
        assert {entry.node for entry in books.entries("job")} <= set(lab.nodes.values())
    assert len(books.entries("job")) <= 2
