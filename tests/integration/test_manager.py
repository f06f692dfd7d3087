"""A real manager process, driven from a ROUTER socket as the interchange drives it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from parsl_pcm import context
from parsl_pcm.types import DeviceId, HostId, LeaseId, Requirements
from parsl_pcm.wire.messages import (
    Failure,
    HostExited,
    HostReady,
    ManagerAlive,
    ManagerLeaving,
    PieceRevoked,
    RegisterManager,
    RegistrationRefused,
    RevokePiece,
    SetupFailed,
    Shutdown,
    StopHost,
)
from tests.interchange_driver import (
    WAIT_S,
    InterchangeDriver,
    are_gone,
    children_of,
    sleeper,
    wait_until,
)


@pytest.mark.parametrize("interchange", ["encrypted", "plain"], indirect=True)
def test_piece_runs_end_to_end(interchange: InterchangeDriver) -> None:
    def add(a: int, b: int) -> int:
        return a + b

    interchange.start_manager()
    identity, registration = interchange.accept()
    assert identity.decode() == registration.manager_id
    host_id = interchange.start_host(identity)
    ready = interchange.expect(identity, HostReady)
    assert ready.host_id == host_id
    assert 0 < ready.setup_s < WAIT_S
    assert interchange.call(identity, add, 1, 2) == 3


def test_registration_says_what_the_node_has(interchange: InterchangeDriver) -> None:
    import parsl

    interchange.start_manager(max_workers_per_node=1)
    _, registration = interchange.accept()
    assert registration.block_id == "0"
    assert registration.pid == interchange.managers[0].pid
    assert registration.python_version == f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert registration.parsl_version == parsl.__version__
    assert registration.packages["pyzmq"] == zmq.__version__
    assert registration.resources.cores == 1
    assert registration.resources.max_hosts == 1
    assert registration.resources.memory_bytes > 2**20


def test_refused_manager_ends_with_the_reason_on_stderr(interchange: InterchangeDriver) -> None:
    manager = interchange.start_manager()
    identity, _ = interchange.receive_any()
    interchange.tell(identity, RegistrationRefused(reason="Python 3.9 is too old"))
    assert manager.wait(WAIT_S) == 1
    assert "Python 3.9 is too old" in interchange.stderr()


def test_first_address_that_answers_is_used(interchange: InterchangeDriver) -> None:
    interchange.start_manager(addresses=("192.0.2.1", "127.0.0.1"))  # the first leads nowhere
    interchange.accept()


def test_unreachable_interchange_is_reported_on_stderr(interchange: InterchangeDriver) -> None:
    manager = interchange.start_manager(worker_port=1, address_probe_timeout_s=0.5)
    assert manager.wait(WAIT_S) == 1
    assert "no interchange answered at tcp://127.0.0.1:1" in interchange.stderr()
    both = ("127.0.0.1", "localhost")
    manager = interchange.start_manager(worker_port=1, address_probe_timeout_s=0.5, addresses=both)
    assert manager.wait(WAIT_S) == 1
    assert "tcp://localhost:1" in interchange.stderr(1)


def test_strangers_without_the_key_are_not_let_in(interchange: InterchangeDriver) -> None:
    manager = interchange.start_manager(cert_dir=None)
    wait_until(lambda: list(interchange.directory.glob("logs/block-0/*/manager.log")))
    assert not interchange.socket.poll(1500)
    manager.terminate()  # nothing it wants to say can be sent, and yet it ends
    assert manager.wait(WAIT_S) == 0


def test_manager_sends_heartbeats(interchange: InterchangeDriver) -> None:
    interchange.start_manager(heartbeat_period_s=0.1)
    identity, _ = interchange.accept()
    for _ in range(3):
        interchange.expect(identity, ManagerAlive)


def test_silent_interchange_is_given_up(interchange: InterchangeDriver) -> None:
    manager = interchange.start_manager(heartbeat_threshold_s=0.5)
    interchange.accept()
    assert manager.wait(WAIT_S) == 1
    assert "is gone" in interchange.stderr()


def test_vanished_interchange_ends_manager_and_hosts(interchange: InterchangeDriver) -> None:
    manager = interchange.start_manager()
    identity, _ = interchange.accept()
    interchange.start_host(identity)
    interchange.expect(identity, HostReady)
    interchange.run(identity, sleeper())
    hosts = children_of(manager)
    assert hosts
    interchange.socket.close(0)
    assert manager.wait(WAIT_S) == 1
    assert are_gone(hosts)


def test_killed_manager_takes_its_hosts_with_it(interchange: InterchangeDriver) -> None:
    manager = interchange.start_manager()
    identity, _ = interchange.accept()
    interchange.start_host(identity)
    interchange.expect(identity, HostReady)
    interchange.run(identity, sleeper())
    hosts = children_of(manager)
    assert hosts
    manager.kill()
    assert are_gone(hosts)


def test_results_that_are_there_leave_before_the_goodbye(
    interchange: InterchangeDriver, tmp_path: Path
) -> None:
    gate, done = str(tmp_path / "gate"), str(tmp_path / "done")

    def wait_for_gate() -> str:
        import pathlib
        import time

        while not pathlib.Path(gate).exists():
            time.sleep(0.01)
        return "there"

    def say_done_and_stay() -> None:
        import pathlib
        import time

        pathlib.Path(done).touch()
        time.sleep(1000)

    manager = interchange.start_manager()
    identity, _ = interchange.accept()
    interchange.start_host(identity)
    interchange.expect(identity, HostReady)
    interchange.run(identity, wait_for_gate)
    interchange.run(identity, say_done_and_stay, lease_id=6)
    interchange.run(identity, say_done_and_stay, lease_id=7)
    interchange.tell(identity, RevokePiece(host_id=HostId(1), lease_id=LeaseId(7)))
    assert interchange.expect(identity, PieceRevoked).lease_id == 7  # the host has all of them
    manager.send_signal(signal.SIGSTOP)
    Path(gate).touch()
    wait_until(Path(done).exists)  # the result of the piece before waits in the socket pair
    manager.send_signal(signal.SIGINT)
    manager.send_signal(signal.SIGCONT)
    assert interchange.result(identity) == "there"
    assert "SIGINT" in interchange.expect(identity, ManagerLeaving).reason


def test_shutdown_runs_clean_up_code(interchange: InterchangeDriver, tmp_path: Path) -> None:
    @context
    def resource(path: str) -> Iterator[int]:
        yield 1
        open(path, "x").close()

    manager = interchange.start_manager()
    identity, _ = interchange.accept()
    interchange.start_host(identity, resource(str(tmp_path / "cleaned")))
    interchange.expect(identity, HostReady)
    interchange.tell(identity, Shutdown(reason="the run is over"))
    exited = interchange.expect(identity, HostExited)
    assert exited.description == "stopped as asked"
    assert interchange.expect(identity, ManagerLeaving).reason == "the run is over"
    assert manager.wait(WAIT_S) == 0
    assert (tmp_path / "cleaned").exists()


def test_shutdown_ends_a_host_that_is_asked_to_stop_and_does_not(
    interchange: InterchangeDriver, tmp_path: Path
) -> None:
    started = str(tmp_path / "started")

    def sleep_long() -> None:
        import pathlib
        import time

        pathlib.Path(started).touch()
        time.sleep(1000)

    manager = interchange.start_manager()
    identity, _ = interchange.accept()
    host_id = interchange.start_host(identity)
    interchange.expect(identity, HostReady)
    interchange.run(identity, sleep_long)
    wait_until(Path(started).exists)
    interchange.tell(identity, StopHost(host_id=host_id), Shutdown(reason="the run is over"))
    assert "did not stop" in interchange.expect(identity, HostExited).description
    assert manager.wait(WAIT_S) == 0


def test_stopped_host_says_when_it_is_gone(interchange: InterchangeDriver) -> None:
    manager = interchange.start_manager()
    identity, _ = interchange.accept()
    host_id = interchange.start_host(identity)
    interchange.expect(identity, HostReady)
    hosts = children_of(manager)
    interchange.tell(identity, StopHost(host_id=host_id))
    assert interchange.expect(identity, HostExited).description == "stopped as asked"
    assert not any(process.is_running() for process in hosts)


def test_host_killed_by_its_piece_is_reported(interchange: InterchangeDriver) -> None:
    def die() -> None:
        import os
        import signal
        import sys

        sys.stdout.write("last words")
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    interchange.start_manager()
    identity, _ = interchange.accept()
    host_id = interchange.start_host(identity)
    interchange.expect(identity, HostReady)
    interchange.run(identity, die)
    exited = interchange.expect(identity, HostExited)
    assert exited.host_id == host_id
    assert exited.description == "killed by SIGKILL (often: out of memory)"
    assert "last words" in exited.log_tail
    assert Path(exited.log_path).name == "host-1-test_context.log"


def test_dead_host_leaves_no_process_behind(interchange: InterchangeDriver) -> None:
    def orphan() -> None:
        import os
        import subprocess

        subprocess.Popen(["sleep", "1000"])
        os._exit(3)

    manager = interchange.start_manager()
    identity, _ = interchange.accept()
    interchange.start_host(identity)
    interchange.expect(identity, HostReady)
    interchange.run(identity, orphan)
    assert interchange.expect(identity, HostExited).description == "exited with code 3"
    assert children_of(manager) == []


def test_failed_setup_is_told_once_with_traceback_and_log(interchange: InterchangeDriver) -> None:
    @context
    def broken() -> None:
        sys.stdout.write("loading weights")
        raise RuntimeError("no weights")

    interchange.start_manager()
    identity, _ = interchange.accept()
    interchange.start_host(identity, broken)
    failure = interchange.expect(identity, SetupFailed).failure
    assert "RuntimeError: no weights" in failure.message
    assert "in broken" in failure.remote_traceback
    assert "loading weights" in failure.log_tail
    assert not interchange.socket.poll(200)


def test_hanging_setup_is_ended_at_its_timeout(interchange: InterchangeDriver) -> None:
    @context
    def hanging() -> None:
        time.sleep(1000)

    manager = interchange.start_manager()
    identity, _ = interchange.accept()
    requirements = Requirements(setup_timeout_s=0.5)
    interchange.start_host(identity, hanging, requirements=requirements)
    failure = interchange.expect(identity, SetupFailed).failure
    assert "longer than 0.5 s" in failure.message
    assert "setup_timeout_s" in failure.message
    assert children_of(manager) == []


def test_host_that_dies_in_its_setup_is_a_failed_setup(interchange: InterchangeDriver) -> None:
    @context
    def dying() -> None:
        import os

        os._exit(7)

    interchange.start_manager()
    identity, _ = interchange.accept()
    interchange.start_host(identity, dying)
    failure: Failure = interchange.expect(identity, SetupFailed).failure
    assert "exited with code 7" in failure.message
    assert not interchange.socket.poll(200)


def test_two_managers_on_a_node_share_no_device_and_no_core(
    interchange: InterchangeDriver,
) -> None:
    def cores() -> set[int]:
        import os

        return os.sched_getaffinity(0)

    interchange.start_manager(available_accelerators=("0", "1"))
    first, first_registration = interchange.accept()
    interchange.start_manager(available_accelerators=("1", "2"))
    second, second_registration = interchange.accept()
    assert device_ids(first_registration) == ["0", "1"]
    assert device_ids(second_registration) == ["2"]
    pinned = []
    for identity in (first, second):
        interchange.start_host(identity)
        interchange.expect(identity, HostReady)
        pinned.append(interchange.call(identity, cores))
    if len(os.sched_getaffinity(0)) > 1:
        assert [len(cores) for cores in pinned] == [1, 1]
        assert pinned[0].isdisjoint(pinned[1])


def device_ids(registration: RegisterManager) -> list[DeviceId]:
    return [device.device_id for device in registration.resources.devices]


def test_host_sees_its_own_devices_and_settings(interchange: InterchangeDriver) -> None:
    def environment() -> dict[str, str]:
        import os

        return dict(os.environ)

    interchange.start_manager(available_accelerators=2, python_path=("/some/where",))
    identity, registration = interchange.accept()
    interchange.start_host(identity, device_ids=(DeviceId("1"),), env={"MINE": "yes"})
    interchange.expect(identity, HostReady)
    seen = interchange.call(identity, environment)
    assert seen["CUDA_VISIBLE_DEVICES"] == "1"
    assert seen["MINE"] == "yes"
    assert seen["PYTHONPATH"].endswith("/some/where")
    assert seen["PARSL_WORKER_RANK"] == "1"
    assert seen["PARSL_WORKER_BLOCK_ID"] == "0"
    assert seen["PARSL_WORKER_POOL_ID"] == registration.manager_id


def test_log_directory_that_cannot_be_made_is_replaced(interchange: InterchangeDriver) -> None:
    (interchange.directory / "file").touch()
    interchange.start_manager(log_dir=str(interchange.directory / "file" / "logs"))
    interchange.accept()
    assert "logs in" in interchange.stderr()


def test_claim_directory_of_others_ends_the_manager_with_a_reason(
    interchange: InterchangeDriver,
) -> None:
    (interchange.directory / f"parsl-pcm-{os.getuid()}").symlink_to("/")
    manager = interchange.start_manager()
    assert manager.wait(WAIT_S) == 1
    assert "set TMPDIR" in interchange.stderr()
