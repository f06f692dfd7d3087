"""The file of JSON lines, and what its kind has in common: one writer, nothing torn, patience."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import errno
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from parsl_pcm.errors import RemoteError, ResultNotWritable, SinkError
from parsl_pcm.mapping.sinks import safe_file
from parsl_pcm.mapping.sinks.opening import open_sink
from parsl_pcm.mapping.sinks.rows import Row, error_row, result_row
from parsl_pcm.mapping.sinks.safe_file import Patience, write_whole
from parsl_pcm.pickling import RemoteTraceback


def never_waits(message: str) -> None:
    raise AssertionError(message)


EAGER = Patience(on_wait=never_waits, pause=lambda _: None)


def opened(path: Path, *, is_tolerant: bool = False, patience: Patience = EAGER) -> Any:
    return open_sink(path, patience=patience, is_tolerant=is_tolerant)


def lines(path: Path) -> list[Any]:
    text = path.read_text()
    assert text.endswith("\n") or not text
    return [json.loads(line) for line in text.splitlines()]


def rows(*indexes: int) -> list[Row]:
    return [result_row(index, None, None, index * 10) for index in indexes]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


# --- what is written -------------------------------------------------------------------------


def test_a_row_has_its_key_only_if_keys_were_given(path: Path) -> None:
    sink = opened(path)
    sink.write(
        [
            result_row(0, None, None, None),
            result_row(1, "claim-1", "key", {"label": "ja"}),
            result_row(2, "0f", "digest", [1.5]),
            result_row(3, 7, "key", "naïve"),
            result_row(4, "claim-4", "key", {"variant": 1}, variant="small"),
        ]
    )
    assert lines(path) == [  # there before it is closed
        {"index": 0, "result": None},
        {"index": 1, "key": "claim-1", "result": {"label": "ja"}},
        {"index": 2, "digest": "0f", "result": [1.5]},
        {"index": 3, "key": 7, "result": "naïve"},
        {"index": 4, "key": "claim-4", "variant": "small", "result": {"variant": 1}},
    ]
    sink.close(is_complete=True)


def test_an_error_row_has_class_message_and_remote_traceback(path: Path) -> None:
    error = ValueError("too long \udcff")
    error.__cause__ = KeyError("x")
    error.__cause__.__cause__ = RemoteTraceback("Traceback: there")
    sink = opened(path)
    sink.write(
        [
            error_row(4, "k", "key", error),
            error_row(5, None, None, RemoteError("it raised", "Traceback: far", "last words")),
            error_row(6, None, None, KeyError("x")),
        ]
    )
    sink.close(is_complete=True)
    texts = [tuple(row["error"].values()) for row in lines(path)]
    assert texts == [
        ("ValueError", "too long ?", "Traceback: there"),
        ("RemoteError", "it raised", "Traceback: far"),
        ("KeyError", "'x'", ""),
    ]
    assert lines(path)[0].keys() == {"index", "key", "error"}


@dataclasses.dataclass
class Verdict:
    label: str
    source: Path


class Answer(msgspec.Struct):
    text: str


class Named(NamedTuple):
    label: str
    score: float


class Label(str, enum.Enum):
    YES = "yes"


class Array:
    """As an array or a scalar of numpy, or a tensor."""

    def tolist(self) -> list[float]:
        return [1.0, 2.0]


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (Verdict("ja", Path("/data/a")), {"label": "ja", "source": "/data/a"}),
        (Answer("no"), {"text": "no"}),
        (Named("ja", 0.5), {"label": "ja", "score": 0.5}),
        (Label.YES, "yes"),
        ({"logits": Array()}, {"logits": [1.0, 2.0]}),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        ((Text("a"), 2**70), ["a", 2**70]),
        ({1: {"x"}}, {"1": ["x"]}),
        (float("nan"), None),
    ],
)
def test_results_are_written_as_the_data_that_they_are(
    path: Path, result: Any, expected: Any
) -> None:
    sink = opened(path)
    sink.write([result_row(0, None, None, result)])
    sink.close(is_complete=True)
    assert lines(path) == [{"index": 0, "result": expected}]


def test_arrays_of_numpy_are_written(path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    results = [numpy.float32(0.5), numpy.float64(0.25), numpy.int64(3), numpy.ones((1, 2))]
    sink = opened(path)
    sink.write([result_row(index, None, None, each) for index, each in enumerate(results)])
    sink.close(is_complete=True)
    assert [row["result"] for row in lines(path)] == [0.5, 0.25, 3, [[1.0, 1.0]]]


NOT_WRITABLE = [object(), 1j, {(1, 2): 3}, "\ud800", {"model": lambda: 1}]


@pytest.mark.parametrize("result", NOT_WRITABLE)
def test_a_result_that_cannot_be_written_ends_a_strict_map_and_costs_no_other_row(
    path: Path, result: Any
) -> None:
    sink = opened(path)
    with pytest.raises(ResultNotWritable) as caught:
        sink.write([*rows(1), result_row(2, "claim-2", "key", result), *rows(3)])
    sink.close(is_complete=False)
    text = str(caught.value)
    assert text.startswith(f"the result of item 2 (key 'claim-2') is a {type(result).__name__}")
    assert str(path) in text
    assert [row["index"] for row in lines(path)] == [1, 3]


@pytest.mark.parametrize("result", NOT_WRITABLE)
def test_a_result_that_cannot_be_written_is_an_error_row_of_a_tolerant_map(
    path: Path, result: Any
) -> None:
    sink = opened(path, is_tolerant=True)
    assert sink.write([*rows(1), result_row(2, "claim-2", "key", result), *rows(3)]) == 1
    sink.close(is_complete=True)
    first, second, third = lines(path)
    assert (first["result"], third["result"]) == (10, 30)
    assert (second["key"], second["error"]["type"]) == ("claim-2", "ResultNotWritable")


# --- what cannot be written is refused at once -----------------------------------------------


def test_a_file_with_results_is_not_written_over(path: Path) -> None:
    path.write_text('{"index": 0, "result": 1}\n')
    with pytest.raises(SinkError, match=r"give resume=True .*, delete .*results.jsonl to start"):
        opened(path)
    assert lines(path) == [{"index": 0, "result": 1}]


def test_an_empty_file_may_be_there(path: Path) -> None:
    path.touch()
    opened(path).close(is_complete=True)


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"make the folder .*nowhere first"):
        opened(tmp_path / "nowhere" / "results.jsonl")


def test_a_folder_and_a_pipe_are_no_files(path: Path, tmp_path: Path) -> None:
    path.mkdir()
    with pytest.raises(SinkError, match=r"results.jsonl cannot be written: Is a directory"):
        opened(path)
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    with pytest.raises(SinkError, match="no regular file"):
        opened(pipe)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_without_permission_is_refused(path: Path) -> None:
    path.touch(mode=0o400)
    with pytest.raises(SinkError, match="Permission denied"):
        opened(path)


def test_a_file_has_one_writer_at_a_time(path: Path) -> None:
    sink = opened(path)
    with pytest.raises(SinkError, match=r"results.jsonl is being written by another map"):
        opened(path)
    sink.close(is_complete=True)
    opened(path).close(is_complete=True)


def test_a_file_system_without_locks_is_written_with_a_warning(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(fd: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(safe_file.fcntl, "flock", no_locks)
    opened(path).close(is_complete=True)
    assert "this file system has no locks" in caplog.text


@pytest.mark.parametrize("name", ["results.txt", "results", "results.csv"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"end in .jsonl, .ndjson, .parquet"):
        opened(tmp_path / name)


def test_an_object_with_the_methods_of_a_sink_is_one() -> None:
    class Database:
        def write(self, rows: Sequence[Row]) -> None: ...
        def flush(self) -> None: ...
        def close(self, *, is_complete: bool) -> None: ...

    database = Database()
    assert open_sink(database, patience=EAGER, is_tolerant=False) is database
    for target in (Database, [], None):
        with pytest.raises(TypeError, match="sink must be the path of a file"):
            open_sink(target, patience=EAGER, is_tolerant=False)


# --- a full disk, and other faults -----------------------------------------------------------


class Disk:
    """Stands before the real file: fails or shortens calls as told, then does them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.faults: list[Any] = []
        """For the next writes: an errno, or how many bytes are taken; None: all."""
        self.sync_faults: list[int] = []
        self.waits: list[str] = []
        self._write, self._sync = os.pwrite, os.fsync
        monkeypatch.setattr(safe_file, "monotonic_s", lambda: 0.0)  # nothing is synced by itself
        monkeypatch.setattr(safe_file.os, "pwrite", self.pwrite)
        monkeypatch.setattr(safe_file.os, "fsync", self.fsync)

    @property
    def patience(self) -> Patience:
        return Patience(on_wait=self.waits.append, pause=lambda _: None)

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        fault = self.faults.pop(0) if self.faults else None
        match fault:
            case OSError():
                raise fault
            case int():
                return self._write(fd, bytes(data)[:fault], offset)
        return self._write(fd, data, offset)

    def fsync(self, fd: int) -> None:
        if self.sync_faults:
            raise full(self.sync_faults.pop(0))
        self._sync(fd)


