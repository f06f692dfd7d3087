"""Results of earlier runs of a map without a sink: an SQLite file, ``resume=PATH``.

A batch of results is one transaction, so a process that is killed leaves the batches before it. One
process at a time may have the file open.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from parsl_pcm.errors import SinkError
from parsl_pcm.mapping.keys import Key, Keys
from parsl_pcm.mapping.resume import MapIdentity, check_identity, encode_identity
from parsl_pcm.mapping.sinks.safe_file import RETRY_S, Patience
from parsl_pcm.pickling import dump_result, load_result

_SCHEMA = """
CREATE TABLE IF NOT EXISTS identity (json BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS results (mark INTEGER PRIMARY KEY, result BLOB NOT NULL);
"""


class Journal:
    """Results by item. Its methods may be called from any thread.

    Parameters
    ----------
    path
        Made if it is not there.
    identity
        Of this map; what is in the file must be of the same.

    Raises
    ------
    ResumeRefused
        If it has results of another map.
    SinkError
        If it cannot be written, is being written, or is no journal.
    """

    def __init__(
        self, path: Path, patience: Patience, *, keys: Keys, identity: MapIdentity
    ) -> None:
        self._path = path
        self._patience = patience
        self._keys = keys
        self._lock = threading.Lock()
        self._database = _open(path)
        try:
            self._check_identity(identity)
        except BaseException:
            self._database.close()
            raise

    def __len__(self) -> int:
        with self._lock:
            row = self._database.execute("SELECT count(*) FROM results").fetchone()
        return int(row[0])

    def get(self, index: int, key: Key | None) -> tuple[bool, Any]:
        """Return whether an item is done, and its result if it is."""
        mark = _signed(self._keys.mark_of(index, key))
        with self._lock:
            row = self._database.execute(
                "SELECT result FROM results WHERE mark = ?", (mark,)
            ).fetchone()
        return (False, None) if row is None else (True, load_result(row[0]))

    def add(self, results: Sequence[tuple[int, Key | None, Any]]) -> None:
        """Keep results, each with index and key of its item; when this returns they are safe.

        Raises
        ------
        SinkError
            If they cannot be written, for another reason than a full disk.
        """
        rows = [
            (_signed(self._keys.mark_of(index, key)), dump_result(result))
            for index, key, result in results
        ]
        while not self._try_add(rows):
            self._patience.on_wait(
                f"{self._path}: No space left on device. Waiting for room; trying again every "
                f"{RETRY_S:.0f} s"
            )
            self._patience.pause(RETRY_S)

    def close(self) -> None:
        """Close the file, and let others open it; repeating it is safe."""
        with self._lock:
            self._database.close()

    def _try_add(self, rows: Sequence[tuple[int, bytes]]) -> bool:
        """Return False if the disk is full."""
        try:
            with self._lock, self._database:
                self._database.executemany("INSERT OR REPLACE INTO results VALUES (?, ?)", rows)
        except sqlite3.Error as error:
            if "disk is full" in str(error):
                return False
            raise SinkError(f"{self._path} cannot be written any more: {error}") from error
        return True

    def _check_identity(self, identity: MapIdentity) -> None:
        row = self._database.execute("SELECT json FROM identity").fetchone()
        if row is None:
            with self._database:
                self._database.execute(
                    "INSERT INTO identity VALUES (?)", (encode_identity(identity),)
                )
            return
        cure = f"To start afresh, delete {self._path}, or give another path as resume="
        check_identity(row[0], identity, where=str(self._path), cure=cure)


def _open(path: Path) -> sqlite3.Connection:
    """Open a database for this process alone."""
    try:
        database = sqlite3.connect(path, timeout=0, check_same_thread=False)
    except sqlite3.Error as error:
        raise SinkError(f"{path} cannot be opened: {error}") from error
    try:
        # No write-ahead log: it needs memory that processes share, which network file systems lack.
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA journal_mode = TRUNCATE")
        database.execute("BEGIN EXCLUSIVE")  # from here on the lock stays until it is closed
        database.commit()
        database.executescript(_SCHEMA)
    except sqlite3.Error as error:
        database.close()
        raise SinkError(_why_not(path, error)) from error
    return database


def _why_not(path: Path, error: sqlite3.Error) -> str:
    if "locked" in str(error):
        return f"{path} is open in another map: wait until that has ended, or give another path"
    if "not a database" in str(error):
        return f"{path} is no file of resume=: give another path"
    return f"{path} cannot be written: {error}"


def _signed(mark: int) -> int:
    """Return the same 64 bits as SQLite has them."""
    return mark - (1 << 64) if mark >= 1 << 63 else mark
