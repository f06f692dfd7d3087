"""Labs for tests: started if they can be, lent to one test at a time, repaired afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.slurm_lab.lab import SlurmLab, slurm_lab
from tests.slurm_lab.packages import LabUnavailableError
from tests.slurm_lab.settings import LabSettings
from tests.slurm_lab.waiting import wait_for


def run_lab(settings: LabSettings) -> Iterator[SlurmLab]:
    """Run a lab that all commands of this process go to; skip or fail where there can be none."""
    before = os.environ.get("SLURM_CONF")
    try:
        with slurm_lab(settings) as lab:
            lab.use_here()
            yield lab
    except LabUnavailableError as error:
        if "slurm" in os.environ.get("PARSL_PCM_REQUIRE", "").split(","):
            pytest.fail(f"PARSL_PCM_REQUIRE names slurm, but {error}", pytrace=False)
        pytest.skip(str(error))
    finally:
        os.environ.pop("SLURM_CONF", None)
        if before is not None:
            os.environ["SLURM_CONF"] = before


def lend(lab: SlurmLab) -> Iterator[SlurmLab]:
    """Give a lab to one test, which must leave no job of its own in the queue."""
    yield lab
    try:
        wait_for(lambda: not lab.queue(), "no job is left")
    finally:
        for node in lab.nodes.values():
            lab.repair(node)
        lab.cancel_all()
