"""The part ``memory`` of ``map.py``: very many items, from a generator to a file."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import common
import map_work
import msgspec
import psutil
from common import OURS
from map_values import Settings, Value

from parsl_pcm import pcm_map

PERIOD_S = 0.5
STRETCH = 1_000_000
INTERCHANGE = "parsl_pcm.interchange"


@dataclass(frozen=True)
class Sample:
    """What is true at one moment."""

    at_s: float
    num_done: int
    script_bytes: int
    interchange_bytes: int


def memory(settings: Settings) -> Iterator[Value]:
    """Map no-op items in a fresh process: what other parts left in memory does not count."""
    num_items = settings.num_items
    with tempfile.TemporaryDirectory() as folder:
        sink = Path(folder) / "results.jsonl"
        command = [sys.executable, __file__, str(num_items), str(sink)]
        told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        check(sink, num_items)
    samples = [Sample(**json.loads(line)) for line in told.splitlines()]
    row = f"{num_items:,} items"
    script_bytes = max(sample.script_bytes for sample in samples)
    interchange_bytes = max(sample.interchange_bytes for sample in samples)
    yield Value(f"{row}: peak resident memory of the script", "MB", script_bytes / 1e6)
    yield Value(f"{row}: peak resident memory of the interchange", "MB", interchange_bytes / 1e6)
    yield Value(f"{row}: rate", "items/s", num_items / samples[-1].at_s)
    yield from rates(samples)


class Row(msgspec.Struct):
    """A line of the file."""

    index: int
    result: int


def check(sink: Path, num_items: int) -> None:
    """Fail unless each item has one line, with its own result."""
    decode = msgspec.json.Decoder(Row).decode
    num_lines = bytearray(num_items)
    with sink.open("rb") as lines:
        for row in map(decode, lines):
            assert row.result == row.index, f"item {row.index} has the result {row.result}"
            num_lines[row.index] += 1
    assert num_lines == b"\x01" * num_items, "an item has no line, or several"


def rates(samples: list[Sample]) -> Iterator[Value]:
    """Yield the rate of each million items."""
    num_stretches = samples[-1].num_done // STRETCH
    ends_s = [time_of(samples, number * STRETCH) for number in range(num_stretches + 1)]
    for number, (start_s, stop_s) in enumerate(pairwise(ends_s)):
        row = f"rate from {number} to {number + 1} million items"
        yield Value(row, "items/s", STRETCH / (stop_s - start_s))


def time_of(samples: list[Sample], num_done: int) -> float:
    """Return when so many were done, as if the rate between two samples were steady."""
    for before, after in pairwise(samples):
        if after.num_done >= num_done and after.num_done > before.num_done:
            share = (num_done - before.num_done) / (after.num_done - before.num_done)
            return before.at_s + share * (after.at_s - before.at_s)
    raise ValueError(f"{num_done} items were never done")


def script(num_items: str, sink: str) -> None:
    """Run the map that is measured, as a script of its own; print samples."""
    with common.loaded(OURS):
        (interchange,) = [
            each for each in psutil.Process().children() if INTERCHANGE in command(each)
        ]
        items = (item for item in range(int(num_items)))
        start_s = time.perf_counter()
        app: Any = common.app(map_work.same)
        run = pcm_map(app, items, sink=sink)
        while True:
            is_done = run.done()
            sample = Sample(
                at_s=time.perf_counter() - start_s,
                num_done=run.progress().num_done,
                script_bytes=psutil.Process().memory_info().rss,
                interchange_bytes=interchange.memory_info().rss,
            )
            print(json.dumps(asdict(sample)), flush=True)
            if is_done:
                return
            time.sleep(PERIOD_S)


def command(process: psutil.Process) -> str:
    """Return the command line of a process."""
    return " ".join(process.cmdline())


if __name__ == "__main__":
    script(*sys.argv[1:])
