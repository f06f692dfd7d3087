"""What a mapped app may return for its items: one result for each. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

_NOT_RESULTS = (str, bytes, bytearray, memoryview, Mapping, Set)
"""Sized and iterable, but what comes out are letters, keys, or things in no order."""
_TABLES = frozenset({"DataFrame", "Table", "RecordBatch"})
"""Of pandas, Polars and Arrow, by name: iterating over them gives columns, not rows."""


class WrongResultsError(Exception):
    """An app that is mapped gave something else than one result for each item.

    Its text goes on behind the name of the app: ``returned 3 results for 4 items``.

    Attributes
    ----------
    is_misaligned
        Whether results were handed over before this was known: they may be those of other items.
    """

    def __init__(self, text: str, *, is_misaligned: bool = False) -> None:
        super().__init__(text)
        self.is_misaligned = is_misaligned


def results_of(returned: Any, num_items: int) -> list[Any]:
    """Return the results in what an app has returned for so many items.

    Raises
    ------
    WrongResultsError
        If these are not as many, or it is nothing that holds results.
    Exception
        Whatever its own ``__len__`` and ``__iter__`` raise, but for TypeError.
    """
    if returned is None:
        raise WrongResultsError(
            f"returned None for {_count(num_items, 'item')} (does it lack a return statement?)"
        )
    kind = type(returned)
    if isinstance(returned, _NOT_RESULTS) or kind.__name__ in _TABLES:
        raise _of_wrong_type(kind, num_items)
    try:
        num_results = len(returned)
        results = _separate(returned) if num_results == num_items else []
    except TypeError as error:
        raise _of_wrong_type(kind, num_items) from error
    if len(results) != num_items:
        raise wrong_number("returned", num_results, num_items)
    return results


def wrong_number(
    verb: str, num_results: int, num_items: int, *, is_misaligned: bool = False
) -> WrongResultsError:
    """Return what to raise; `verb` is ``returned`` or ``yielded``."""
    return WrongResultsError(
        f"{verb} {_count(num_results, 'result')} for {_count(num_items, 'item')}",
        is_misaligned=is_misaligned,
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _of_wrong_type(kind: type, num_items: int) -> WrongResultsError:
    return WrongResultsError(f"returned a {kind.__qualname__} for {_count(num_items, 'item')}")


def _separate(returned: Any) -> list[Any]:
    if hasattr(returned, "untyped_storage"):
        # Each row of a torch tensor would be pickled with the storage of all rows.
        return [row.clone() for row in returned]
    return list(returned)
