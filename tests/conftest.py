"""What all tests share: Parsl writes to a temporary folder, and no process outlives its tests."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, settings

# Every process that a test starts inherits this, wherever in the process tree it ends up.
MARK = "PARSL_PCM_TEST_RUN"
os.environ[MARK] = uuid.uuid4().hex
GRACE_S = 60.0
"""For what takes a moment on a quiet machine."""

# Processes start in the temporary folder of their test; they must find this checkout all the same.
CHECKOUT = str(Path(__file__).parents[1])
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [CHECKOUT, os.environ.get("PYTHONPATH")]))

# A loaded machine must not fail a property; a failure must come again in the next run.
settings.register_profile(
    "default", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("default")


@pytest.fixture(autouse=True)
def in_temporary_folder(
    request: pytest.FixtureRequest, folders: Iterator[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run in an empty folder: Parsl writes ``runinfo`` to where it is started.

    It is the test's ``tmp_path`` where it asks for one; most do not, and thousands take seconds.
    """
    is_asked_for = "tmp_path" in request.fixturenames
    monkeypatch.chdir(request.getfixturevalue("tmp_path") if is_asked_for else next(folders))


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return empty folders, one after the other."""
    return empty_folders(tmp_path_factory.mktemp("folders"))


def empty_folders(base: Path) -> Iterator[Path]:
    """Yield an empty folder each time: the last one again if it still is."""
    for number in itertools.count():
        folder = base / str(number)
        folder.mkdir()
        while not any(folder.iterdir()):
            yield folder


@pytest.fixture(autouse=True, scope="module")
def no_process_is_left() -> Iterator[None]:
    """Fail if anything that the module's tests started outlives the last of them."""
    yield
    deadline = time.monotonic() + GRACE_S
    while (left := started_by_tests()) and time.monotonic() < deadline:
        time.sleep(0.05)
    described = [describe(process) for process in left]
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    assert not described, f"left behind: {described}"


def started_by_tests() -> list[psutil.Process]:
    """Return the processes that carry our mark, but for this one and multiprocessing's tracker."""
    found = []
    for process in psutil.process_iter():
        try:
            is_ours = process.environ().get(MARK) == os.environ[MARK]
            is_tracker = "multiprocessing.resource_tracker" in " ".join(process.cmdline())
        except psutil.Error:
            continue
        if is_ours and not is_tracker and process.pid != os.getpid():
            found.append(process)
    return found


def describe(process: psutil.Process) -> str:
    """Return the process number and what it runs."""
    try:
        return f"{process.pid}: {' '.join(process.cmdline())[:200]}"
    except psutil.Error:
        return f"{process.pid}"
