"""A file of JSON lines, one for each item, appended batch by batch and never rewritten.

::

    {"index": 17, "key": "claim-17", "result": {"label": "SUPPORTED"}}
    {"index": 18, "key": "claim-18", "error": {"type": "ValueError", "message": ...}}

An item that had an error and was done by a later run has both lines: the later one counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from parsl_pcm.errors import ResultNotWritable, SinkError
from parsl_pcm.mapping.keys import Key
from parsl_pcm.mapping.sinks.plain import (
    ENCODING_ERRORS,
    as_error,
    plain_part,
    refusal,
    with_names,
)
from parsl_pcm.mapping.sinks.protocol import DoneItem
from parsl_pcm.mapping.sinks.rows import Row
from parsl_pcm.mapping.sinks.safe_file import Patience, SafeFile


class JsonlSink:
    """Writes results to a file of JSON lines.

    Parameters
    ----------
    is_tolerant
        Whether a result that cannot be written becomes an error row; else it ends the map.

    Raises
    ------
    SinkError
        If the file cannot be written, or somebody else writes it.
    """

    def __init__(self, path: Path, patience: Patience, *, is_tolerant: bool) -> None:
        self._file = SafeFile(path, patience)
        self._is_tolerant = is_tolerant
        self._encoder = msgspec.json.Encoder(enc_hook=plain_part)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever written."""
        return self._file.num_bytes == 0

    @property
    def places(self) -> list[Path]:
        """What there is to delete for a map to start afresh."""
        return [self._file.path]

    def done(self) -> Iterator[DoneItem]:
        """Yield the items that have a result in the file; to be called before the first write.

        Raises
        ------
        SinkError
            For a line that is no row of a map.
        """
        self._file.cut_torn_line()
        decoder = msgspec.json.Decoder(_RowWithoutResult)
        with self._file.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    row = decoder.decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise SinkError(
                        f"{self._file.path}:{number}: this line is no result of a map ({error}). "
                        "Delete the line to have its item done again"
                    ) from error
                if row.error is UNSET:
                    yield DoneItem(row.index, _key_of(row))

    def write(self, rows: Sequence[Row]) -> int:
        """Write rows; when this returns they survive the end of this process.

        Raises
        ------
        ResultNotWritable
            If a result is nothing for JSON and the sink is not tolerant; the other rows are
            written.
        SinkError
            If the file cannot be written.
        """
        named = with_names(rows)
        try:
            self._file.append(self._encoder.encode_lines(named))
        except ENCODING_ERRORS:
            return self._write_one_by_one(named)
        return 0

    def flush(self) -> None:
        """Write to the disk itself."""
        self._file.sync()

    def close(self, *, is_complete: bool) -> None:
        """Write to the disk itself and close."""
        try:
            self._file.sync()
        finally:
            self._file.close()

    def _write_one_by_one(self, rows: Sequence[Row]) -> int:
        lines: list[bytes] = []
        refused: list[ResultNotWritable] = []
        for row in rows:
            try:
                lines.append(self._encode(row))
            except ENCODING_ERRORS as error:
                refused.append(refusal(row, self._file.path, error))
                if self._is_tolerant:
                    lines.append(self._encode(as_error(row, refused[-1])))
        self._file.append(b"".join(lines))
        if refused and not self._is_tolerant:
            raise refused[0]
        return len(refused)

    def _encode(self, row: Row) -> bytes:
        return self._encoder.encode(row) + b"\n"


class _RowWithoutResult(Struct):
    index: int
    key: Key | UnsetType = UNSET
    digest: str | UnsetType = UNSET
    error: Any = UNSET


def _key_of(row: _RowWithoutResult) -> Key | None:
    if row.key is not UNSET:
        return row.key
    return None if row.digest is UNSET else row.digest