def full(number: int = errno.ENOSPC) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_a_write_that_takes_less_than_it_was_given_goes_on(path: Path, disk: Disk) -> None:
    sink = opened(path)
    disk.faults = [3, 1, 5]
    sink.write(rows(1, 2))
    assert [row["index"] for row in lines(path)] == [1, 2]
    sink.close(is_complete=True)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_waited_for_and_told(path: Path, disk: Disk, number: int) -> None:
    sink = opened(path, patience=disk.patience)
    sink.write(rows(1))
    disk.faults = [7, full(number), full(number), 2, full(number)]
    sink.write(rows(2, 3))
    assert [row["index"] for row in lines(path)] == [1, 2, 3]
    assert len(disk.waits) == 3
    assert f"{path}: {os.strerror(number)}. Waiting for room" in disk.waits[0]
    sink.close(is_complete=True)


def test_what_was_lost_by_a_sync_without_room_is_written_again(path: Path, disk: Disk) -> None:
    """File systems of networks may take data, and say when they sync that there is no room."""
    sink = opened(path, patience=disk.patience)
    sink.write(rows(1, 2))
    sink.flush()
    num_safe_bytes = path.stat().st_size
    sink.write(rows(3))
    sink.write(rows(4))
    os.truncate(path, num_safe_bytes + 3)
    disk.sync_faults = [errno.ENOSPC, errno.EDQUOT]
    sink.flush()
    assert [row["index"] for row in lines(path)] == [1, 2, 3, 4]
    assert len(disk.waits) == 2
    sink.close(is_complete=True)


