"""Files that have one writer, hold whole batches only, and outlast a full disk.

A batch that was not written to its end is cut off again, by this process or by the next one that
opens the file. A disk without room, or an exhausted quota, is waited for: a long run must not end
for it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from parsl_pcm.clock import monotonic_s
from parsl_pcm.errors import SinkError

logger = logging.getLogger(__name__)

RETRY_S = 5.0
"""Until the next try when a disk is full."""
SYNC_S = 1.0
"""At most this much work is lost if the machine dies; if only we do, nothing is."""
MAX_UNSYNCED_BYTES = 16 << 20

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_NO_LOCKS_HERE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_TAIL_BYTES = 1 << 16

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How a full disk is waited for.

    Attributes
    ----------
    on_wait
        Is told before each wait what for. It may raise, to give up.
    pause
        Waits for so many seconds; may return early.
    """

    on_wait: Callable[[str], None]
    pause: Callable[[float], object] = time.sleep

    def insist(self, path: Path, attempt: Callable[[], T]) -> T:
        """Return what the attempt returns, repeating it as long as there is no room.

        Raises
        ------
        OSError
            For every other reason.
        """
        while True:
            try:
                return attempt()
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                self.on_wait(
                    f"{path}: {error.strerror}. Waiting for room; trying again every "
                    f"{RETRY_S:.0f} s"
                )
                self.pause(RETRY_S)


class SafeFile:
    """A file to append to, which nobody else writes.

    Parameters
    ----------
    path
        Made if it is not there.

    Raises
    ------
    SinkError
        If it cannot be written, or another process writes it.
    """

    def __init__(self, path: Path, patience: Patience) -> None:
        self.path = path
        self._patience = patience
        self._fd = _open(path)
        try:
            _lock(self._fd, path)
            self._end = os.fstat(self._fd).st_size
        except BaseException:
            os.close(self._fd)
            raise
        self._synced_end = self._end
        self._unsynced: list[bytes] = []
        """What was appended since: a file system may say only when it syncs that it had no room."""
        self._is_sync_in_doubt = False
        """Whether a sync failed: what it should have written may be lost, and is written anew."""
        self._synced_at_s = monotonic_s()
        self._is_open = True

    @property
    def num_bytes(self) -> int:
        """Length of the file."""
        return self._end

    def cut_torn_line(self) -> None:
        """Cut off what follows the last newline: a line whose writer was killed."""
        end = self._end
        while end > 0:
            start = max(0, end - _TAIL_BYTES)
            newline = os.pread(self._fd, end - start, start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < self._end:
            os.ftruncate(self._fd, end)
            self._end = self._synced_end = end

    def append(self, data: bytes) -> None:
        """Write, whole or not at all; about once a second also to the disk itself.

        Raises
        ------
        SinkError
            If it cannot be written, for another reason than a full disk.
        """
        with self._whole_or_not_at_all():
            self._write(data, self._end)
            self._end += len(data)
            self._unsynced.append(data)
            is_much = self._end - self._synced_end >= MAX_UNSYNCED_BYTES
            if is_much or monotonic_s() - self._synced_at_s >= SYNC_S:
                self._sync()

    def sync(self) -> None:
        """Write to the disk itself what was appended.

        Raises
        ------
        SinkError
            If it cannot be written, for another reason than a full disk.
        """
        with self._whole_or_not_at_all():
            if self._unsynced:
                self._sync()

    def close(self) -> None:
        """Close the file, and let others write it; repeating it is safe."""
        if self._is_open:
            self._is_open = False
            os.close(self._fd)

    def _write(self, data: bytes, start: int) -> None:
        rest = memoryview(data)
        while rest:  # a write may take less than it was given
            offset = start + len(data) - len(rest)
            write = functools.partial(os.pwrite, self._fd, rest, offset)
            rest = rest[self._patience.insist(self.path, write) :]

    def _sync(self) -> None:
        self._patience.insist(self.path, self._try_sync)
        self._synced_end = self._end
        self._unsynced.clear()
        self._synced_at_s = monotonic_s()

    def _try_sync(self) -> None:
        if self._is_sync_in_doubt:
            self._write(b"".join(self._unsynced), self._synced_end)
        self._is_sync_in_doubt = True
        os.fsync(self._fd)
        self._is_sync_in_doubt = False

    @contextlib.contextmanager
    def _whole_or_not_at_all(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._end)
            if isinstance(error, OSError):
                raise SinkError(
                    f"{self.path} cannot be written any more: {error}. What is in it is whole"
                ) from error
            raise


def write_whole(path: Path, data: bytes, patience: Patience) -> None:
    """Write a file in one step: whoever looks sees the old one, or the new one as a whole.

    Raises
    ------
    SinkError
        If it cannot be written, for another reason than a full disk.
    """
    part = path.with_name(f".{path.name}.tmp")

    def attempt() -> None:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)

    try:
        patience.insist(path, attempt)
        sync_folder(path.parent)
    except OSError as error:
        raise SinkError(f"{path} cannot be written: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make names survive the end of the machine; on file systems that can."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(fd)
    finally:
        os.close(fd)


def _open(path: Path) -> int:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except FileNotFoundError as error:
        raise SinkError(f"{path} cannot be written: make the folder {path.parent} first") from error
    except OSError as error:
        raise SinkError(f"{path} cannot be written: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise SinkError(f"{path} cannot be written: it is no regular file")
    return fd


def _lock(fd: int, path: Path) -> None:
    """Lock the file until it is closed, however this process ends."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise SinkError(
            f"{path} is being written by another map: wait until that has ended, or use another "
            "file"
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS_HERE:
            raise SinkError(f"{path} cannot be locked: {error.strerror}") from error
        logger.warning("%s: this file system has no locks: let one map alone write it", path)
