"""One loaded executor for all tests of a module whose faults it must survive."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from parsl_pcm import PCMExecutor
from tests.running import running


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PCMExecutor]:
    """Load Parsl with an executor that has room for two hosts."""
    with running(tmp_path_factory.mktemp("run")) as executor:
        yield executor
