"""What a map costs and what it saves, beside what there is without it.

::

    python benchmarks/map.py                     everything, about an hour
    python benchmarks/map.py --only overhead     no-op items, as fast as they go
    python benchmarks/map.py --only unequal      two hosts, one of them four times slower
    python benchmarks/map.py --only kills        ten hosts killed at random
    python benchmarks/map.py --only memory       ten million items from a generator to a file
    python benchmarks/map.py --only resume       the script killed in the middle, started again
    python benchmarks/map.py --only calls        ordinary calls, up to a hundred thousand
    python benchmarks/map.py --only batch        the caller's size on a batching engine

Repetitions alternate between the ways of a part. Every figure is counted from what the app
returned or wrote to a file of its own. ``--quick`` takes a tenth of the items once, ``--items``
sets those of ``memory``.
"""

from __future__ import annotations

import argparse
from functools import partial

import common
import map_faults
import map_memory
import map_rates
from common import OURS, STOCK
from map_values import Settings, Way, measured, print_table

PARTS: dict[str, tuple[Way, ...]] = {
    "overhead": (
        map_rates.overhead_of_maps,
        partial(map_rates.overhead_of_calls, OURS),
        partial(map_rates.overhead_of_calls, STOCK),
        map_rates.overhead_of_batches,
        map_rates.overhead_of_a_pool,
    ),
    "unequal": (map_rates.unequal_map, map_rates.unequal_batches),
    "kills": (map_faults.kills_of_lists, map_faults.kills_of_yields),
    "memory": (map_memory.memory,),
    "resume": (map_faults.resume_of_lists, map_faults.resume_of_yields),
    "calls": (partial(map_rates.single_calls, OURS), partial(map_rates.single_calls, STOCK)),
    "batch": (map_rates.sizes_of_maps, map_rates.sizes_of_calls, map_rates.sizes_of_batches),
}
NUM_ITEMS = 10_000_000


def main() -> None:
    args = arguments()
    print(f"{common.machine()}\n")
    for part in args.only or PARTS:
        num_reps = 1 if args.quick or part == "memory" else args.reps
        settings = Settings(scale=0.1 if args.quick else 1.0, num_items=args.items)
        print_table(measured(part, PARTS[part], settings, num_reps))


def arguments() -> argparse.Namespace:
    parser = common.parser("Maps, beside HighThroughputExecutor.", tuple(PARTS))
    parser.add_argument("--items", type=int, default=NUM_ITEMS, help="of the part memory")
    return parser.parse_args()


if __name__ == "__main__":
    common.let_workers_find_us()
    main()
