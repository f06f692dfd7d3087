"""The provider under Parsl's own executor: its strategies grow and shrink it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import parsl
import pytest
from parsl import Config, python_app
from parsl.executors import HighThroughputExecutor

from parsl_pcm.provider import OpportunisticProvider
from tests.running import wait_for
from tests.slurm.on_slurm import flavour_of, job_ids
from tests.slurm_lab.books import Books
from tests.slurm_lab.lab import SlurmLab


@pytest.mark.parametrize("strategy", ["simple", "htex_auto_scale"])
def test_strategies_of_parsl_grow_onto_idle_gpus_and_shrink_again(
    strategy: str,
    lab: SlurmLab,
    books: Books,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    # HighThroughputExecutor looks for its programs there, here and on the node.
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    flavours = [flavour_of(lab, books, name) for name in ("h100", "a10")]
    executor = HighThroughputExecutor(
        label="htex",
        address="127.0.0.1",
        max_workers_per_node=1,
        cores_per_worker=0.1,
        provider=OpportunisticProvider(flavours, look_every_s=1.0, max_blocks=2),
        encrypted=False,
    )
    run = python_app(subprocess.getoutput, executors=["htex"])
    config = Config(
        executors=[executor],
        run_dir=str(tmp_path),
        strategy=strategy,
        strategy_period=0.5,
        max_idletime=1.0,
        usage_tracking=0,
    )
    with parsl.load(config):
        assert job_ids(lab) == set()
        gate = tmp_path / "gate"
        wait = f"while [ ! -e {gate} ]; do sleep 0.1; done"
        futures = [run(f"{wait}; echo {number}") for number in range(12)]
        wait_for(lambda: len(job_ids(lab)) == 2, "it has grown to its limit")
        gate.touch()
        assert [future.result(timeout=60) for future in futures] == [str(i) for i in range(12)]
        wait_for(lambda: not job_ids(lab), "it has shrunk again")
    parsl.clear()
