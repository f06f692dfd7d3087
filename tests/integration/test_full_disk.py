"""Sinks on a real file system that has no room left; it takes root to mount one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parsl_pcm.mapping.journal import Journal
from parsl_pcm.mapping.keys import Keys
from parsl_pcm.mapping.resume import identify
from parsl_pcm.mapping.sinks.opening import open_sink
from parsl_pcm.mapping.sinks.rows import Row, result_row
from parsl_pcm.mapping.sinks.safe_file import Patience

SIZE_BYTES = 512 << 10


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_BYTES}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode != 0:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Filler:
    """Somebody else's file that takes all the room, until the first wait."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "filler"
        self.waits: list[str] = []

    @property
    def patience(self) -> Patience:
        return Patience(on_wait=self._make_room, pause=lambda _: None)

    def fill(self, num_free_bytes: int = 0) -> None:
        free = os.statvfs(self._path.parent)
        self._path.write_bytes(b"x" * (free.f_bavail * free.f_frsize - num_free_bytes))

    def _make_room(self, message: str) -> None:
        self.waits.append(message)
        self._path.unlink()


def rows(start: int, stop: int) -> list[Row]:
    return [result_row(index, None, None, f"result {index}") for index in range(start, stop)]


def test_json_lines_wait_for_room_and_are_whole(small_disk: Path) -> None:
    path = small_disk / "results.jsonl"
    filler = Filler(small_disk)
    sink = open_sink(path, patience=filler.patience, is_tolerant=False)
    sink.write(rows(0, 100))
    filler.fill(num_free_bytes=4096)
    sink.write(rows(100, 1000))
    sink.close(is_complete=True)
    assert len(filler.waits) == 1
    assert "No space left on device" in filler.waits[0]
    lines = path.read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == [f'{{"index":{n}' for n in range(1000)]


@pytest.mark.parametrize("is_merge", [False, True])
def test_parquet_waits_for_room_for_parts_and_for_the_file(
    small_disk: Path, is_merge: bool
) -> None:
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    path = small_disk / "results.parquet"
    filler = Filler(small_disk)
    sink: Any = open_sink(path, patience=filler.patience, is_tolerant=False)
    sink.write(rows(0, 1000))
    if is_merge:
        sink.write_part()
    filler.fill(num_free_bytes=4096)
    sink.close(is_complete=True)
    assert len(filler.waits) == 1
    with parquet.ParquetFile(path) as file:
        assert file.read()["index"].to_pylist() == list(range(1000))


def test_a_journal_waits_for_room(small_disk: Path) -> None:
    def app(items: list[int]) -> list[int]:
        return items

    keys = Keys(None, is_resumable=True)
    filler = Filler(small_disk)
    identity = identify(app, {}, keys)
    kept = Journal(small_disk / "journal", filler.patience, keys=keys, identity=identity)
    filler.fill(num_free_bytes=8192)
    kept.add([(index, f"{index}", "x" * 100) for index in range(1000)])
    assert len(filler.waits) == 1
    assert len(kept) == 1000
    kept.close()
