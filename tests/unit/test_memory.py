"""What a host holds, and what of that is news: of made-up processes, on made-up devices."""

from __future__ import annotations

import os

import pytest

from parsl_pcm.manager import memory
from parsl_pcm.manager.memory import HostMemory, Memory, has_grown
from parsl_pcm.types import DeviceId

MIB = 2**20
GIB = 2**30
A, B = DeviceId("GPU-a"), DeviceId("GPU-b")
NOBODY = 2**30
"""Numbers of processes begin here in these tests: no system has one of them."""


class FakeGpus:
    """Bytes by device and process."""

    def __init__(self, **users: dict[int, int]) -> None:
        self.users = {DeviceId(f"GPU-{name}"): dict(pids) for name, pids in users.items()}

    def __call__(self, device_id: DeviceId) -> dict[int, int]:
        return self.users.get(device_id, {})


def host_memory(monkeypatch: pytest.MonkeyPatch, gpus: FakeGpus, *processes: int) -> HostMemory:
    monkeypatch.setattr(memory, "session_members", lambda session: frozenset(processes))
    return HostMemory(NOBODY, (A, B), gpus)


def test_device_memory_is_that_of_all_processes_on_the_fullest_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    others = NOBODY + 9
    gpus = FakeGpus(a={NOBODY: 5, NOBODY + 1: 6}, b={NOBODY: 10, others: 100}, c={NOBODY: 1000})
    held = host_memory(monkeypatch, gpus, NOBODY, NOBODY + 1).measure()
    assert held == Memory(gpu_memory_bytes=11, host_memory_bytes=0)


def test_memory_that_the_driver_does_not_tell_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    assert host_memory(monkeypatch, FakeGpus(), NOBODY).measure() == Memory()


def test_main_memory_of_a_real_process_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    held = host_memory(monkeypatch, FakeGpus(), os.getpid(), NOBODY).measure()
    assert MIB < held.host_memory_bytes < 2**50


def test_only_clear_growth_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = FakeGpus(a={NOBODY: GIB})
    host = host_memory(monkeypatch, gpus, NOBODY)
    assert host.look(1.0) == Memory(gpu_memory_bytes=GIB)
    assert host.look(2.0) is None
    gpus.users[A][NOBODY] = GIB + 60 * MIB
    assert host.look(3.0) is None
    gpus.users[A][NOBODY] = GIB + 110 * MIB
    assert host.look(4.0) == Memory(gpu_memory_bytes=GIB + 110 * MIB)
    assert host.looked_s == 4.0


def test_slow_growth_is_told_when_it_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = FakeGpus(a={NOBODY: GIB})
    host = host_memory(monkeypatch, gpus, NOBODY)
    told = []
    for look in range(10):
        told.append(host.look(float(look)) is not None)
        gpus.users[A][NOBODY] += 30 * MIB
    assert told == [True, False, False, False, True, False, False, False, True, False]


def test_peak_outlives_what_is_held_now(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = FakeGpus(a={NOBODY: GIB})
    host = host_memory(monkeypatch, gpus, NOBODY)
    host.look(1.0)
    gpus.users[A].clear()
    assert host.look(2.0) is None
    assert host.measure() == Memory()
    assert host.peak == Memory(gpu_memory_bytes=GIB)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [(0, 32, False), (0, 33, True), (1000, 1050, False), (1000, 1101, True), (10, 12, False)],
)
def test_growth_needs_a_tenth_and_32_mib(before: int, now: int, expected: bool) -> None:
    on_devices = Memory(gpu_memory_bytes=before * MIB), Memory(gpu_memory_bytes=now * MIB)
    in_main = Memory(host_memory_bytes=before * MIB), Memory(host_memory_bytes=now * MIB)
    assert has_grown(*on_devices) is expected
    assert has_grown(*in_main) is expected


def test_devices_are_free_when_the_driver_shows_none_of_the_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpus = FakeGpus(a={NOBODY + 1: 0}, b={NOBODY + 9: GIB})
    host = host_memory(monkeypatch, gpus, NOBODY, NOBODY + 1)
    host.remember_processes()
    assert not host.is_off_devices()
    gpus.users[A].clear()
    assert host.is_off_devices()


def test_processes_that_were_seen_before_the_end_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpus = FakeGpus(a={NOBODY: GIB})
    host = host_memory(monkeypatch, gpus, NOBODY)
    host.look(1.0)
    monkeypatch.setattr(memory, "session_members", lambda session: frozenset())
    host.remember_processes()  # it crashed: nobody is left to be seen
    assert not host.is_off_devices()


def test_host_without_devices_holds_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "session_members", lambda session: frozenset({NOBODY}))
    host = HostMemory(NOBODY, (), FakeGpus(a={NOBODY: GIB}))
    host.remember_processes()
    assert host.is_off_devices()
    assert host.measure() == Memory()
