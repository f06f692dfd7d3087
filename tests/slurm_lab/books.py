"""Independent books: what really ran where, written by those who run it.

One file, one line an entry, each written at once: entries of several processes never mix.
"""

from __future__ import annotations

import fcntl
import functools
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from parsl_pcm import context
from tests.slurm_lab.waiting import PATIENCE_S, wait_for

NO_ITEM = "-"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the books."""

    what: str
    """``job``: a batch script began. ``loading``, ``loaded``: a context. ``begun``, ``ended``: an
    item. ``overlap``: two processes have one GPU at the same time."""
    item: str
    node: str
    device: str
    pid: int
    at_s: float
    """Seconds since the epoch: all nodes are one machine."""


class Books:
    """The books of one run.

    Parameters
    ----------
    folder
        Exists; also holds the gates, and a lock for each GPU.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "books"

    @property
    def folder(self) -> str:
        """What the items get."""
        return str(self._folder)

    @property
    def worker_init(self) -> str:
        """Line of a batch script that enters its beginning."""
        place = "$SLURMD_NODENAME ${CUDA_VISIBLE_DEVICES:-none}"
        return f'echo "job {NO_ITEM} {place} $$ $(date +%s.%N)" >> {self._path}'

    def entries(self, what: str, item: object = None) -> list[Entry]:
        """Return the entries of this kind in their order, those of one item or of all."""
        text = self._path.read_text() if self._path.exists() else ""
        entries = [_entry(line) for line in text.splitlines()]
        return [
            entry
            for entry in entries
            if entry.what == what and (item is None or entry.item == str(item))
        ]

    def wait_for(
        self, num_entries: int, what: str, item: object = None, *, timeout_s: float = PATIENCE_S
    ) -> list[Entry]:
        """Wait until there are so many entries of this kind, and return them."""
        wait_for(
            lambda: len(self.entries(what, item)) >= num_entries,
            f"{num_entries} times '{what}' of {'anything' if item is None else f'item {item}'}",
            timeout_s=timeout_s,
        )
        return self.entries(what, item)

    def open_gate(self, item: object) -> None:
        """Let an item end that waits for its gate."""
        (self._folder / f"gate-{item}").touch()

    def num_runs(self) -> Counter[str]:
        """Return how often each item has begun."""
        return Counter(entry.item for entry in self.entries("begun"))


def _entry(line: str) -> Entry:
    what, item, node, device, pid, at_s = line.split()
    return Entry(what=what, item=item, node=node, device=device, pid=int(pid), at_s=float(at_s))


# --- what runs in the workers --------------------------------------------------------------------


def enter(folder: str, what: str, item: object = NO_ITEM) -> None:
    """Add a line to the books."""
    node = os.environ.get("SLURMD_NODENAME", "none")
    device = os.environ.get("CUDA_VISIBLE_DEVICES") or "none"
    line = f"{what} {item} {node} {device} {os.getpid()} {time.time():.6f}\n"
    with open(Path(folder) / "books", "ab", buffering=0) as file:
        file.write(line.encode())


def load(folder: str, load_s: float) -> tuple[str, str]:
    """Load for a while and hold the GPU under a lock of our own; return node and device."""
    enter(folder, "loading")
    node, device = os.environ["SLURMD_NODENAME"], os.environ["CUDA_VISIBLE_DEVICES"]
    lock = os.open(Path(folder) / f"lock-{node}-{device}", os.O_CREAT | os.O_RDWR)
    try:
        # Dropped by the kernel when this process ends, however it ends.
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        enter(folder, "overlap")
    time.sleep(load_s)
    enter(folder, "loaded")
    return node, device


@context(gpus=1)
def gpu(folder: str, load_s: float = 0.0) -> Iterator[tuple[str, str]]:
    """Declare it as a context."""
    yield load(folder, load_s)


load_once = functools.lru_cache(maxsize=1)(load)
"""For workers that know no contexts."""


def run_item(item: int, folder: str, seconds: float | None) -> int:
    """Work for so many seconds, or until the gate opens (None); return the number of the item."""
    enter(folder, "begun", item)
    gate = Path(folder) / f"gate-{item}"
    if seconds is None:
        while not gate.exists():
            time.sleep(0.01)
    else:
        time.sleep(seconds)
    enter(folder, "ended", item)
    return item


def with_context(item: int, folder: str, seconds: float | None, engine: object) -> int:
    """Item of PCMExecutor: its engine is live."""
    return run_item(item, folder, seconds)


def with_cached_global(item: int, folder: str, seconds: float | None, load_s: float) -> int:
    """Item of HighThroughputExecutor: loads once a worker, as a careful user has it."""
    load_once(folder, load_s)
    return run_item(item, folder, seconds)
