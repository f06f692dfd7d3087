from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from parsl_pcm.errors import ResultNotWritable, SinkError
from parsl_pcm.mapping.sinks import parquet as sink_module
from parsl_pcm.mapping.sinks.opening import open_sink
from parsl_pcm.mapping.sinks.parquet import ParquetSink
from parsl_pcm.mapping.sinks.rows import Row, error_row, result_row
from parsl_pcm.mapping.sinks.safe_file import Patience

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def never_waits(message: str) -> None:
    raise AssertionError(message)


EAGER = Patience(on_wait=never_waits, pause=lambda _: None)


def opened(path: Path, *, is_tolerant: bool = False) -> Any:
    return open_sink(path, patience=EAGER, is_tolerant=is_tolerant)


def opened_again(path: Path) -> tuple[ParquetSink, list[int]]:
    sink = ParquetSink(path, EAGER, is_tolerant=False)
    return sink, [item.index for item in sink.done()]


def rows(*results: Any, first: int = 0) -> list[Row]:
    return [result_row(first + number, None, None, each) for number, each in enumerate(results)]


def written(path: Path, *batches: list[Any]) -> Any:
    """Return the table of results that come in batches, each of which is a part."""
    sink = opened(path)
    num_rows = 0
    for batch in batches:
        sink.write(rows(*batch, first=num_rows))
        sink.write_part()
        num_rows += len(batch)
    sink.close(is_complete=True)
    return parquet.read_table(path)


def columns(table: Any) -> dict[str, list[Any]]:
    """Return a table without the columns of errors."""
    values: dict[str, list[Any]] = table.to_pydict()
    return {name: column for name, column in values.items() if not name.startswith("error_")}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.parquet"


def parts(path: Path) -> list[str]:
    folder = path.with_name(f"{path.name}.parts")
    return sorted(part.name for part in folder.glob("part-*"))


class Named(NamedTuple):
    label: str
    score: float


@dataclasses.dataclass
class Verdict:
    label: str
    source: Path


def test_plain_results_are_one_column(path: Path) -> None:
    table = written(path, [1, 2], [None])
    assert columns(table) == {"index": [0, 1, 2], "result": [1, 2, None]}
    assert table["error_type"].to_pylist() == [None] * 3


def test_fields_of_results_are_columns(path: Path) -> None:
    results = [{"label": "ja", "score": 1}, Named("no", 0.5), Verdict("ja", Path("/data"))]
    assert columns(written(path, results[:1], results[1:])) == {
        "index": [0, 1, 2],
        "label": ["ja", "no", "ja"],
        "score": [1.0, 0.5, None],
        "source": [None, None, "/data"],
    }


def test_a_field_with_the_name_of_our_column_is_renamed(path: Path) -> None:
    table = written(path, [{"index": 7, "error_type": "x"}])
    assert table["index"].to_pylist() == [0]
    assert table["result_index"].to_pylist() == [7]
    assert table["result_error_type"].to_pylist() == ["x"]


def test_keys_and_errors_have_their_columns(path: Path) -> None:
    sink = opened(path)
    sink.write([result_row(0, "a", "key", 1), error_row(1, "b", "key", ValueError("no"))])
    sink.close(is_complete=True)
    assert parquet.read_table(path).to_pylist() == [
        {
            "index": 0,
            "key": "a",
            "result": 1,
            "error_type": None,
            "error_message": None,
            "error_traceback": None,
        },
        {
            "index": 1,
            "key": "b",
            "result": None,
            "error_type": "ValueError",
            "error_message": "no",
            "error_traceback": "",
        },
    ]


@pytest.mark.parametrize(
    ("batches", "expected"),
    [
        ([[None], [1], [2.5]], [None, 1.0, 2.5]),
        ([[[]], [[1]], [[2.5]]], [[], [1.0], [2.5]]),
        ([[[{"a": 1}]], [[{"b": "x"}]]], [[{"a": 1, "b": None}], [{"a": None, "b": "x"}]]),
        ([[[{}]], [[{"a": 1}]]], [[None], [{"a": 1}]]),
        ([[datetime.date(2026, 1, 2)], [None]], [datetime.date(2026, 1, 2), None]),
        ([[b"ab"], [b"c"]], [b"ab", b"c"]),
        ([[2**60], [0.5]], [float(2**60), 0.5]),
    ],
)
def test_columns_take_what_later_results_need(
    path: Path, batches: list[list[Any]], expected: list[Any]
) -> None:
    assert columns(written(path, *batches))["result"] == expected


def test_nested_dicts_may_be_empty(path: Path) -> None:
    table = written(path, [{"meta": {}}, {"meta": {"x": {}}}], [{"meta": {"x": {"y": 1}}}])
    assert table["meta"].to_pylist() == [None, {"x": None}, {"x": {"y": 1}}]


