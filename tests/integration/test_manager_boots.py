"""A real manager starts its hosts one after the other where they share a device."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from parsl_pcm import ContextRecipe, context
from parsl_pcm.types import DeviceId, HostId
from parsl_pcm.wire.messages import (
    HostExited,
    HostReady,
    ManagerLeaving,
    SetupFailed,
    Shutdown,
    StopHost,
)
from tests.interchange_driver import WAIT_S, InterchangeDriver, children_of, wait_until

A, B = (DeviceId("0"),), (DeviceId("1"),)


def gated(directory: Path, name: str) -> ContextRecipe:
    """Return a context that says that its set-up has begun, and ends it when the test lets it."""

    @context
    def wait(started: str, gate: str) -> str:
        import pathlib
        import time

        pathlib.Path(started).touch()
        while not pathlib.Path(gate).exists():
            time.sleep(0.01)
        return gate

    return wait(str(directory / f"started-{name}"), str(directory / f"gate-{name}"))


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core: one boot at a time")
def test_one_host_boots_on_a_device_at_a_time(
    interchange: InterchangeDriver, tmp_path: Path
) -> None:
    manager = interchange.start_manager(available_accelerators=("0", "1"))
    identity, _ = interchange.accept()
    interchange.start_host(identity, gated(tmp_path, "1"), device_ids=A)
    interchange.start_host(identity, gated(tmp_path, "2"), device_ids=A, host_id=HostId(2))
    interchange.start_host(identity, gated(tmp_path, "3"), device_ids=B, host_id=HostId(3))
    wait_until((tmp_path / "started-1").exists)
    wait_until((tmp_path / "started-3").exists)  # ordered last, so the second would be there too
    assert len(children_of(manager)) == 2
    (tmp_path / "gate-1").touch()
    assert interchange.expect(identity, HostReady).host_id == 1
    wait_until((tmp_path / "started-2").exists)
    (tmp_path / "gate-2").touch()
    assert interchange.expect(identity, HostReady).host_id == 2
    (tmp_path / "gate-3").touch()
    assert interchange.expect(identity, HostReady).host_id == 3


def test_host_that_dies_in_its_setup_makes_room_for_the_next(
    interchange: InterchangeDriver,
) -> None:
    @context
    def dying() -> None:
        import os

        os._exit(7)

    interchange.start_manager(available_accelerators=("0",))
    identity, _ = interchange.accept()
    interchange.start_host(identity, dying, device_ids=A)
    interchange.start_host(identity, device_ids=A, host_id=HostId(2))
    assert interchange.expect(identity, SetupFailed).host_id == 1
    assert interchange.expect(identity, HostReady).host_id == 2


def test_host_that_cannot_be_started_makes_room_for_the_next(
    interchange: InterchangeDriver,
) -> None:
    interchange.start_manager(available_accelerators=("0",))
    identity, registration = interchange.accept()
    logs = interchange.directory / "logs" / "block-0" / registration.manager_id
    shutil.rmtree(logs)
    interchange.start_host(identity, device_ids=A)
    assert "could be started" in interchange.expect(identity, SetupFailed).failure.message
    logs.mkdir()
    interchange.start_host(identity, device_ids=A, host_id=HostId(2))
    assert interchange.expect(identity, HostReady).host_id == 2


def test_host_that_waits_for_its_turn_can_be_stopped(
    interchange: InterchangeDriver, tmp_path: Path
) -> None:
    manager = interchange.start_manager(available_accelerators=("0",))
    identity, _ = interchange.accept()
    interchange.start_host(identity, gated(tmp_path, "1"), device_ids=A)
    interchange.start_host(identity, device_ids=A, host_id=HostId(2))
    interchange.tell(identity, StopHost(host_id=HostId(2)))
    exited = interchange.expect(identity, HostExited)
    assert exited.host_id == 2
    assert exited.description == "stopped before it was started"
    (tmp_path / "gate-1").touch()
    assert interchange.expect(identity, HostReady).host_id == 1
    assert len(children_of(manager)) == 1


def test_shutdown_drops_hosts_that_wait_for_their_turn(
    interchange: InterchangeDriver, tmp_path: Path
) -> None:
    manager = interchange.start_manager(available_accelerators=("0",))
    identity, _ = interchange.accept()
    interchange.start_host(identity, gated(tmp_path, "1"), device_ids=A)
    interchange.start_host(identity, gated(tmp_path, "2"), device_ids=A, host_id=HostId(2))
    wait_until((tmp_path / "started-1").exists)
    interchange.tell(identity, Shutdown(reason="the run is over"))
    exited = {interchange.expect(identity, HostExited).host_id for _ in range(2)}
    assert exited == {1, 2}  # in any order: the one that boots is killed, which may take a moment
    interchange.expect(identity, ManagerLeaving)
    assert manager.wait(WAIT_S) == 0
    assert not (tmp_path / "started-2").exists()
