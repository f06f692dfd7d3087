"""Errors that belong to items: as a result in the item's place, or told with the item's name."""

from __future__ import annotations

from parsl_pcm.mapping.keys import Key
from parsl_pcm.mapping.report import ItemError
from parsl_pcm.mapping.sinks.rows import error_text
from parsl_pcm.pickling import RemoteTraceback


def item_error(index: int, key: Key | None, error: BaseException) -> ItemError:
    """Return what an item has in the place of a result; `key` is None if it has none."""
    return ItemError(index, index if key is None else key, error, error_text(error).traceback)


def blamed(error: BaseException, item: str, app: str) -> BaseException:
    """Return an exception with a note that says which item it is about."""
    note = f"This was {item} of a map of app {app!r}."
    if hasattr(error, "add_note"):
        error.add_note(note)
        return error
    last = error  # Python 3.10 shows causes alone
    while last.__cause__ is not None:
        last = last.__cause__
    last.__cause__ = RemoteTraceback(note)
    return error
