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
from collections.abc import Iterable, Sequence
from pathlib import Path

from parsl_pcm.types import Device


class ClaimError(RuntimeError):
    """The directory of the locks cannot be trusted or not be written."""


def default_claim_dir() -> Path:
    """Return the directory that all managers of this user on this node share."""
    return Path(tempfile.gettempdir()) / f"parsl-pcm-{os.getuid()}"


class Claims:
    """Everything claimed by one process, held until it is released or the process ends."""

    def __init__(self, directory: Path) -> None:
        _make_private(directory)
        self._directory = directory
        self._files: dict[str, int] = {}

    def claim_devices(self, devices: Iterable[Device]) -> list[Device]:
        """Claim what is free among `devices` and return it."""
        return [device for device in devices if self._claim(f"device-{device.device_id}")]

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

    def _claim(self, name: str) -> bool:
        if name in self._files:
            return False
        path = self._directory / name.replace("/", "_")
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
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
