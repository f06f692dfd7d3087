"""What is written of an item: its result, or the error that it has instead."""

from __future__ import annotations

from typing import Any, cast

from msgspec import UNSET, Struct, UnsetType

from parsl_pcm.errors import TaskError
from parsl_pcm.mapping.keys import Key
from parsl_pcm.pickling import RemoteTraceback


class ErrorText(Struct, frozen=True):
    """An exception as text.

    Attributes
    ----------
    type
        Name of its class.
    traceback
        Of the process where it was raised; may be empty.
    """

    type: str
    message: str
    traceback: str


class Row(Struct, omit_defaults=True):
    """One item's line in a file. It has a result (None is one) or an error, never both.

    Attributes
    ----------
    index
        Of the item, from 0 on.
    key
        If ``key=`` was given.
    digest
        Of the item's content, if the map can be resumed and has no ``key=``.
    variant
        Of the context that made the result, if that has variants.
    """

    index: int
    key: Key | UnsetType = UNSET
    digest: str | UnsetType = UNSET
    variant: str | UnsetType = UNSET
    result: Any = UNSET
    error: ErrorText | UnsetType = UNSET

    @property
    def name(self) -> str:
        """For people: "item 17", with its key if it has one."""
        return f"item {self.index}" + (f" (key {self.key!r})" if self.key is not UNSET else "")


def result_row(
    index: int, key: Key | None, column: str | None, result: Any, *, variant: str = ""
) -> Row:
    """Return the row of an item that has a result.

    Parameters
    ----------
    key, column
        As :class:`parsl_pcm.mapping.keys.Keys` has them.
    variant
        Of the context; "": it has none.
    """
    made_by = variant or UNSET
    if column == "key":
        return Row(index, key=cast(Key, key), variant=made_by, result=result)
    if column == "digest":
        return Row(index, digest=cast(str, key), variant=made_by, result=result)
    return Row(index, variant=made_by, result=result)


def error_row(index: int, key: Key | None, column: str | None, error: BaseException) -> Row:
    """Return the row of an item that has an error instead; parameters as for a result."""
    row = result_row(index, key, column, UNSET)
    row.error = error_text(error)
    return row


def error_text(error: BaseException) -> ErrorText:
    """Return what a row tells of an exception, with its remote traceback where it has one."""
    message = error.message if isinstance(error, TaskError) else str(error)
    parts = (type(error).__name__, message, _remote_traceback(error))
    return ErrorText(*map(_valid_text, parts))


def _remote_traceback(error: BaseException) -> str:
    if isinstance(error, TaskError):
        return error.remote_traceback
    cause: BaseException | None = error.__cause__
    while cause is not None and not isinstance(cause, RemoteTraceback):
        cause = cause.__cause__
    return cause.text if cause is not None else ""


def _valid_text(text: str) -> str:
    """Return the text with a ? where UTF-8 has no code, as for bytes of file names."""
    return text.encode("utf-8", "replace").decode()