def test_a_map_without_items_gives_a_file_without_rows(path: Path) -> None:
    assert written(path).num_rows == 0


NOT_WRITABLE = [
    (["a"], 1),
    ([1], "a"),
    ([{"x": 1}], {"x": {"y": 1}}),
    ([1], object()),
    ([1], 2**64),
    ([1], 2**63),
    (["a"], "\ud800"),
    ([{"index": 1}], {"index": 1, "result_index": 2}),
]


@pytest.mark.parametrize(("good", "bad"), NOT_WRITABLE)
@pytest.mark.parametrize("is_one_batch", [True, False])
def test_a_result_that_does_not_fit_is_refused_when_it_comes(
    path: Path, good: list[Any], bad: Any, is_one_batch: bool
) -> None:
    sink = opened(path)
    batch = rows(*good, bad, *good)
    if not is_one_batch:
        sink.write([batch.pop(0)])
    with pytest.raises(ResultNotWritable, match=r"the result of item 1 is a .*results.parquet"):
        sink.write(batch)
    sink.close(is_complete=True)
    assert parquet.read_table(path)["index"].to_pylist() == [0, 2]


@pytest.mark.parametrize(("good", "bad"), NOT_WRITABLE)
def test_a_result_that_does_not_fit_is_an_error_row_of_a_tolerant_map(
    path: Path, good: list[Any], bad: Any
) -> None:
    sink = opened(path, is_tolerant=True)
    assert sink.write(rows(*good, bad, *good)) == 1
    sink.close(is_complete=True)
    assert parquet.read_table(path)["error_type"].to_pylist() == [None, "ResultNotWritable", None]


def test_keys_of_two_types_are_refused(path: Path) -> None:
    sink = opened(path)
    sink.write([result_row(0, "a", "key", 1)])
    with pytest.raises(SinkError, match=r"item 1 \(key 7\) and an item before it: .*all integers"):
        sink.write([result_row(1, 7, "key", 1)])
    sink.close(is_complete=False)


# --- parts -----------------------------------------------------------------------------------


def test_parts_become_the_file_at_the_end(path: Path) -> None:
    sink = opened(path)
    sink.write(rows(1))
    assert parts(path) == []
    sink.write_part()
    sink.write(rows(2, first=1))
    sink.write_part()
    sink.write_part()
    assert parts(path) == ["part-000001.parquet", "part-000002.parquet"]
    assert not path.exists()
    sink.close(is_complete=True)
    sink.close(is_complete=True)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert parquet.read_table(path)["result"].to_pylist() == [1, 2]


def test_a_map_that_did_not_end_leaves_its_parts(path: Path) -> None:
    sink = opened(path)
    sink.write(rows(1, 2))
    sink.close(is_complete=False)
    assert not path.exists()
    folder = path.with_name(f"{path.name}.parts")
    assert parquet.read_table(folder)["result"].to_pylist() == [1, 2]


