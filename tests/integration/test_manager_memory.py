"""A real manager measures what its real hosts hold, and tells it."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from parsl_pcm import ContextRecipe, context
from parsl_pcm.manager import memory
from parsl_pcm.manager.hosts import HostProcess, HostState
from parsl_pcm.manager.memory import HostMemory
from parsl_pcm.manager.processes import spawn
from parsl_pcm.types import ContextKey, DeviceId, HostId, Requirements
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.messages import (
    HostAsleep,
    HostAwake,
    HostExited,
    HostMeasured,
    HostReady,
    SleepFailed,
    SleepHost,
    StartHost,
    StopHost,
    WakeHost,
)
from tests.interchange_driver import WAIT_S, InterchangeDriver

MIB = 2**20
BLOCK = 200 * MIB
"""Much more than a host without a context holds (about 30 MiB)."""

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="shared pages count in each there")


def holds() -> Callable[[], int]:
    """Return a function that makes its host hold another block for good."""

    def hold() -> int:
        import builtins

        builtins.held = bytearray(b"x") * BLOCK  # type: ignore[attr-defined]
        return BLOCK

    return hold


def test_ready_host_tells_what_it_holds(interchange: InterchangeDriver) -> None:
    @context
    def big() -> bytearray:
        return bytearray(b"x") * BLOCK

    interchange.start_manager()
    identity, _ = interchange.accept()
    interchange.start_host(identity, big)
    ready = interchange.expect(identity, HostReady)
    assert BLOCK < ready.host_memory_bytes < 2 * BLOCK
    assert ready.gpu_memory_bytes == 0


def test_processes_that_a_context_starts_count(interchange: InterchangeDriver) -> None:
    @context
    def served() -> Iterator[Any]:
        import subprocess
        import sys

        serve = f"held = bytearray(b'x') * {BLOCK}; print('up', flush=True); input()"
        pipe = subprocess.PIPE
        with subprocess.Popen([sys.executable, "-c", serve], stdin=pipe, stdout=pipe) as server:
            assert server.stdout is not None
            server.stdout.readline()
            yield server
            server.kill()

    interchange.start_manager()
    identity, _ = interchange.accept()
    interchange.start_host(identity, served)
    assert interchange.expect(identity, HostReady).host_memory_bytes > BLOCK


@only_linux
def test_pages_that_processes_share_count_once(interchange: InterchangeDriver) -> None:
    @context
    def forked() -> bytearray:
        import os
        import time

        held = bytearray(b"x") * BLOCK
        for _ in range(3):
            if os.fork() == 0:
                time.sleep(1000)
        return held

    interchange.start_manager()
    identity, _ = interchange.accept()
    interchange.start_host(identity, forked)
    assert BLOCK < interchange.expect(identity, HostReady).host_memory_bytes < 2 * BLOCK


def test_growth_is_told(interchange: InterchangeDriver) -> None:
    interchange.start_manager()
    identity, _ = interchange.accept()
    host_id = interchange.start_host(identity)
    assert interchange.expect(identity, HostReady).host_memory_bytes < BLOCK
    interchange.run(identity, holds())
    told_bytes = 0
    while told_bytes < BLOCK:  # it may look while the block is being made, and before the result
        message = interchange.receive(identity, HostMeasured).message
        if isinstance(message, HostMeasured):
            assert message.host_id == host_id
            told_bytes = message.host_memory_bytes


# --- sleep ------------------------------------------------------------------------------------


def sleeper(*, fails_in: str = "") -> ContextRecipe:
    """Return a context whose memory is given back while it sleeps."""

    @context
    def make(fails_in: str) -> Any:
        class Sleeper:
            def __init__(self) -> None:
                self.held: bytearray | None = bytearray(b"x") * BLOCK

            def sleep(self) -> None:
                if fails_in == "sleep":
                    raise OSError("no sleep")
                self.held = None

            def wake(self) -> None:
                if fails_in == "wake":
                    raise OSError("no wake")
                self.held = bytearray(b"x") * BLOCK

        return Sleeper()

    return make(fails_in)


def start_sleeper(
    interchange: InterchangeDriver, recipe: ContextRecipe
) -> tuple[bytes, HostId, HostReady]:
    interchange.start_manager()
    identity, _ = interchange.accept()
    requirements = Requirements(can_sleep=True)
    host_id = interchange.start_host(identity, recipe, requirements=requirements)
    return identity, host_id, interchange.expect(identity, HostReady)


def test_sleeping_host_tells_what_is_left(interchange: InterchangeDriver) -> None:
    def answer() -> int:
        return 42

    identity, host_id, ready = start_sleeper(interchange, sleeper())
    interchange.tell(identity, SleepHost(host_id=host_id))
    asleep = interchange.expect(identity, HostAsleep)
    assert asleep.host_id == host_id
    assert 0 < asleep.host_memory_bytes < ready.host_memory_bytes - BLOCK / 2
    interchange.tell(identity, WakeHost(host_id=host_id))
    assert interchange.expect(identity, HostAwake).host_id == host_id
    assert interchange.call(identity, answer) == 42


def test_sleeping_host_can_be_stopped(interchange: InterchangeDriver) -> None:
    identity, host_id, _ = start_sleeper(interchange, sleeper())
    interchange.tell(identity, SleepHost(host_id=host_id))
    interchange.expect(identity, HostAsleep)
    interchange.tell(identity, StopHost(host_id=host_id))
    assert interchange.expect(identity, HostExited).description == "stopped as asked"


def test_failed_sleep_is_passed_on(interchange: InterchangeDriver) -> None:
    identity, host_id, _ = start_sleeper(interchange, sleeper(fails_in="sleep"))
    interchange.tell(identity, SleepHost(host_id=host_id))
    failed = interchange.expect(identity, SleepFailed)
    assert failed.host_id == host_id
    assert "no sleep" in failed.failure.message
    interchange.tell(identity, StopHost(host_id=host_id))
    assert interchange.expect(identity, HostExited).description == "stopped as asked"


def test_host_that_cannot_wake_up_is_reported_as_gone(interchange: InterchangeDriver) -> None:
    identity, host_id, _ = start_sleeper(interchange, sleeper(fails_in="wake"))
    interchange.tell(identity, SleepHost(host_id=host_id))
    interchange.expect(identity, HostAsleep)
    interchange.tell(identity, WakeHost(host_id=host_id))
    exited = interchange.expect(identity, HostExited)
    assert exited.description == "exited with code 70"
    assert "no wake" in exited.log_tail


# --- the end ----------------------------------------------------------------------------------


class HostOnDevice:
    """A real host, watched as its manager does, on a device whose users are made up."""

    def __init__(self, directory: Path) -> None:
        child = spawn(os.environ, directory / "host.log")
        self.process = child.process
        self.users = {child.process.pid: 5}
        self.start = StartHost(
            host_id=HostId(1),
            context_key=ContextKey("key"),
            name="llm",
            requirements=Requirements(gpus=1, can_sleep=True),
            device_ids=(DeviceId("GPU-a"),),
            recipes=None,
            env={},
        )
        held = HostMemory(child.process.pid, self.start.device_ids, lambda _: self.users)
        self.watched = HostProcess(self.start, child, held, now=0.0)

    def wait_for_report(self) -> Any:
        channel = self.watched.channel
        while not (reports := self.watched.receive(1.0)):
            assert select.select([channel], [], [], WAIT_S)[0]
            assert not channel.is_closed
        return reports[0].message

    def end(self) -> None:
        self.watched.kill("the test is over", 0.0)
        self.process.wait(WAIT_S)
        self.watched.channel.close()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostOnDevice]:
    host = HostOnDevice(tmp_path)
    yield host
    host.end()


def test_killed_host_is_gone_when_the_driver_says_so_too(host: HostOnDevice) -> None:
    host.watched.kill("killed for a test", 10.0)
    host.process.wait(WAIT_S)
    assert host.watched.notice_exit(10.1) is None
    host.users.clear()
    told = host.watched.notice_exit(10.2)
    assert told is not None
    assert isinstance(told.message, HostExited)
    assert told.message.description == "killed for a test"


def test_process_of_a_killed_host_that_was_never_measured_is_waited_for(
    host: HostOnDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = 2**30  # no system has a process of this number
    monkeypatch.setattr(memory, "session_members", lambda session: frozenset({session, worker}))
    host.users = {worker: 5}
    host.watched.kill("killed for a test", 10.0)
    host.process.wait(WAIT_S)
    assert host.watched.notice_exit(10.1) is None
    host.users.clear()
    assert host.watched.notice_exit(10.2) is not None


def test_driver_that_never_says_so_is_not_waited_for_for_ever(host: HostOnDevice) -> None:
    host.watched.kill("killed for a test", 10.0)
    host.process.wait(WAIT_S)
    assert host.watched.notice_exit(14.9) is None
    assert host.watched.notice_exit(15.1) is not None


def test_ready_host_tells_what_the_driver_shows_of_it(host: HostOnDevice) -> None:
    host.watched.channel.send([Envelope(host.start)])
    ready = host.wait_for_report()
    assert isinstance(ready, HostReady)
    assert ready.gpu_memory_bytes == 5
    assert host.watched.look(6.0) is None
    host.users[host.process.pid] = 5 * BLOCK
    measured = host.watched.look(11.0)
    assert measured is not None
    assert measured.gpu_memory_bytes == 5 * BLOCK


def test_host_that_stops_already_gets_the_shorter_grace(host: HostOnDevice) -> None:
    host.watched.channel.send([Envelope(host.start)])
    assert isinstance(host.wait_for_report(), HostReady)
    host.process.send_signal(signal.SIGSTOP)
    host.watched.stop(10.0)
    host.watched.stop(11.0, grace_s=3.0)
    host.watched.meet_deadline(13.9)
    assert host.watched.state is HostState.STOPPING
    host.watched.meet_deadline(14.1)
    assert host.watched.state is HostState.DYING


def test_host_that_hangs_while_it_falls_asleep_is_killed(host: HostOnDevice) -> None:
    host.watched.channel.send([Envelope(host.start)])
    assert isinstance(host.wait_for_report(), HostReady)
    host.process.send_signal(signal.SIGSTOP)
    host.watched.turn(SleepHost(host_id=HostId(1)), 10.0)
    host.watched.meet_deadline(1809.0)
    assert host.watched.state is HostState.DOZING
    host.watched.meet_deadline(1811.0)
    host.process.wait(WAIT_S)
    host.users.clear()
    told = host.watched.notice_exit(1812.0)
    assert told is not None
    assert isinstance(told.message, HostExited)
    assert told.message.description == "killed: it took longer than 1800 s to fall asleep"
