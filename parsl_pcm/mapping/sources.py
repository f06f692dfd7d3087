"""Where the items of a map come from: anything with an order, or a file of rows.

:func:`open_source` looks at once whether it can be read; nothing is read before somebody iterates,
and no more than one batch is held. :mod:`parsl_pcm.mapping.feed` takes the items from here.
"""

from __future__ import annotations

import csv
import json
from collections.abc import (
    Callable,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    Sequence,
    Set,
)
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from parsl_pcm.mapping.arrow import import_pyarrow

BATCH_ITEMS = 256
"""Items taken at once where the next one is there already. They may be large: not more."""

_CURES = {
    ("pandas", "DataFrame"): "give its rows: df.to_dict('records')",
    ("polars", "DataFrame"): "give its rows: df.iter_rows(named=True)",
    ("polars", "LazyFrame"): "give its rows: frame.collect().iter_rows(named=True)",
    ("pyarrow", "Table"): "give its rows: table.to_pylist()",
    ("pyarrow", "RecordBatch"): "give its rows: batch.to_pylist()",
    ("datasets", "DatasetDict"): "choose a split: dataset['train']",
    ("datasets", "IterableDatasetDict"): "choose a split: dataset['train']",
}
"""By library and class: what iterates over something else than rows, and what to give instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Items in an order, to be iterated over once.

    Attributes
    ----------
    name
        For people: a file, or a type.
    num_items
        None: not known before the last one.
    is_prompt
        Whether the next item is there as soon as one asks for it. Otherwise asking may take any
        time (a generator that waits for something), and what was taken so far should not wait
        with it.
    """

    name: str
    num_items: int | None
    is_prompt: bool
    _open: Callable[[], Iterator[Any]]

    def __iter__(self) -> Iterator[Any]:
        return self._open()

    def batches(self) -> Iterator[list[Any]]:
        """Yield the items in lists, none empty.

        Of at most 256 items if the source is prompt, else of one: each as soon as it is there.

        Raises
        ------
        Exception
            Whatever reading raises, behind all items read before it. For a bad row of a file
            :class:`ValueError`, which names file and line.
        """
        items = iter(self)
        size = BATCH_ITEMS if self.is_prompt else 1
        while batch := _take(items, size):
            yield batch


def open_source(items: Any) -> Source:
    """Return the items of a map, whatever they come in.

    Parameters
    ----------
    items
        A list, range, array or another sequence; any iterable, also one without an end in sight; a
        Hugging Face dataset; or the path of a ``.jsonl``, ``.ndjson``, ``.csv`` or ``.parquet``
        file, whose rows are the items. It is not copied: do not change it while the map runs.

    Raises
    ------
    TypeError
        For what is no row of items, such as a string, a dict, a set or a table.
    ValueError
        For a file of an unknown kind.
    OSError
        For a file that cannot be read.
    ImportError
        For a ``.parquet`` file without pyarrow.
    """
    if isinstance(items, str | Path):
        return _open_file(items)
    _refuse_traps(items)
    if isinstance(items, Sequence):
        return _prompt(items, len(items), lambda: iter(items))
    if not isinstance(items, Iterator) and hasattr(items, "__len__"):
        return _open_sized(items)
    try:
        iterator = iter(items)
    except TypeError as error:
        raise TypeError(f"items cannot be {_described(items)}: {error}") from error
    return Source(name=_type_name(items), num_items=None, is_prompt=False, _open=lambda: iterator)


# --- what is in memory -----------------------------------------------------------------------


def _refuse_traps(items: Any) -> None:
    if isinstance(items, bytes | bytearray):
        raise TypeError(f"items cannot be {_described(items)}: give a list of items")
    if isinstance(items, Mapping):
        cure = _cure_for(items) or "give list(items.values()) or list(items.items())"
        raise TypeError(f"items cannot be a {_type_name(items)}: {cure}")
    if isinstance(items, Set) and not isinstance(items, KeysView | ItemsView):
        raise TypeError(
            f"items cannot be a {_type_name(items)}: it has no order, so that results could not be "
            "told apart; give sorted(items)"
        )
    table_cure = _cure_for(items)
    if table_cure is not None:
        raise TypeError(f"items cannot be a {_type_name(items)}: {table_cure}")


def _cure_for(items: Any) -> str | None:
    classes = ((cls.__module__.split(".")[0], cls.__name__) for cls in type(items).__mro__)
    return next((_CURES[cls] for cls in classes if cls in _CURES), None)


