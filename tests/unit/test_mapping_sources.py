from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parsl_pcm.mapping.sources import BATCH_ITEMS, open_source


def written(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    "items", [[1, 2, 3], (1, 2, 3), range(1, 4), {1: "a", 2: "b", 3: "c"}.keys(), ["abc"]]
)
def test_what_has_an_order_and_a_length_is_a_source_of_known_length(items: Any) -> None:
    source = open_source(items)
    assert (source.num_items, source.is_prompt) == (len(items), True)
    assert list(source) == list(items)


def test_batches_of_what_is_there_are_large_but_bounded() -> None:
    batches = list(open_source(range(BATCH_ITEMS + 1)).batches())
    assert [len(batch) for batch in batches] == [BATCH_ITEMS, 1]


def test_each_item_of_a_generator_is_handed_on_before_the_next_is_asked_for() -> None:
    asked: list[int] = []

    def slow() -> Iterator[int]:
        for number in itertools.count():
            asked.append(number)
            yield number

    source = open_source(slow())
    assert (source.num_items, source.is_prompt) == (None, False)
    assert not asked
    batches = source.batches()
    assert next(batches) == [0]
    assert asked == [0]


def test_what_a_generator_raises_comes_behind_the_items_before_it() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise RuntimeError("the database is gone")

    batches = open_source(failing()).batches()
    assert next(batches) == [1]
    with pytest.raises(RuntimeError, match="the database is gone"):
        next(batches)


def test_an_object_with_length_and_index_alone_is_read_to_its_length() -> None:
    class TorchDataset:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> int:
            return index * 10  # never an IndexError

    assert list(open_source(TorchDataset())) == [0, 10, 20]


class Dataset:
    """As a dataset of Hugging Face: its batches are dicts of columns."""

    column_names = ("id", "text")

    def __init__(self, num_rows: int) -> None:
        self.num_rows = num_rows

    def __len__(self) -> int:
        return self.num_rows

    def iter(self, batch_size: int) -> Iterator[dict[str, list[Any]]]:
        for start in range(0, self.num_rows, batch_size):
            ids = list(range(start, min(start + batch_size, self.num_rows)))
            yield {"id": ids, "text": [f"text {number}" for number in ids]}


def test_items_of_a_dataset_are_its_rows() -> None:
    source = open_source(Dataset(BATCH_ITEMS + 2))
    assert source.num_items == BATCH_ITEMS + 2
    rows = list(source)
    assert rows[-1] == {"id": BATCH_ITEMS + 1, "text": f"text {BATCH_ITEMS + 1}"}
    assert len(rows) == BATCH_ITEMS + 2


def test_items_of_an_array_are_what_iterating_over_it_gives() -> None:
    numpy = pytest.importorskip("numpy")
    source = open_source(numpy.arange(6).reshape(3, 2))
    assert source.num_items == 3
    assert [row.tolist() for row in source] == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(TypeError, match="unsized"):
        open_source(numpy.array(3))


# --- traps -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("items", "cure"),
    [
        ("is Paris in France?", r"a string is no list of items. Give \[text\]"),
        (b"bytes", "give a list of items"),
        ({"a": 1}, r"give list\(items.values\(\)\)"),
        ({1, 2}, r"no order.*give sorted\(items\)"),
        (frozenset({1}), "no order"),
        (7, "not iterable"),
        (None, "not iterable"),
    ],
)
def test_what_is_no_row_of_items_is_refused_with_the_cure(items: Any, cure: str) -> None:
    with pytest.raises(TypeError, match=cure):
        open_source(items)


@pytest.mark.parametrize(
    ("module", "name", "cure"),
    [
        ("pandas.core.frame", "DataFrame", r"df.to_dict\('records'\)"),
        ("polars.dataframe.frame", "DataFrame", "iter_rows"),
        ("pyarrow.lib", "Table", "to_pylist"),
    ],
)
def test_tables_are_refused_with_the_way_to_their_rows(module: str, name: str, cure: str) -> None:
    table = type(name, (list,), {"__module__": module})
    derived = type("GeoDataFrame", (table,), {"__module__": "geopandas"})
    for items in (table(), derived()):
        with pytest.raises(TypeError, match=cure):
            open_source(items)


