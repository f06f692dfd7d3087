"""Storms until so many events were heard: what happened in them, and that all was well.

::

    python benchmarks/storms.py --events 1000000

Each storm has another seed. The first that breaks a rule ends this with its weather, which is all
that is needed to see it again; the rules are in ``storm_ledger.py``, ``storm.py`` and
``parsl_pcm/core/check.py``.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from storm import Storm, Weather, header_of

from parsl_pcm.eventlog import EventLog, replay

SMALL = Weather(
    num_nodes=20, num_calls=300, num_maps=30, map_items=3000, num_disturbances=200, horizon_s=1000.0
)
CLIMATES: Mapping[str, Weather] = {
    "all contexts, few nodes": SMALL,
    "one context, 300 nodes": replace(
        SMALL,
        contexts=("cpu",),
        num_nodes=300,
        num_calls=1500,
        num_maps=40,
        map_items=2000,
        num_disturbances=300,
    ),
    "devices that are shared": replace(SMALL, contexts=("small", "sleeper", "gang", "either")),
    "squalls": replace(SMALL, num_nodes=100, num_squalls=10, contexts=("cpu", "whole", "crowd")),
    "noise, slow messages": replace(SMALL, noise_frac=1.0, latency_s=5.0),
}
"""In turn; each ends with the last of its work."""


@dataclass
class Row:
    """What happened in all storms of a climate."""

    num_storms: int = 0
    num_events: int = 0
    num_late_words: int = 0
    num_items: int = 0
    num_delivered: int = 0
    wall_s: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)

    def add(self, storm: Storm, wall_s: float) -> None:
        """Count one more storm."""
        self.num_storms += 1
        self.num_events += storm.pool.num_events
        self.num_late_words += storm.num_late_words
        num_items, num_delivered = storm.ledger.num_items()
        self.num_items += num_items
        self.num_delivered += num_delivered
        self.wall_s += wall_s
        self.counts += storm.ledger.counts
        self.ends += storm.ledger.ends()


def weathers(first_seed: int) -> Iterator[tuple[str, Weather]]:
    """Yield a storm of each climate in turn, for ever."""
    for seed, (name, weather) in zip(
        itertools.count(first_seed), itertools.cycle(CLIMATES.items()), strict=False
    ):
        yield name, replace(weather, seed=seed)


def rage(weather: Weather, path: Path, check_every: int) -> Storm:
    """Run a storm and replay its log; if a rule is broken, say in which weather."""
    try:
        with EventLog(path, header_of(weather)) as log:
            storm = Storm(weather, log=log, check_every=check_every)
            storm.run()
        assert replay(path) is None, "its log does not replay"
    except AssertionError as error:
        raise AssertionError(f"{error}\nin {weather}") from error
    return storm


def run(num_events: int, first_seed: int, check_every: int) -> dict[str, Row]:
    """Run storms until so many events were heard; return a row for each climate."""
    rows = {name: Row() for name in CLIMATES}
    with tempfile.TemporaryDirectory(prefix="storms-") as folder:
        path = Path(folder) / "events.jsonl"
        for name, weather in weathers(first_seed):
            began_at = time.perf_counter()
            storm = rage(weather, path, check_every)
            rows[name].add(storm, time.perf_counter() - began_at)
            path.unlink()
            if sum(row.num_events for row in rows.values()) >= num_events:
                return rows
    raise AssertionError("there is always another storm")


def table(rows: Mapping[str, Row]) -> str:
    """Return a table in Markdown."""
    heads = (
        "climate",
        "storms",
        "events",
        "of them late or twice",
        "nodes",
        "lost",
        "leases",
        "items",
        "delivered",
        "tasks that ended",
        "us an event",
    )
    lines = [" | ".join(heads), " | ".join("---" for _ in heads)]
    for name, row in rows.items():
        ends = ", ".join(f"{number} {how}" for how, number in row.ends.most_common())
        cells = (
            name,
            row.num_storms,
            row.num_events,
            row.num_late_words,
            row.counts["ManagerRegistered"],
            row.counts["ManagerLost"],
            row.counts["SendPiece"],
            row.num_items,
            row.num_delivered,
            ends,
            round(row.wall_s / max(1, row.num_events) * 1e6),
        )
        lines.append(" | ".join(map(str, cells)))
    return "\n".join(f"| {line} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--events", type=int, default=20_000, help="so many at least")
    parser.add_argument("--seed", type=int, default=1, help="of the first storm")
    parser.add_argument(
        "--check-every",
        type=int,
        default=500,
        help="events from one check of all records to the next",
    )
    given = parser.parse_args()
    print(table(run(given.events, given.seed, given.check_every)))


if __name__ == "__main__":
    main()
