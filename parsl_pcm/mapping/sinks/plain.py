"""Results as data that files can hold.

What msgspec knows (plain values, dataclasses, Structs, dates, decimals, enums, sets, ...) is
written as msgspec writes it; in JSON a NaN becomes null. Something else is made into what it knows.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from parsl_pcm.errors import ResultNotWritable
from parsl_pcm.mapping.sinks.rows import Row, error_text

ENCODING_ERRORS = (
    TypeError,
    ValueError,
    OverflowError,
    RecursionError,
    NotImplementedError,
    msgspec.MsgspecError,
)
"""What msgspec, pyarrow and :func:`plain_part` raise for what cannot be written."""


def plain_part(value: Any) -> Any:
    """Return something that msgspec can write, for something that it cannot; its ``enc_hook``.

    Raises
    ------
    TypeError
        If there is nothing sensible.
    """
    for base in (str, int, float):  # msgspec takes no subclasses of these
        if isinstance(value, base):
            return base(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # arrays and scalars of numpy, tensors
        return _as_list(value)
    raise TypeError(f"a {type(value).__qualname__} is nothing that can be written")


def with_names(rows: Sequence[Row]) -> Sequence[Row]:
    """Return the rows with results that are NamedTuples as dicts: msgspec would drop the names."""
    if not any(hasattr(row.result, "_asdict") for row in rows):
        return rows
    return [_with_names(row) if hasattr(row.result, "_asdict") else row for row in rows]


def refusal(row: Row, path: object, error: Exception) -> ResultNotWritable:
    """Return the error for a row whose result cannot be written."""
    return ResultNotWritable(
        f"the result of {row.name} is a {type(row.result).__qualname__} that cannot be written to "
        f"{path}: {error}. Return numbers, texts, lists, dicts, dataclasses or arrays of them"
    )


def as_error(row: Row, refused: ResultNotWritable) -> Row:
    """Return the row with an error in place of the result that cannot be written."""
    return msgspec.structs.replace(row, result=UNSET, error=error_text(refused))


def _as_list(value: Any) -> Any:
    try:
        return value.tolist()
    except Exception as error:
        raise TypeError(f"its tolist() raised {type(error).__name__}: {error}") from error


def _with_names(row: Row) -> Row:
    return msgspec.structs.replace(row, result=row.result._asdict())
