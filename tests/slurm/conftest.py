"""One private Slurm for all tests of this folder; without it they are skipped.

``PARSL_PCM_REQUIRE=slurm`` makes its absence a failure.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.labs import lend, run_lab
from tests.slurm_lab.books import Books
from tests.slurm_lab.lab import SlurmLab
from tests.slurm_lab.settings import LabSettings


@pytest.fixture(scope="session")
def shared_lab() -> Iterator[SlurmLab]:
    """Run a lab until the session ends."""
    yield from run_lab(LabSettings(min_job_age_s=5))


@pytest.fixture
def lab(shared_lab: SlurmLab) -> Iterator[SlurmLab]:
    """Lend the lab to one test."""
    yield from lend(shared_lab)


@pytest.fixture
def books(tmp_path: Path) -> Books:
    """Return the books of one test."""
    folder = tmp_path / "books"
    folder.mkdir()
    return Books(folder)
