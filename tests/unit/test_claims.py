"""Claims of two managers on one node; two objects stand for two processes, as the locks do."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from parsl_pcm.manager.claims import PATIENCE_S, ClaimError, Claims
from parsl_pcm.types import Device, DeviceId


def device(device_id: str) -> Device:
    return Device(device_id=DeviceId(device_id), kind="cuda", name="A100", memory_bytes=1)


def test_claimed_device_is_left_out_for_others(tmp_path: Path) -> None:
    one, other = Claims(tmp_path), Claims(tmp_path)
    a, b, c = map(device, ("GPU-a", "GPU-b", "GPU-c"))
    assert one.claim_devices([a, b]) == [a, b]
    assert other.claim_devices([b, c]) == [c]


def test_number_of_devices_is_taken_from_those_that_are_free(tmp_path: Path) -> None:
    one, other = Claims(tmp_path), Claims(tmp_path)
    a, b, c = map(device, ("GPU-a", "GPU-b", "GPU-c"))
    assert one.claim_devices([a, b, c], 1) == [a]
    assert other.claim_devices([a, b, c], 1) == [b]
    assert other.claim_devices([a, b, c], 0) == []


def test_same_index_on_two_nodes_of_one_machine_is_two_devices(tmp_path: Path) -> None:
    one, other = Claims(tmp_path, "node1"), Claims(tmp_path, "node2")
    assert one.claim_devices([device("0"), device("GPU-a")]) == [device("0"), device("GPU-a")]
    assert other.claim_devices([device("0"), device("GPU-a")]) == [device("0")]


class Pauses:
    """Stands for sleeping; something may happen in the nth pause."""

    def __init__(self, nth: int = 0, happens: Callable[[], None] | None = None) -> None:
        self.total_s = 0.0
        self._nth, self._happens, self._num = nth, happens, 0

    def __call__(self, pause_s: float) -> None:
        self.total_s += pause_s
        self._num += 1
        if self._happens is not None and self._num == self._nth:
            self._happens()


def test_free_assigned_devices_are_claimed_without_a_pause(tmp_path: Path) -> None:
    pauses = Pauses()
    devices = [device("0"), device("1")]
    assert Claims(tmp_path).claim_assigned_devices(devices, pause=pauses) == devices
    assert pauses.total_s == 0


def test_assigned_device_is_waited_for_while_the_manager_before_us_ends(tmp_path: Path) -> None:
    lock = os.open(tmp_path / "device-1", os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    pauses = Pauses(3, lambda: os.close(lock))
    devices = [device("0"), device("1")]
    assert Claims(tmp_path).claim_assigned_devices(devices, pause=pauses) == devices
    assert 0.2 < pauses.total_s < 0.4


def test_part_of_what_was_assigned_is_better_than_nothing(tmp_path: Path) -> None:
    other, ours = Claims(tmp_path), Claims(tmp_path)
    other.claim_devices([device("0")])
    pauses = Pauses()
    assert ours.claim_assigned_devices([device("0"), device("1")], pause=pauses) == [device("1")]
    assert pauses.total_s == pytest.approx(PATIENCE_S)


def test_conflict_over_all_that_was_assigned_names_the_process(tmp_path: Path) -> None:
    other, ours = Claims(tmp_path), Claims(tmp_path)
    other.claim_devices([device("GPU-a")])
    with pytest.raises(ClaimError, match=f"GPU-a by process {os.getpid()}; end these"):
        ours.claim_assigned_devices([device("GPU-a")], pause=Pauses())


def test_job_without_devices_has_no_conflict(tmp_path: Path) -> None:
    other, ours = Claims(tmp_path), Claims(tmp_path)
    other.claim_devices([device("0")])
    assert ours.claim_assigned_devices([], pause=Pauses()) == []
    assert ours.claim_assigned_devices([device("0")], 0, pause=Pauses()) == []


def test_slash_in_a_device_name_stays_in_the_directory(tmp_path: Path) -> None:
    Claims(tmp_path / "claims").claim_devices([device("MIG-GPU-1/2/0"), device("../escaped")])
    assert not (tmp_path / "escaped").exists()
    assert len(list((tmp_path / "claims").iterdir())) == 2


def test_first_free_cores_are_claimed(tmp_path: Path) -> None:
    one, other = Claims(tmp_path), Claims(tmp_path)
    assert one.claim_cores([4, 5, 6, 7], 2) == (4, 5)
    assert other.claim_cores([4, 5, 6, 7], 1) == (6,)
    assert one.claim_cores([4, 5, 6, 7], 1) == (7,)


def test_too_few_free_cores_claim_none(tmp_path: Path) -> None:
    one, other = Claims(tmp_path), Claims(tmp_path)
    one.claim_cores([0, 1], 1)
    assert other.claim_cores([0, 1], 2) == ()
    assert one.claim_cores([0, 1], 1) == (1,)


def test_released_cores_are_free_again(tmp_path: Path) -> None:
    one, other = Claims(tmp_path), Claims(tmp_path)
    cores = one.claim_cores([0, 1], 2)
    one.release_cores(cores)
    assert other.claim_cores([0, 1], 2) == (0, 1)


def test_directory_is_made_private(tmp_path: Path) -> None:
    for directory in (tmp_path / "new", tmp_path / "open"):
        (tmp_path / "open").mkdir(exist_ok=True)
        (tmp_path / "open").chmod(0o777)
        Claims(directory)
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_directory_of_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/")
    with pytest.raises(ClaimError, match="set TMPDIR"):
        Claims(tmp_path / "link")


def test_directory_that_cannot_be_made_is_refused_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ClaimError, match="set TMPDIR"):
        Claims(tmp_path / "file" / "claims")


def test_hosts_do_not_inherit_claims(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    claims.claim_devices([device("GPU-a")])
    files = [fd for fd in map(int, os.listdir("/proc/self/fd")) if _path_of(fd).parent == tmp_path]
    assert [os.get_inheritable(fd) for fd in files] == [False]


def _path_of(fd: int) -> Path:
    try:
        return Path(os.readlink(f"/proc/self/fd/{fd}"))
    except FileNotFoundError:  # the descriptor of the listing itself
        return Path()