def _open_sized(items: Any) -> Source:
    """Open arrays, datasets, and whatever else has a length."""
    try:
        num_items = len(items)
    except TypeError as error:  # an array without dimensions
        raise TypeError(f"items cannot be {_described(items)}: {error}") from error
    if hasattr(items, "iter") and hasattr(items, "column_names"):
        return _prompt(items, num_items, lambda: _iterate_dataset(items))
    if hasattr(items, "__iter__"):
        return _prompt(items, num_items, lambda: iter(items))
    if hasattr(items, "__getitem__"):
        return _prompt(items, num_items, lambda: (items[index] for index in range(num_items)))
    raise TypeError(f"items cannot be {_described(items)}: it cannot be iterated over")


def _prompt(items: Any, num_items: int, iterate: Callable[[], Iterator[Any]]) -> Source:
    return Source(name=_type_name(items), num_items=num_items, is_prompt=True, _open=iterate)


def _iterate_dataset(dataset: Any) -> Iterator[dict[str, Any]]:
    """Yield the rows of a Hugging Face dataset; in batches, which is several times faster."""
    for columns in dataset.iter(BATCH_ITEMS):
        names = list(columns)
        for row in zip(*columns.values(), strict=True):
            yield dict(zip(names, row, strict=True))


def _type_name(items: Any) -> str:
    return type(items).__name__


def _described(items: Any) -> str:
    text = repr(items)
    return f"a {_type_name(items)} ({text if len(text) <= 80 else text[:77] + '...'})"


# --- files -----------------------------------------------------------------------------------


def _open_file(name: str | Path) -> Source:
    path = Path(name).expanduser()
    opener = _OPENERS.get(path.suffix.lower())
    if opener is None and isinstance(name, str):
        raise TypeError(
            f"items cannot be {_described(name)}: a string is no list of items. Give [text] for "
            f"a single item, or the path of a file that ends in {', '.join(_OPENERS)}"
        )
    if opener is None:
        raise ValueError(f"{path}: items can be read of files that end in {', '.join(_OPENERS)}")
    with path.open("rb"):  # says now, not in the middle of a run, that it cannot be read
        pass
    num_items, iterate = opener(path)
    return Source(name=str(path), num_items=num_items, is_prompt=True, _open=iterate)


def _open_jsonl(path: Path) -> tuple[None, Callable[[], Iterator[Any]]]:
    return None, lambda: _iterate_jsonl(path)


def _iterate_jsonl(path: Path) -> Iterator[Any]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.isspace():
                continue
            try:
                yield json.loads(line)
            except ValueError as error:
                raise ValueError(f"{path}:{number}: no valid JSON: {error}") from error


def _open_csv(path: Path) -> tuple[None, Callable[[], Iterator[dict[str, Any]]]]:
    return None, lambda: _iterate_csv(path)


def _iterate_csv(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        while True:
            try:
                row = next(reader, None)
            except (csv.Error, UnicodeDecodeError) as error:
                raise ValueError(f"{path}:{reader.line_num}: no valid CSV: {error}") from error
            if row is None:
                return
            if None in row:
                raise ValueError(
                    f"{path}:{reader.line_num}: the row has more fields than the header, which has "
                    f"{len(reader.fieldnames or ())}: a comma in a text needs quotes around it"
                )
            yield row


def _open_parquet(path: Path) -> tuple[int, Callable[[], Iterator[dict[str, Any]]]]:
    pyarrow = import_pyarrow(f"to read {path}")
    try:
        num_rows: int = pyarrow.parquet.ParquetFile(path).metadata.num_rows
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{path}: no valid Parquet: {error}") from error
    return num_rows, lambda: _iterate_parquet(path)


def _iterate_parquet(path: Path) -> Iterator[dict[str, Any]]:
    pyarrow = import_pyarrow(f"to read {path}")
    with pyarrow.parquet.ParquetFile(path) as file:
        batches: Iterable[Any] = file.iter_batches(batch_size=BATCH_ITEMS)
        yield from chain.from_iterable(batch.to_pylist() for batch in batches)


_OPENERS: dict[str, Callable[[Path], tuple[int | None, Callable[[], Iterator[Any]]]]] = {
    ".jsonl": _open_jsonl,
    ".ndjson": _open_jsonl,
    ".csv": _open_csv,
    ".parquet": _open_parquet,
}


def _take(items: Iterator[Any], size: int) -> list[Any]:
    return list(islice(items, size))