def test_a_dict_of_datasets_is_refused_with_the_way_to_one() -> None:
    splits = type("DatasetDict", (dict,), {"__module__": "datasets.dataset_dict"})
    with pytest.raises(TypeError, match=r"choose a split: dataset\['train'\]"):
        open_source(splits(train=[1]))


# --- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["jsonl", "ndjson", "JSONL"])
def test_json_lines_are_items_and_blank_lines_are_none(tmp_path: Path, suffix: str) -> None:
    text = '\ufeff{"id": 1}\n\n[2, "\u2028"]\r\n   \n"drei"\nnull'
    path = written(tmp_path / f"items.{suffix}", text)
    source = open_source(str(path))
    assert (source.num_items, source.is_prompt, source.name) == (None, True, str(path))
    assert list(source) == [{"id": 1}, [2, "\u2028"], "drei", None]


@pytest.mark.parametrize("line", ['{"id": 2', "{'id': 2}", "\udcff"])
def test_a_line_that_is_no_json_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "items.jsonl"
    path.write_bytes(f'{{"id": 1}}\n\n{line}\n'.encode("utf-8", "surrogateescape"))
    items = iter(open_source(path))
    assert next(items) == {"id": 1}
    with pytest.raises(ValueError, match=r"items.jsonl:3: no valid JSON"):
        next(items)


def test_rows_of_csv_are_dicts(tmp_path: Path) -> None:
    path = written(tmp_path / "items.csv", '\ufeffid,text\r\n1,"a, b\nc"\r\n2,\r\n')
    assert list(open_source(path)) == [{"id": "1", "text": "a, b\nc"}, {"id": "2", "text": ""}]


def test_a_csv_file_without_rows_has_no_items(tmp_path: Path) -> None:
    assert list(open_source(written(tmp_path / "empty.csv", ""))) == []
    assert list(open_source(written(tmp_path / "header.csv", "id,text\n"))) == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("2,a,b", "more fields than the header, which has 2"),
        ('2,"a', "no valid CSV"),
        ("2,\udcff", "no valid CSV"),
    ],
)
def test_a_bad_row_of_csv_is_named(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "items.csv"
    path.write_bytes(f"id,text\n1,x\n{line}\n".encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=rf"items.csv:\d: .*{reason}"):
        list(open_source(path))


def test_rows_of_parquet_are_dicts_and_counted(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "items.parquet"
    parquet.write_table(pyarrow.table({"id": range(1000), "tags": [["a"]] * 1000}), path)
    source = open_source(path)
    assert source.num_items == 1000
    rows = list(source)
    assert rows[999] == {"id": 999, "tags": ["a"]}
    assert len(rows) == 1000


def test_a_parquet_file_that_is_none_is_refused_at_once(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = written(tmp_path / "items.parquet", "not at all")
    with pytest.raises(ValueError, match=r"items.parquet: no valid Parquet"):
        open_source(path)


def test_without_pyarrow_the_cure_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    path = written(tmp_path / "items.parquet", "")
    with pytest.raises(ImportError, match=r"items.parquet: pip install 'parsl-pcm\[parquet\]'"):
        open_source(path)


@pytest.mark.parametrize("name", ["missing.jsonl", "missing.csv", "missing.parquet"])
def test_a_missing_file_is_missed_at_once(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=name):
        open_source(str(tmp_path / name))
    with pytest.raises(FileNotFoundError, match=name):
        open_source(tmp_path / name)


def test_a_folder_and_a_file_of_another_kind_are_refused_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "items.jsonl"
    folder.mkdir()
    with pytest.raises(IsADirectoryError):
        open_source(folder)
    with pytest.raises(ValueError, match=r"end in .jsonl, .ndjson, .csv, .parquet"):
        open_source(written(tmp_path / "items.txt", "x"))
