"""A Parquet file, one row for each item.

Columns: ``index``, ``key`` (or ``digest``), ``variant`` if the context of the app has variants,
``result``, and ``error_type``, ``error_message``, ``error_traceback``, which are null where there
is a result. Of results with named fields (dicts, dataclasses, ...) the fields are columns in place
of ``result``; a field that has the name of another column becomes ``result_<name>``.

A Parquet file cannot grow. So results go to part files in the folder ``<file>.parts``, each whole
or not there; at the end they are merged into the file, in one step, and removed. An item that had
an error and was done by a later run has both rows: the later one counts.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from parsl_pcm.clock import monotonic_s
from parsl_pcm.errors import ResultNotWritable, SinkError
from parsl_pcm.mapping.arrow import import_pyarrow
from parsl_pcm.mapping.sinks.plain import ENCODING_ERRORS, as_error, refusal, with_names
from parsl_pcm.mapping.sinks.protocol import DoneItem
from parsl_pcm.mapping.sinks.rows import Row
from parsl_pcm.mapping.sinks.safe_file import Patience, SafeFile, sync_folder, write_whole
from parsl_pcm.mapping.sinks.tables import Tables

PART_S = 10.0
"""At most the results of this time are lost if the process is killed, and done again."""
PART_ROWS = 1 << 16
PART_BYTES = 32 << 20
"""In memory; also of what is merged at once."""

_NUM_MERGED = b"parsl_pcm.num_merged_parts"
"""In the metadata of the file: parts up to this number are in it, should they still be there."""


class ParquetSink:
    """Writes results to a Parquet file.

    Parameters
    ----------
    is_tolerant
        Whether a result that cannot be written becomes an error row; else it ends the map.

    Raises
    ------
    SinkError
        If the file cannot be written, or somebody else writes it.
    ImportError
        Without pyarrow.
    """

    def __init__(self, path: Path, patience: Patience, *, is_tolerant: bool) -> None:
        self._pyarrow = import_pyarrow(f"to write {path}")
        self._path = path
        self._patience = patience
        self._is_tolerant = is_tolerant
        self._parts = _make_folder(path)
        self._lock = SafeFile(self._parts / ".lock", patience)
        self._tables = Tables(self._pyarrow)
        self._pending: list[Any] = []
        self._num_pending_rows = 0
        self._num_pending_bytes = 0
        self._pending_since_s = 0.0
        self._num_parts = 0
        """The number of the last one, ever."""
        self._is_open = True

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever written."""
        return not self._sources()

    @property
    def places(self) -> list[Path]:
        """What there is to delete for a map to start afresh."""
        return [self._path] * self._has_file() + [self._parts] * bool(self._part_files())

    def done(self) -> Iterator[DoneItem]:
        """Yield the items that have a result in the file or its parts; before the first write.

        Raises
        ------
        SinkError
            If one of them cannot be read.
        """
        self._remove_merged_parts()
        for source in self._sources():
            with self._explaining(source), self._pyarrow.parquet.ParquetFile(source) as file:
                self._tables.admit_schema(file.schema_arrow)
                yield from _done_in(file)

    def write(self, rows: Sequence[Row]) -> int:
        """Take rows; within about ten seconds of writing they are in a file.

        Raises
        ------
        ResultNotWritable
            If a result is nothing for the column that it belongs to and the sink is not tolerant;
            the other rows are written.
        SinkError
            If a file cannot be written.
        """
        named = with_names(rows)
        refused: list[ResultNotWritable] = []
        try:
            if named:
                self._keep(self._tables.table(named))
        except ENCODING_ERRORS:
            refused = self._keep_one_by_one(named)
        self.flush()
        if refused and not self._is_tolerant:
            raise refused[0]
        return len(refused)

    def flush(self) -> None:
        """Write what was taken into a part file, if that is due: not one for every few rows."""
        if self._is_part_due():
            self.write_part()

    def write_part(self) -> None:
        """Write what was taken into a part file.

        Raises
        ------
        SinkError
            If it cannot be written, for another reason than a full disk.
        """
        if not self._pending:
            return
        buffer = io.BytesIO()
        self._pyarrow.parquet.write_table(self._tables.join(self._pending), buffer)
        number = self._num_parts + 1
        write_whole(self._parts / f"part-{number:06d}.parquet", buffer.getvalue(), self._patience)
        self._num_parts = number
        self._pending.clear()
        self._num_pending_rows = self._num_pending_bytes = 0

    def close(self, *, is_complete: bool) -> None:
        """Write what was taken; if that is all, merge the parts into the file."""
        if not self._is_open:
            return
        self._is_open = False
        try:
            self.write_part()
            if is_complete and (self._part_files() or not self._has_file()):
                self._merge()
        finally:
            if not self._part_files():
                self._lock.path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # somebody else's file is in it
                    self._parts.rmdir()
            self._lock.close()

    # --- parts --------------------------------------------------------------------------------

    def _keep(self, table: Any) -> None:
        if not self._pending:
            self._pending_since_s = monotonic_s()
        self._pending.append(table)
        self._num_pending_rows += table.num_rows
        self._num_pending_bytes += table.nbytes

    def _keep_one_by_one(self, rows: Sequence[Row]) -> list[ResultNotWritable]:
        refused: list[ResultNotWritable] = []
        for row in rows:
            try:
                self._keep(self._tables.table([row]))
            except ENCODING_ERRORS as error:
                refused.append(refusal(row, self._path, error))
                if self._is_tolerant:
                    self._keep(self._tables.table([as_error(row, refused[-1])]))
        return refused

    def _is_part_due(self) -> bool:
        return bool(self._pending) and (
            self._num_pending_rows >= PART_ROWS
            or self._num_pending_bytes >= PART_BYTES
            or monotonic_s() - self._pending_since_s >= PART_S
        )

    def _part_files(self) -> list[Path]:
        return sorted(self._parts.glob("part-*.parquet"), key=_number_of)

    def _has_file(self) -> bool:
        return self._path.exists() and self._path.stat().st_size > 0

    def _sources(self) -> list[Path]:
        """Return what holds results, in the order in which they were written."""
        return [self._path] * self._has_file() + self._part_files()

    def _remove_merged_parts(self) -> None:
        """Remove parts that were merged by a process that ended before it had removed them."""
        if self._has_file():
            with self._explaining(self._path):
                metadata = self._pyarrow.parquet.read_schema(self._path).metadata or {}
            self._num_parts = int(metadata.get(_NUM_MERGED, 0))
        for part in self._part_files():
            if _number_of(part) <= self._num_parts:
                part.unlink()
        self._num_parts = max([self._num_parts, *map(_number_of, self._part_files())])

    # --- merging ------------------------------------------------------------------------------

    def _merge(self) -> None:
        merged = self._path.with_name(f".{self._path.name}.tmp")
        try:
            self._patience.insist(self._path, lambda: self._write_merged(merged))
            merged.replace(self._path)
            sync_folder(self._path.parent)
        except OSError as error:
            raise SinkError(
                f"{self._path} cannot be written: {error}. The results are in {self._parts}"
            ) from error
        finally:
            merged.unlink(missing_ok=True)
        for part in self._part_files():
            part.unlink()

    def _write_merged(self, merged: Path) -> None:
        metadata = {_NUM_MERGED: str(self._num_parts).encode()}
        schema = self._tables.schema().with_metadata(metadata)
        with merged.open("wb") as file:
            with self._pyarrow.parquet.ParquetWriter(file, schema) as writer:
                for group in self._row_groups():
                    writer.write_table(group.replace_schema_metadata(metadata))
            file.flush()
            os.fsync(file.fileno())

    def _row_groups(self) -> Iterator[Any]:
        """Yield everything in tables that are large, but not too large to be held."""
        held: list[Any] = []
        for table in self._written_tables():
            held.append(table)
            if _is_enough(held):
                yield self._tables.join(held)
                held.clear()
        if held:
            yield self._tables.join(held)

    def _written_tables(self) -> Iterator[Any]:
        for source in self._sources():
            with self._pyarrow.parquet.ParquetFile(source) as file:
                for batch in file.iter_batches(PART_ROWS):
                    yield self._pyarrow.Table.from_batches([batch])

    @contextlib.contextmanager
    def _explaining(self, source: Path) -> Iterator[None]:
        try:
            yield
        except (OSError, self._pyarrow.ArrowException) as error:
            raise SinkError(f"{source} cannot be read: {error}") from error