def test_a_part_is_written_when_there_is_enough_or_it_is_time(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 100.0
    monkeypatch.setattr(sink_module, "monotonic_s", lambda: now_s)
    monkeypatch.setattr(sink_module, "PART_ROWS", 3)
    monkeypatch.setattr(sink_module, "PART_BYTES", 1000)
    sink = opened(path)
    sink.write(rows(1, 2))
    assert len(parts(path)) == 0
    sink.write(rows(3, first=2))
    assert len(parts(path)) == 1
    sink.write(rows(4, first=3))
    now_s += 9.0
    sink.write(rows(5, first=4))
    assert len(parts(path)) == 1
    sink.flush()
    assert len(parts(path)) == 1
    now_s += 2.0
    sink.flush()
    assert len(parts(path)) == 2
    sink.close(is_complete=True)
    assert parquet.read_table(path)["result"].to_pylist() == [1, 2, 3, 4, 5]


def test_a_part_is_written_when_it_is_large(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_module, "PART_BYTES", 1000)
    sink = opened(path)
    sink.write(rows("x" * 1000))
    assert len(parts(path)) == 1
    sink.close(is_complete=True)


def test_small_parts_become_large_row_groups(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_module, "PART_ROWS", 4)
    written(path, *[[number] for number in range(10)])
    with parquet.ParquetFile(path) as file:
        assert [file.metadata.row_group(n).num_rows for n in range(3)] == [4, 4, 2]
        assert file.read()["result"].to_pylist() == list(range(10))


# --- going on --------------------------------------------------------------------------------


def test_done_items_are_those_with_results_in_parts_and_file(path: Path) -> None:
    sink = opened(path)
    sink.write([*rows(1), error_row(1, None, None, ValueError("no"))])
    sink.close(is_complete=False)
    sink, done = opened_again(path)
    assert (done, sink.is_empty) == ([0], False)
    sink.write(rows(2.5, first=1))
    sink.close(is_complete=True)
    sink, done = opened_again(path)
    assert done == [0, 1]
    sink.write(rows(3, first=2))
    sink.close(is_complete=True)
    table = parquet.read_table(path)
    assert table["index"].to_pylist() == [0, 1, 1, 2]
    assert table["result"].to_pylist() == [1.0, None, 2.5, 3.0]


def test_keys_of_done_items_are_read(path: Path) -> None:
    for column in ("key", "digest"):
        sink = opened(path)
        sink.write([result_row(0, "a", column, 1)])
        sink.close(is_complete=True)
        sink = ParquetSink(path, EAGER, is_tolerant=False)
        assert [(item.index, item.key) for item in sink.done()] == [(0, "a")]
        sink.close(is_complete=True)
        path.unlink()


def test_nothing_is_twice_in_the_file_if_the_process_ended_before_parts_were_removed(
    path: Path,
) -> None:
    sink = opened(path)
    sink.write(rows(1))
    sink.write_part()
    folder = path.with_name(f"{path.name}.parts")
    part = (folder / "part-000001.parquet").read_bytes()
    sink.close(is_complete=True)
    folder.mkdir()
    (folder / "part-000001.parquet").write_bytes(part)
    sink, done = opened_again(path)
    assert done == [0]
    sink.write(rows(2, first=1))
    sink.close(is_complete=True)
    assert parquet.read_table(path)["index"].to_pylist() == [0, 1]


def test_half_a_part_is_not_looked_at(path: Path) -> None:
    sink = opened(path)
    sink.write(rows(1))
    sink.close(is_complete=False)
    folder = path.with_name(f"{path.name}.parts")
    (folder / ".part-000002.parquet.tmp").write_bytes(b"PAR1 torn")
    sink, done = opened_again(path)
    assert done == [0]
    sink.close(is_complete=False)


def test_a_broken_part_is_named(path: Path) -> None:
    sink = opened(path)
    sink.write(rows(1))
    sink.close(is_complete=False)
    part = path.with_name(f"{path.name}.parts") / "part-000001.parquet"
    part.write_bytes(b"not at all")
    with pytest.raises(SinkError, match=r"part-000001.parquet cannot be read"):
        opened_again(path)


# --- refused at once -------------------------------------------------------------------------


def test_results_are_not_written_over(path: Path) -> None:
    sink = opened(path)
    sink.write(rows(1))
    sink.close(is_complete=False)
    with pytest.raises(SinkError, match="give resume=True"):
        opened(path)
    sink, _ = opened_again(path)
    sink.close(is_complete=True)
    with pytest.raises(SinkError, match="give resume=True"):
        opened(path)
    assert not path.with_name(f"{path.name}.parts").exists()


def test_a_file_has_one_writer_at_a_time(path: Path) -> None:
    sink = opened(path)
    with pytest.raises(SinkError, match="being written by another map"):
        opened(path)
    sink.close(is_complete=True)


def test_where_nothing_can_be_written_is_told(path: Path, tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"make the folder .*nowhere first"):
        opened(tmp_path / "nowhere" / "results.parquet")
    path.mkdir()
    with pytest.raises(SinkError, match="no regular file"):
        opened(path)
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match="cannot be written"):
        opened(tmp_path / "file" / "results.parquet")


# --- variants of contexts ------------------------------------------------------------------------


def test_the_variant_that_made_a_result_is_a_column(path: Path) -> None:
    sink = opened(path, is_tolerant=True)
    sink.write([error_row(0, None, None, ValueError("no"))])
    sink.write_part()
    sink.write([result_row(1, None, None, {"a": 1, "variant": "mine"}, variant="small")])
    sink.write_part()
    sink.write([result_row(2, None, None, {"a": 2, "variant": "mine"}, variant="large")])
    sink.close(is_complete=True)
    table = parquet.read_table(path)
    assert columns(table) == {
        "index": [0, 1, 2],
        "variant": [None, "small", "large"],
        "a": [None, 1, 2],
        "result_variant": [None, "mine", "mine"],
    }
    assert table.column("error_type").to_pylist() == ["ValueError", None, None]


def test_without_variants_a_field_of_that_name_keeps_it(path: Path) -> None:
    table = written(path, [{"variant": "mine", "a": 1}])
    assert columns(table) == {"index": [0], "variant": ["mine"], "a": [1]}


def test_a_file_with_variants_is_gone_on_with(path: Path) -> None:
    sink = opened(path)
    sink.write([result_row(0, None, None, "x", variant="small")])
    sink.close(is_complete=False)
    sink, done = opened_again(path)
    assert done == [0]
    sink.write([result_row(1, None, None, "y", variant="large")])
    sink.close(is_complete=True)
    assert columns(parquet.read_table(path)) == {
        "index": [0, 1],
        "variant": ["small", "large"],
        "result": ["x", "y"],
    }
