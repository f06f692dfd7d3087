"""Rows as Arrow tables whose schemas fit together, whatever results come later.

A column takes what the results have shown so far: nulls become the first type, integers become
floats, lists and structs grow fields. What does not fit is refused when it comes, not at the end.
"""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable, Sequence, Set
from typing import Any

import msgspec
from msgspec import UNSET

from parsl_pcm.errors import SinkError
from parsl_pcm.mapping.sinks.plain import plain_part
from parsl_pcm.mapping.sinks.rows import Row

_FIRST = ("index", "key", "digest")
_LAST = ("error_type", "error_message", "error_traceback")
_OURS = frozenset((*_FIRST, *_LAST))
_KEPT_TYPES = (
    bytes,
    bytearray,
    datetime.datetime,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    decimal.Decimal,
)
"""What Arrow has types for."""


class Tables:
    """Makes tables of rows, and knows the schema that fits them all.

    Parameters
    ----------
    pyarrow
        The package, of :func:`parsl_pcm.mapping.arrow.import_pyarrow`.
    """

    def __init__(self, pyarrow: Any) -> None:
        self._pyarrow = pyarrow
        text = pyarrow.string()
        fields = [("index", pyarrow.int64()), *((name, text) for name in _LAST)]
        self._schema = pyarrow.schema(fields)

    def table(self, rows: Sequence[Row]) -> Any:
        """Return rows as a table, and admit what is new in its schema.

        Raises
        ------
        TypeError, ValueError, OverflowError
            If a result has no place in it; nothing is admitted then.
        SinkError
            If keys are neither all of them str nor all of them int.
        """
        self._check_keys(rows)
        records = [_record(row) for row in rows]
        names = dict.fromkeys(name for record in records for name in record)
        columns = {name: self._column([r.get(name) for r in records], name) for name in names}
        table = self._pyarrow.table(columns)
        self.admit_schema(table.schema)
        return table

    def admit_schema(self, schema: Any) -> None:
        """Let the schema fit this one too.

        Raises
        ------
        TypeError, ValueError
            If a column would have to be of two types.
        """
        bare = schema.remove_metadata()
        self._schema = self._pyarrow.unify_schemas(
            [self._schema, bare], promote_options="permissive"
        )

    def schema(self) -> Any:
        """Return what fits all tables so far; our columns first and last."""
        names = [name for name in self._schema.names if name not in _OURS]
        first = [name for name in _FIRST if name in self._schema.names]
        return self._pyarrow.schema([self._schema.field(name) for name in (*first, *names, *_LAST)])

    def join(self, tables: Sequence[Any]) -> Any:
        """Return one table of several, with the whole schema."""
        schema = self.schema()
        return self._pyarrow.concat_tables([self._fit(table, schema) for table in tables])

    def _fit(self, table: Any, schema: Any) -> Any:
        if table.schema.equals(schema):
            return table
        columns = [
            self._cast(table[field.name], field.type)
            if field.name in table.schema.names
            else self._pyarrow.nulls(table.num_rows, field.type)
            for field in schema
        ]
        return self._pyarrow.table(columns, schema=schema)

    def _cast(self, column: Any, data_type: Any) -> Any:
        """Return a column of another type; a large integer may lose digits if that is float."""
        try:
            return column.cast(data_type, safe=False)
        except (TypeError, NotImplementedError):  # nested structs, in old releases
            return self._pyarrow.array(column.to_pylist(), type=data_type)

    def _column(self, values: list[Any], name: str) -> Any:
        known = self._schema.field(name).type if name in _OURS & {*self._schema.names} else None
        column = self._pyarrow.array(values, type=known)
        if _contains(column.type, self._pyarrow.types.is_uint64):
            raise OverflowError("an integer does not fit into 64 bits")
        if _contains(column.type, _is_empty_struct):  # Parquet has none
            column = self._pyarrow.array([_without_empty_dicts(value) for value in values])
        return column

    def _check_keys(self, rows: Sequence[Row]) -> None:
        names = {type(row.key): row.name for row in rows if row.key is not UNSET}
        if "key" in self._schema.names:
            is_text = self._pyarrow.types.is_string(self._schema.field("key").type)
            names.setdefault(str if is_text else int, "an item before it")
        if len(names) > 1:
            raise SinkError(
                f"{names[int]} and {names[str]}: in a Parquet file keys must be all integers or "
                "all texts"
            )


def _record(row: Row) -> dict[str, Any]:
    """Return a row by columns."""
    record: dict[str, Any] = {"index": row.index}
    if row.key is not UNSET:
        record["key"] = row.key
    if row.digest is not UNSET:
        record["digest"] = row.digest
    if row.variant is not UNSET:
        record["variant"] = row.variant
    if row.error is not UNSET:
        texts = (row.error.type, row.error.message, row.error.traceback)
        return {**record, **dict(zip(_LAST, texts, strict=True))}
    return {**record, **_result_columns(row.result, taken=_OURS.union(record))}


def _result_columns(result: Any, taken: Set[str]) -> dict[str, Any]:
    value = msgspec.to_builtins(
        result, builtin_types=_KEPT_TYPES, str_keys=True, enc_hook=plain_part
    )
    if not isinstance(value, dict):
        return {"result": value}
    columns = {f"result_{name}" if name in taken else name: part for name, part in value.items()}
    if len(columns) < len(value):
        raise ValueError(f"two of its fields would be one column: {', '.join(value)}")
    return columns


def _contains(data_type: Any, is_it: Callable[[Any], bool]) -> bool:
    """Whether a type, or one inside of it, is what is looked for."""
    inner = (data_type.field(number).type for number in range(data_type.num_fields))
    return is_it(data_type) or any(_contains(part, is_it) for part in inner)


def _is_empty_struct(data_type: Any) -> bool:
    return str(data_type) == "struct<>"


def _without_empty_dicts(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_empty_dicts(part) for name, part in value.items()} or None
    if isinstance(value, list | tuple):
        return [_without_empty_dicts(part) for part in value]
    return value