def _is_enough(tables: Sequence[Any]) -> bool:
    num_rows: int = sum(table.num_rows for table in tables)
    num_bytes: int = sum(table.nbytes for table in tables)
    return num_rows >= PART_ROWS or num_bytes >= PART_BYTES


def _done_in(file: Any) -> Iterator[DoneItem]:
    names = file.schema_arrow.names
    key_column = next((name for name in ("key", "digest") if name in names), None)
    columns = ["index", "error_type", *([key_column] if key_column else [])]
    for batch in file.iter_batches(columns=columns):
        values: dict[str, list[Any]] = batch.to_pydict()
        keys = values[key_column] if key_column else [None] * len(batch)
        for index, key, error in zip(values["index"], keys, values["error_type"], strict=True):
            if error is None:
                yield DoneItem(index, key)


def _number_of(part: Path) -> int:
    return int(part.stem.removeprefix("part-"))


def _make_folder(path: Path) -> Path:
    """Make the folder for the parts; so it is known at once whether anything can be written."""
    parts = path.with_name(f"{path.name}.parts")
    if path.exists() and not path.is_file():
        raise SinkError(f"{path} cannot be written: it is no regular file")
    try:
        parts.mkdir(exist_ok=True)
    except FileNotFoundError as error:
        raise SinkError(f"{path} cannot be written: make the folder {path.parent} first") from error
    except OSError as error:
        raise SinkError(f"{path} cannot be written: {error}") from error
    return parts
