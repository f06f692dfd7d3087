"""The parts of ``map.py`` in which something is killed: hosts, and the script itself.

What was computed is counted from the journals that the app writes, a file for each process.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import common
import map_work
import psutil
from common import OURS
from map_values import Settings, Value

from parsl_pcm import pcm_map
from parsl_pcm.core.actions import DeliverRange, SendPiece
from parsl_pcm.core.events import HostExited
from parsl_pcm.eventlog import read_log
from parsl_pcm.types import HostId, TaskId

T = TypeVar("T")

NUM_KILLS = 10
ITEM_S = 0.001
NUM_ITEMS = 40_000
FLUSH_S = 2.0
"""For the event log, which is written out once a second."""
PATIENCE_S = 120.0
APPS: dict[str, Callable[..., Any]] = {
    "app returns a list": map_work.work_listed,
    "app yields": map_work.work_yielded,
}


def kills_of_lists(settings: Settings) -> Iterator[Value]:
    """Kill hosts whose app returns the results of a piece all at once."""
    return kills("app returns a list", settings)


def kills_of_yields(settings: Settings) -> Iterator[Value]:
    """Kill hosts whose app yields each result."""
    return kills("app yields", settings)


def kills(name: str, settings: Settings) -> Iterator[Value]:
    """Kill ten processes at random moments, as the kernel would."""
    num_items = settings.scaled(NUM_ITEMS)
    chance = random.Random(settings.rep)
    kill_at = sorted(chance.sample(range(num_items), NUM_KILLS), reverse=True)
    with common.loaded(OURS) as kernel, tempfile.TemporaryDirectory() as folder:
        app: Any = common.app(APPS[name])
        results = []
        run = pcm_map(app, range(num_items), ordered=False, folder=folder, item_s=ITEM_S)
        for result in run:
            results.append(result)
            while kill_at and len(results) > kill_at[-1]:
                kill_at.pop()
                kill_one(Path(folder), chance)
        time.sleep(FLUSH_S)
        lost = losses(Path(kernel.executors["bench"].logdir) / "events.jsonl")
        twice = num_repeated(Path(folder))
    assert sorted(results) == list(range(num_items)), "an item is lost, or was delivered twice"
    row = f"{NUM_KILLS} kills, {name}"
    yield Value(f"{row}: items computed twice, of {num_items:,}", "-", twice)
    yield Value(f"{row}: items in flight on hosts that were killed", "-", lost.num_in_flight)
    yield Value(f"{row}: items delivered twice", "-", lost.num_delivered_twice)


def kill_one(folder: Path, chance: random.Random) -> None:
    """Kill one of the processes that have written a journal, as soon as one lives."""
    chance.choice(wait_for(lambda: workers(folder))).kill()


def workers(folder: Path) -> list[psutil.Process]:
    """Return the live processes that have written a journal, oldest first."""
    return [
        process
        for pid in sorted(int(path.name) for path in folder.iterdir())
        if (process := live(pid))
    ]


def live(pid: int) -> psutil.Process | None:
    """Return the process of this number, unless it has ended."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process
    except psutil.NoSuchProcess:
        return None


@dataclass
class Losses:
    """What an event log tells of the pieces that were under way when their hosts ended.

    Attributes
    ----------
    num_in_flight
        Items that were at a host when it ended, and not delivered.
    num_delivered_twice
        Items whose results were delivered more than once.
    """

    num_in_flight: int = 0
    num_delivered_twice: int = 0


def losses(log: Path) -> Losses:
    """Read what was lost, and what was delivered twice, from an event log."""
    found = Losses()
    pieces: dict[HostId, list[SendPiece]] = {}
    delivered: set[tuple[TaskId, int]] = set()
    for record in read_log(log).records:
        if isinstance(record.event, HostExited):
            lost = {
                (piece.task_id, item)
                for piece in pieces.pop(record.event.host_id, [])
                for item in range(piece.start, piece.stop)
            }
            found.num_in_flight += len(lost - delivered)
        for action in record.actions:
            if isinstance(action, SendPiece):
                pieces.setdefault(action.host_id, []).append(action)
            if isinstance(action, DeliverRange):
                items = {(action.task_id, item) for item in range(action.start, action.stop)}
                found.num_delivered_twice += len(items & delivered)
                delivered |= items
    return found


def resume_of_lists(settings: Settings) -> Iterator[Value]:
    """Kill a script whose app returns the results of a piece all at once."""
    return resume("app returns a list", settings)


def resume_of_yields(settings: Settings) -> Iterator[Value]:
    """Kill a script whose app yields each result."""
    return resume("app yields", settings)


def resume(name: str, settings: Settings) -> Iterator[Value]:
    """Kill a script in the middle of its map and start it again."""
    num_items = settings.scaled(NUM_ITEMS)
    with tempfile.TemporaryDirectory() as root:
        journals, sink = Path(root) / "journals", Path(root) / "results.jsonl"
        journals.mkdir()
        command = [sys.executable, __file__, name, str(num_items), str(journals), str(sink)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as script:
            wait_for(lambda: num_lines(sink) >= num_items // 2, script)
            script.send_signal(signal.SIGKILL)
        wait_for(lambda: not workers(journals))
        num_lost = num_computed(journals) - num_lines(sink)
        subprocess.run(command, stderr=subprocess.DEVNULL, check=True)
        rows = [json.loads(line) for line in sink.read_text().splitlines()]
        twice = num_repeated(journals)
    assert sorted(row["result"] for row in rows) == list(range(num_items)), "not one row an item"
    yield Value(f"script killed, {name}: items computed twice, of {num_items:,}", "-", twice)
    yield Value(f"script killed, {name}: items computed, but not yet in the file", "-", num_lost)


def wait_for(ask: Callable[[], T], script: subprocess.Popen[bytes] | None = None) -> T:
    """Ask until the answer is true, while the script runs; return it."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not (answer := ask()):
        assert script is None or script.poll() is None, "the script ended by itself"
        assert time.monotonic() < deadline_s, "nothing happened"
        time.sleep(0.02)
    return answer


def num_lines(path: Path) -> int:
    """Return the number of whole lines of a file that may not be there yet."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def num_computed(folder: Path) -> int:
    """Return how many items were computed, each counted once."""
    return len(set(entries(folder)))


def num_repeated(folder: Path) -> int:
    """Return how often an item was computed that had been computed before."""
    counts = Counter(entries(folder))
    return sum(counts.values()) - len(counts)


def entries(folder: Path) -> list[str]:
    """Return what all journals hold."""
    return [line for path in folder.iterdir() for line in path.read_text().split()]


def script(name: str, num_items: str, journals: str, sink: str) -> None:
    """Run the map that is killed, as a script of its own."""
    with common.loaded(OURS):
        app: Any = common.app(APPS[name])
        items = range(int(num_items))
        pcm_map(app, items, sink=sink, resume=True, folder=journals, item_s=ITEM_S).result()


if __name__ == "__main__":
    script(*sys.argv[1:])
