"""However a run ends, none of its jobs is left, those that wait to run again included.

That the queue is empty afterwards is checked by the fixture ``lab``.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.running import HOST, INTERCHANGE, MANAGER, Script, descendants, wait_for, wait_until_gone
from tests.slurm.on_slurm import flavour_of, items, job_ids, running_on, wait_until_dead
from tests.slurm_lab.books import Books
from tests.slurm_lab.lab import SlurmLab

SCRIPT = """
import pathlib, sys
import parsl
from tests.running import config_of
from tests.slurm.on_slurm import executor_on, items
from tests.slurm_lab.books import Books
from parsl_pcm.provider import slurm_flavour

folder, init = sys.argv[1:]
flavours = [slurm_flavour(partition="preempt", gpu_type=gpu_type, walltime="00:30:00",
            requeue=True, worker_init=init) for gpu_type in ("a10", "titanx")]
with parsl.load(config_of(pathlib.Path("run"), executor_on(flavours), retries=0)):
    submit = items(Books(pathlib.Path(folder)))
    futures = [submit(item) for item in range(8)]
    for future in futures:
        future.result()
"""
NUM_BLOCKS = 4


@pytest.fixture
def script(lab: SlurmLab, books: Books, tmp_path: Path):
    init = f"{lab.worker_init}\n{books.worker_init}"
    script = Script(tmp_path, SCRIPT, books.folder, init)
    yield script
    if script.process.poll() is None:
        script.process.kill()
    script.end()


def take_one_back(lab: SlurmLab, books: Books) -> None:
    """Take a node back for a moment, so that its two jobs wait to be started again."""
    begun = books.wait_for(NUM_BLOCKS, "begun")
    with lab.taken(begun[0].node):
        wait_until_dead(begun[0])
    wait_for(
        lambda: len([job for job in lab.queue() if job.num_restarts]) == 2, "two jobs wait again"
    )


def test_shutdown_cancels_jobs_that_wait_to_run_again(lab: SlurmLab, books: Books, tmp_path: Path):
    flavours = [flavour_of(lab, books, name, requeue=True) for name in ("a10", "titanx")]
    with running_on(flavours, tmp_path):
        submit = items(books)
        futures = [submit(item) for item in range(8)]
        take_one_back(lab, books)
        # Parsl waits for all tasks at the end of the block.
        for item in range(len(futures)):
            books.open_gate(item)
    assert job_ids(lab) == set()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_script_that_is_stopped_leaves_no_job(
    signum: signal.Signals, script: Script, lab: SlurmLab, books: Books
):
    take_one_back(lab, books)
    processes = descendants(INTERCHANGE, MANAGER, HOST)
    assert len(processes) >= 2 * NUM_BLOCKS // 2
    os.killpg(script.process.pid, signum)
    assert script.end() != 0
    wait_until_gone(processes)
    wait_for(lambda: not job_ids(lab), "no job waits or runs")