def test_giving_up_a_wait_leaves_whole_batches(path: Path, disk: Disk) -> None:
    class GiveUpError(Exception):
        pass

    def give_up(message: str) -> None:
        raise GiveUpError

    sink = opened(path, patience=Patience(on_wait=give_up))
    sink.write(rows(1))
    disk.faults = [3, full()]
    with pytest.raises(GiveUpError):
        sink.write(rows(2))
    assert [row["index"] for row in lines(path)] == [1]
    sink.close(is_complete=False)
    assert [row["index"] for row in lines(path)] == [1]


def test_another_fault_of_the_disk_is_raised_and_leaves_whole_batches(
    path: Path, disk: Disk
) -> None:
    sink = opened(path)
    sink.write(rows(1))
    disk.faults = [3, OSError(errno.EIO, "I/O error")]
    with pytest.raises(SinkError, match=r"results.jsonl cannot be written any more: .*I/O error"):
        sink.write(rows(2))
    assert [row["index"] for row in lines(path)] == [1]
    sink.close(is_complete=False)


def test_much_that_is_not_on_the_disk_itself_is_brought_there(
    path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 100.0
    syncs: list[float] = []
    monkeypatch.setattr(safe_file, "monotonic_s", lambda: now_s)
    monkeypatch.setattr(safe_file, "MAX_UNSYNCED_BYTES", 1000)
    monkeypatch.setattr(safe_file.os, "fsync", lambda fd: syncs.append(now_s))
    sink = opened(path)
    sink.write(rows(1))
    assert syncs == []
    now_s += 1.5
    sink.write(rows(2))
    assert syncs == [101.5]
    sink.write(rows(3))
    assert syncs == [101.5]
    sink.write([result_row(4, None, None, "x" * 1000)])
    assert syncs == [101.5] * 2
    sink.write(rows(5))
    sink.close(is_complete=True)
    assert syncs == [101.5] * 3


def test_a_small_file_is_written_whole_or_not_at_all(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "small.json"
    write_whole(path, b"old", EAGER)
    disk.sync_faults = [errno.ENOSPC]
    seen: list[bytes] = []
    patience = Patience(on_wait=lambda _: seen.append(path.read_bytes()), pause=lambda _: None)
    write_whole(path, b"new", patience)
    assert (seen, path.read_bytes()) == ([b"old"], b"new")
    assert os.listdir(tmp_path) == ["small.json"]
    disk.sync_faults = [errno.EIO]
    with pytest.raises(SinkError, match=r"small.json cannot be written"):
        write_whole(path, b"newer", EAGER)
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["small.json"]
