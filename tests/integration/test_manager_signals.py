"""A real manager whose site takes the node back, driven as the interchange drives it."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from parsl_pcm import context
from parsl_pcm.manager import nvml, rocm
from parsl_pcm.types import HostId
from parsl_pcm.wire.messages import (
    HostExited,
    HostReady,
    ManagerClosing,
    ManagerLeaving,
    PieceRevoked,
    RegisterManager,
    Shutdown,
    StopHost,
)
from tests.interchange_driver import (
    WAIT_S,
    InterchangeDriver,
    are_gone,
    children_of,
    wait_until,
)

NOTICES = [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2]


def waits_for(directory: Path) -> Callable[[], str]:
    """Return a function that says that it runs, and ends when the test lets it."""
    started, gate = str(directory / "started"), str(directory / "gate")

    def wait() -> str:
        import pathlib
        import time

        pathlib.Path(started).touch()
        while not pathlib.Path(gate).exists():
            time.sleep(0.01)
        return "finished"

    return wait


def with_a_busy_host(
    interchange: InterchangeDriver, directory: Path
) -> tuple[subprocess.Popen[bytes], bytes]:
    """Start a manager and a host that runs until the file ``gate`` is there."""
    manager = interchange.start_manager()
    identity, _ = interchange.accept()
    interchange.start_host(identity)
    interchange.expect(identity, HostReady)
    interchange.run(identity, waits_for(directory))
    wait_until((directory / "started").exists)
    return manager, identity


def signal_every_process(manager: subprocess.Popen[bytes], signum: int) -> None:
    """Do as Slurm does to a job: every process gets it, children of hosts too, the oldest first."""
    processes = [psutil.Process(manager.pid), *children_of(manager)]
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # the first may end the others
            process.send_signal(signum)


# --- the first notice -------------------------------------------------------------------------


@pytest.mark.parametrize("signum", NOTICES)
@pytest.mark.parametrize("is_sent_to_all", [False, True])
def test_running_piece_is_finished_after_a_notice(
    interchange: InterchangeDriver, tmp_path: Path, signum: signal.Signals, is_sent_to_all: bool
) -> None:
    manager, identity = with_a_busy_host(interchange, tmp_path)
    if is_sent_to_all:
        signal_every_process(manager, signum)
    else:
        manager.send_signal(signum)
    closing = interchange.expect(identity, ManagerClosing)
    assert closing == ManagerClosing(reason=f"received {signum.name}")
    time.sleep(0.3)
    assert manager.poll() is None
    (tmp_path / "gate").touch()
    assert interchange.result(identity) == "finished"
    assert "nothing is left" in interchange.expect(identity, ManagerLeaving).reason
    assert manager.wait(WAIT_S) == 0


def test_dismissal_ends_what_is_given_up(interchange: InterchangeDriver, tmp_path: Path) -> None:
    manager, identity = with_a_busy_host(interchange, tmp_path)
    hosts = children_of(manager)
    manager.terminate()
    interchange.expect(identity, ManagerClosing)
    interchange.tell(identity, StopHost(host_id=HostId(1)), Shutdown(reason="drained"))
    assert interchange.expect(identity, ManagerLeaving).reason == "drained"
    assert manager.wait(WAIT_S) == 0
    assert are_gone(hosts)


def test_nothing_new_is_taken_after_a_notice(
    interchange: InterchangeDriver, tmp_path: Path
) -> None:
    manager, identity = with_a_busy_host(interchange, tmp_path)
    manager.terminate()
    interchange.expect(identity, ManagerClosing)
    num_processes = len(children_of(manager))
    interchange.start_host(identity, host_id=HostId(2))
    interchange.run(identity, lambda: None, lease_id=7)
    assert interchange.expect(identity, PieceRevoked).lease_id == 7
    assert len(children_of(manager)) == num_processes
    (tmp_path / "gate").touch()
    assert interchange.result(identity) == "finished"


def test_call_that_fails_with_its_engine_is_handed_back(interchange: InterchangeDriver) -> None:
    def use_engine() -> None:
        import subprocess

        subprocess.run(["sleep", "1000"], check=True)

    manager = interchange.start_manager()
    identity, _ = interchange.accept()
    interchange.start_host(identity)
    interchange.expect(identity, HostReady)
    interchange.run(identity, use_engine)
    wait_until(lambda: len(children_of(manager)) == 2)
    signal_every_process(manager, signal.SIGTERM)
    messages = [interchange.receive(identity).message]
    while not isinstance(messages[-1], ManagerLeaving):
        messages.append(interchange.receive(identity).message)
    kinds = {type(message) for message in messages}  # it may fail before the manager looks
    assert {PieceRevoked} <= kinds <= {ManagerClosing, PieceRevoked, ManagerLeaving}
    assert manager.wait(WAIT_S) == 0


def test_host_that_dies_after_a_notice_hands_its_piece_back(
    interchange: InterchangeDriver, tmp_path: Path
) -> None:
    manager, identity = with_a_busy_host(interchange, tmp_path)
    (host,) = children_of(manager)
    manager.terminate()
    interchange.expect(identity, ManagerClosing)
    host.kill()
    interchange.expect(identity, PieceRevoked)
    interchange.expect(identity, HostExited)
    interchange.expect(identity, ManagerLeaving)
    assert manager.wait(WAIT_S) == 0


def test_handler_of_the_user_is_called(interchange: InterchangeDriver, tmp_path: Path) -> None:
    started, gate = str(tmp_path / "started"), str(tmp_path / "gate")

    def wait_for_signal() -> list[int]:
        import pathlib
        import signal
        import time

        received: list[int] = []
        signal.signal(signal.SIGTERM, lambda signum, _: received.append(signum))
        pathlib.Path(started).touch()
        while not pathlib.Path(gate).exists():
            time.sleep(0.01)
        return received

    manager = interchange.start_manager()
    identity, _ = interchange.accept()
    interchange.start_host(identity)
    interchange.expect(identity, HostReady)
    interchange.run(identity, wait_for_signal)
    wait_until(Path(started).exists)
    signal_every_process(manager, signal.SIGTERM)
    interchange.expect(identity, ManagerClosing)
    (tmp_path / "gate").touch()
    assert interchange.result(identity) == [signal.SIGTERM]


# --- leaving at once --------------------------------------------------------------------------


@pytest.mark.parametrize("first", NOTICES)
def test_second_sigterm_ends_everything_at_once(
    interchange: InterchangeDriver, tmp_path: Path, first: signal.Signals
) -> None:
    manager, identity = with_a_busy_host(interchange, tmp_path)
    hosts = children_of(manager)
    manager.send_signal(first)
    interchange.expect(identity, ManagerClosing)
    time.sleep(0.6)
    manager.terminate()
    assert "SIGTERM" in interchange.expect(identity, ManagerLeaving).reason
    assert manager.wait(WAIT_S) == 0
    assert are_gone(hosts)
    assert not interchange.socket.poll(100)


def test_interrupt_hands_everything_back_at_once(
    interchange: InterchangeDriver, tmp_path: Path
) -> None:
    manager, identity = with_a_busy_host(interchange, tmp_path)
    hosts = children_of(manager)
    manager.send_signal(signal.SIGINT)
    assert "SIGINT" in interchange.expect(identity, ManagerLeaving).reason
    assert manager.wait(WAIT_S) == 0
    assert are_gone(hosts)


@pytest.mark.parametrize("signum", NOTICES)
def test_manager_without_work_leaves_at_once_after_its_clean_up(
    interchange: InterchangeDriver, tmp_path: Path, signum: signal.Signals
) -> None:
    @context
    def resource(path: str) -> Iterator[int]:
        yield 1
        open(path, "x").close()

    manager = interchange.start_manager()
    identity, _ = interchange.accept()
    interchange.start_host(identity, resource(str(tmp_path / "cleaned")))
    interchange.expect(identity, HostReady)
    signal_every_process(manager, signum)
    assert signum.name in interchange.expect(identity, ManagerLeaving).reason
    assert manager.wait(WAIT_S) == 0
    assert (tmp_path / "cleaned").exists()


def test_manager_without_hosts_leaves_at_once(interchange: InterchangeDriver) -> None:
    manager = interchange.start_manager()
    identity, _ = interchange.accept()
    manager.terminate()
    interchange.expect(identity, ManagerLeaving)
    assert manager.wait(WAIT_S) == 0


def test_manager_that_waits_for_its_welcome_leaves_at_once(interchange: InterchangeDriver) -> None:
    manager = interchange.start_manager()
    identity, _ = interchange.receive_any()
    manager.terminate()
    interchange.expect(identity, ManagerLeaving)
    assert manager.wait(WAIT_S) == 0


@pytest.mark.parametrize("signum", NOTICES)
def test_notice_before_an_interchange_is_found_is_no_failure(
    interchange: InterchangeDriver, signum: signal.Signals
) -> None:
    manager = interchange.start_manager(addresses=("192.0.2.1", "192.0.2.2"))  # lead nowhere
    wait_until(lambda: bool(list(interchange.directory.glob("logs/block-0/*/manager.log"))))
    time.sleep(0.2)
    manager.send_signal(signum)
    assert manager.wait(WAIT_S) == 0


# --- what the site says at the start ----------------------------------------------------------


def test_registration_tells_end_and_restarts(interchange: InterchangeDriver) -> None:
    told = {
        "PARSL_PCM_WALLTIME_S": "3600",
        "PARSL_PCM_BLOCK_AGE_S": "100",
        "SLURM_RESTART_COUNT": "2",
    }
    interchange.start_manager(told)
    _, registration = interchange.accept()
    assert registration.remaining_s is not None
    assert 3500 - WAIT_S < registration.remaining_s < 3500
    assert registration.num_restarts == 2


def given_gpu(index: str, node: str = "node1") -> dict[str, str]:
    return {
        "SLURM_JOB_GPUS": index,
        "CUDA_VISIBLE_DEVICES": index,
        "SLURMD_NODENAME": node,
        "PARSL_PCM_GPU": '{"name": "a10", "memory_bytes": 24000000000}',
    }


def devices_of(registration: RegisterManager) -> list[tuple[str, str]]:
    return [(device.device_id, device.name) for device in registration.resources.devices]


needs_no_driver = pytest.mark.skipif(
    bool(nvml.find_gpus() or rocm.find_gpus()),
    reason="the driver knows better than the scheduler's variables",
)


@needs_no_driver
def test_blocks_on_one_node_use_the_gpus_that_the_scheduler_gave_them(
    interchange: InterchangeDriver,
) -> None:
    for block, index in enumerate("01"):
        interchange.start_manager(given_gpu(index), available_accelerators=1)
        _, registration = interchange.accept()
        assert devices_of(registration) == [(index, "a10")], block
    interchange.start_manager(given_gpu("0", "node2"), available_accelerators=1)
    _, registration = interchange.accept()
    assert devices_of(registration) == [("0", "a10")]


@needs_no_driver
def test_requeued_job_waits_for_the_end_of_the_manager_before_it(
    interchange: InterchangeDriver,
) -> None:
    before = interchange.start_manager(given_gpu("1"))
    interchange.accept()
    interchange.start_manager(given_gpu("1"))
    assert not interchange.socket.poll(1500)
    before.kill()
    _, registration = interchange.accept()
    assert devices_of(registration) == [("1", "a10")]


@needs_no_driver
def test_gpu_that_another_manager_keeps_ends_the_block_with_the_reason(
    interchange: InterchangeDriver,
) -> None:
    owner = interchange.start_manager(given_gpu("1"))
    interchange.accept()
    second = interchange.start_manager(given_gpu("1"))
    assert second.wait(WAIT_S) == 1
    assert f"1 by process {owner.pid}" in interchange.stderr(1)
