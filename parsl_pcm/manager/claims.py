"""Devices and cores that this manager alone uses on this node, among the managers of this user.

A claim is a lock on a file in a private directory of the user. The kernel drops it when the process
ends, however it ends. Hosts do not inherit it: Python closes its files in the processes it starts.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from parsl_pcm.types import Device

PATIENCE_S = 5.0
"""For what we are entitled to: a killed process, and those it started, take seconds to be gone."""
_PAUSE_S = 0.1


class ClaimError(RuntimeError):
    """The directory of the locks cannot be used, or what the site gave us is used by another."""


def default_claim_dir() -> Path:
    """Return the directory that all managers of this user on this node share."""
    return Path(tempfile.gettempdir()) / f"parsl-pcm-{os.getuid()}"


class Claims:
    """Everything claimed by one process, held until it is released or the process ends.

    Parameters
    ----------
    directory
        Shared by the managers of this user on this machine.
    node_name
        The scheduler's name of this node: indices of devices are unique there only, for there are
        schedulers that run several nodes on one machine.
    """

    def __init__(self, directory: Path, node_name: str = "") -> None:
        _make_private(directory)
        self._directory = directory
        self._node_name = node_name
        self._files: dict[str, int] = {}

    def claim_devices(
        self, devices: Sequence[Device], num_devices: int | None = None
    ) -> list[Device]:
        """Claim the first free ones among `devices`, `num_devices` at most, and return them."""
        claimed: list[Device] = []
        for device in devices:
            if len(claimed) != num_devices and self._claim(self._lock_of(device)):
                claimed.append(device)
        return claimed

    def claim_assigned_devices(
        self,
        devices: Sequence[Device],
        num_devices: int | None = None,
        *,
        pause: Callable[[float], None] = time.sleep,
    ) -> list[Device]:
        """Claim devices that the scheduler gave to this job alone.

        Who still holds one then is about to end, most likely: the manager of a job that was just
        killed. So it is waited for, :data:`PATIENCE_S` at most.

        Raises
        ------
        ClaimError
            If devices are wanted and there is none to be had.
        """
        num_wanted = len(devices) if num_devices is None else num_devices
        claimed = self.claim_devices(devices, num_wanted)
        for _ in range(round(PATIENCE_S / _PAUSE_S)):
            if len(claimed) == num_wanted:
                break
            pause(_PAUSE_S)
            claimed += self.claim_devices(devices, num_wanted - len(claimed))
        if num_wanted and not claimed:
            raise ClaimError(self._explain_conflict(devices))
        return claimed

    def claim_cores(self, cores: Sequence[int], num_cores: int) -> tuple[int, ...]:
        """Claim the first free `num_cores` of `cores`; none at all if fewer are free."""
        claimed: list[int] = []
        for core in cores:
            if len(claimed) < num_cores and self._claim(f"core-{core}"):
                claimed.append(core)
        if len(claimed) < num_cores:
            self.release_cores(claimed)
            return ()
        return tuple(claimed)

    def release_cores(self, cores: Iterable[int]) -> None:
        """Give cores back."""
        for core in cores:
            os.close(self._files.pop(f"core-{core}"))

    def _lock_of(self, device: Device) -> str:
        node = f"{self._node_name}-" if device.device_id.isdecimal() and self._node_name else ""
        return f"device-{node}{device.device_id}"

    def _explain_conflict(self, devices: Sequence[Device]) -> str:
        owners = {device.device_id: self._owner(self._lock_of(device)) for device in devices}
        listing = ", ".join(f"{name} by process {owner}" for name, owner in owners.items())
        return (
            "the scheduler gave this job devices that other managers of yours on this node use: "
            f"{listing}; end these if their jobs are over, or submit to nodes that are not shared"
        )

    def _owner(self, name: str) -> str:
        """Return the process that holds a lock, as it wrote it there."""
        try:
            return self._path(name).read_text() or "?"
        except OSError:
            return "?"

    def _path(self, name: str) -> Path:
        return self._directory / name.replace("/", "_")

    def _claim(self, name: str) -> bool:
        if name in self._files:
            return False
        file = os.open(self._path(name), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        os.truncate(file, 0)
        os.write(file, str(os.getpid()).encode())
        self._files[name] = file
        return True


def _make_private(directory: Path) -> None:
    try:
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700, parents=True)
        status = directory.lstat()
    except OSError as error:
        raise ClaimError(f"cannot use {directory}: {error}; set TMPDIR to a local disk") from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise ClaimError(
            f"{directory} is not a directory of user {os.getuid()}, but of user {status.st_uid}; "
            "remove it, or set TMPDIR to a directory of your own"
        )
    directory.chmod(0o700)
