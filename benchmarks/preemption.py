"""What a preemption costs on a real Slurm: PCMExecutor beside HighThroughputExecutor.

::

    python benchmarks/preemption.py                     everything, as root, about half an hour
    python benchmarks/preemption.py --only kill         a node dies, another has room
    python benchmarks/preemption.py --only requeue      the only node is taken back for a moment
    python benchmarks/preemption.py --only grace        taken back with notice
    python benchmarks/preemption.py --only idle         a GPU becomes free while an item waits
    python benchmarks/preemption.py --only storm        200 preemptions and node failures
    python benchmarks/preemption.py --stock-reps 0      without HighThroughputExecutor

Each repetition has a Python, a Parsl and a private Slurm of its own (tests/slurm_lab): nodes with
fake GPUs, which Slurm gives out like real ones. HighThroughputExecutor has its default heartbeats
and ``retries=1``, without which it loses what was preempted; PCMExecutor has ``retries=0``. Slurm
holds a job back that it has queued again for 5 s, where the default of a site is 120 s.
HighThroughputExecutor mostly waits for its heartbeats: its repetitions run side by side, but for
those that take seconds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import common
from common import EXECUTORS, OURS, STOCK, Table, progress

sys.path.insert(0, str(common.HERE.parent))

from preemption_executors import loaded
from preemption_runs import JOBS_LEFT, PARTS, Run, Value

from tests.slurm_lab.books import Books
from tests.slurm_lab.lab import SlurmLab, slurm_lab

NUM_EVENTS = 200
CHILD_TIMEOUT_S = 1800.0
EMPTY_QUEUE_TIMEOUT_S = 15.0


def main() -> None:
    args = arguments()
    if args.child:
        part, name = args.child
        print("\n".join(json.dumps(vars(value)) for value in measure(part, name, args.events)))
        return
    table = Table()
    print(f"{common.machine()}\n")
    for part, name in itertools.product(args.only or PARTS, EXECUTORS):
        progress(f"{part}, {name}")
        with ThreadPoolExecutor(num_at_once(part, name, args)) as pool:
            children = [(part, name, args.events)] * num_repetitions(part, name, args)
            for values in pool.map(lambda child: run_child(*child), children):
                add(table, name, values)
    print("\n".join(table.lines()))


def arguments() -> argparse.Namespace:
    parser = common.parser("Preemption, beside HighThroughputExecutor.", tuple(PARTS))
    parser.set_defaults(reps=5)
    parser.add_argument("--stock-reps", type=int, default=5, help="of HighThroughputExecutor")
    parser.add_argument(
        "--stock-at-once", type=int, default=5, help="its repetitions at a time: it mostly waits"
    )
    parser.add_argument("--events", type=int, default=NUM_EVENTS, help="of the storm")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def num_repetitions(part: str, name: str, args: argparse.Namespace) -> int:
    if PARTS[part].is_ours_alone:
        return 1 if name == OURS else 0
    num_reps: int = args.reps if name == OURS else args.stock_reps
    return min(num_reps, 1) if args.quick else num_reps


def num_at_once(part: str, name: str, args: argparse.Namespace) -> int:
    num_at_once: int = args.stock_at_once
    return num_at_once if name == STOCK and not PARTS[part].is_short else 1


def run_child(part: str, name: str, num_events: int) -> list[Value]:
    command = [sys.executable, __file__, "--child", part, name, "--events", str(num_events)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, timeout=CHILD_TIMEOUT_S, check=True
    )
    return [Value(**json.loads(line)) for line in done.stdout.splitlines()]


def add(table: Table, name: str, values: list[Value]) -> None:
    for value in values:
        progress(f"    {value.row}: {value.value:.2f} {value.unit}")
        table.add(value.row, value.unit, name, value.value)


def measure(part_name: str, name: str, num_events: int) -> Iterator[Value]:
    """Run one part once, in this process."""
    part = PARTS[part_name]
    with slurm_lab(part.settings) as lab, tempfile.TemporaryDirectory() as folder:
        lab.use_here()
        books = Books(Path(folder))
        if part.is_taken_at_first:
            lab.wait_until_taken(lab.take(next(iter(lab.nodes.values()))))
        with loaded(name, lab, books, part) as submit:
            run = Run(lab=lab, books=books, submit=submit, num_events=num_events)
            yield from part.measure(run)
        yield Value(JOBS_LEFT, "-", jobs_left(lab))


def jobs_left(lab: SlurmLab) -> int:
    """Return how many jobs there are in the queue still, some seconds after the end."""
    deadline = time.monotonic() + EMPTY_QUEUE_TIMEOUT_S
    while (queue := lab.queue()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return len(queue)


if __name__ == "__main__":
    common.let_workers_find_us()
    common.prepend("PYTHONPATH", str(common.HERE.parent))
    main()
