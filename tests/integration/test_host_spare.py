"""A real host process that is started before anybody needs it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from parsl_pcm import context
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.messages import HostReady, PrepareHost, SetupFailed
from tests.host_driver import HostDriver


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostDriver]:
    driver = HostDriver(tmp_path / "host.log")
    yield driver
    driver.end()


def prepare(host: HostDriver, *imports: str) -> None:
    host.send(Envelope(PrepareHost(imports=imports)))


def test_spare_has_imported_what_it_was_told_before_it_builds(host: HostDriver) -> None:
    @context
    def loaded() -> list[str]:
        import sys

        return list(sys.modules)

    prepare(host, "wave", "this_is_absent", "chunk_of.nothing", "colorsys")
    assert isinstance(host.start(loaded), HostReady)
    assert {"wave", "colorsys"} <= set(host.call(lambda modules: modules, loaded))
    assert "No module named 'this_is_absent'" in host.log.read_text()


def test_spare_builds_in_the_environment_of_the_order(host: HostDriver) -> None:
    @context
    def devices() -> tuple[str, str]:
        return os.environ["CUDA_VISIBLE_DEVICES"], os.environ["HOME"]

    prepare(host)
    host.start(devices, env={"CUDA_VISIBLE_DEVICES": "GPU-7"})
    assert host.call(lambda seen: seen, devices) == ("GPU-7", os.environ["HOME"])


def test_other_hosts_keep_the_environment_that_they_were_started_with(host: HostDriver) -> None:
    @context
    def devices() -> dict[str, str | None]:
        return {"devices": os.environ.get("CUDA_VISIBLE_DEVICES")}

    host.start(devices, env={"CUDA_VISIBLE_DEVICES": "GPU-7"})
    seen = host.call(lambda seen: seen, devices)["devices"]
    assert seen == os.environ.get("CUDA_VISIBLE_DEVICES")


def test_setup_time_of_a_spare_counts_from_the_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tells_when.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'x')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    host = HostDriver(tmp_path / "host.log")
    prepare(host, "tells_when")
    while not (tmp_path / "imported").exists():
        assert host.process.poll() is None
        time.sleep(0.01)
    ordered_s = time.monotonic()
    ready = host.start()
    assert isinstance(ready, HostReady)
    assert ready.setup_s <= time.monotonic() - ordered_s
    host.end()


def test_failed_setup_of_a_spare_is_told_as_any_other(host: HostDriver) -> None:
    @context
    def broken() -> int:
        return len(open("/no/such/model").read())

    prepare(host, "wave")
    failed = host.start(broken)
    assert isinstance(failed, SetupFailed)
    assert "in broken" in failed.failure.remote_traceback
