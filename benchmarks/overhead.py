"""What a call costs: PCMExecutor and Parsl's HighThroughputExecutor, side by side in one run.

::

    python benchmarks/overhead.py                  everything, about six minutes
    python benchmarks/overhead.py --only calls     no-op calls and round trips
    python benchmarks/overhead.py --only start     parsl.load to the first result
    python benchmarks/overhead.py --only core      the scheduler alone, without any process

Repetitions alternate between the executors, each on a freshly loaded Parsl, so that a busy
moment of the machine hits both.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

import common
import core_speed
import workload
from common import EXECUTORS, Table, progress

PARTS = ("calls", "start", "core")
WARM_UP_CALLS = 40


def main() -> None:
    args = arguments()
    if args.start_child:
        print_time_to_first_result(args.start_child)
        return
    parts = args.only or PARTS
    table = Table()
    print(f"{common.machine()}\n")
    for rep in range(1 if args.quick else args.reps):
        for name in EXECUTORS:
            progress(f"repetition {rep + 1}: {name}")
            if "calls" in parts:
                measure_calls(table, name, scale=0.1 if args.quick else 1.0)
            if "start" in parts:
                measure_start(table, name)
    if table.rows:
        print("\n".join(table.lines()), end="\n\n")
    if "core" in parts:
        print("\n".join(core_speed.report(scale=0.1 if args.quick else 1.0)))


def arguments() -> argparse.Namespace:
    parser = common.parser("Overhead of a call, beside HighThroughputExecutor.", PARTS)
    parser.add_argument("--start-child", choices=EXECUTORS, help=argparse.SUPPRESS)
    return parser.parse_args()


def measure_calls(table: Table, name: str, scale: float) -> None:
    num_calls, num_round_trips = int(5000 * scale), int(300 * scale)
    for logging in (True, False):
        with common.loaded(name, logging=logging) as kernel:
            calls = {"through Parsl": common.app(workload.noop)}
            if logging:
                calls["executor alone"] = partial(
                    kernel.executors["bench"].submit, workload.noop, {}
                )
            for what, call in calls.items():
                row = what if logging else f"{what}, initialize_logging=False"
                table.add(f"no-op calls, {row}", "1/s", name, calls_per_s(call, num_calls))
                add_round_trips(table, name, row, call, num_round_trips)


def calls_per_s(call: Callable[[], Future[Any]], count: int) -> float:
    """Submit all, wait for all; workers are up and warm before the clock starts."""
    common.wait_all([call() for _ in range(WARM_UP_CALLS)])
    start = time.perf_counter()
    common.wait_all([call() for _ in range(count)])
    return count / (time.perf_counter() - start)


def add_round_trips(
    table: Table, name: str, row: str, call: Callable[[], Future[Any]], count: int
) -> None:
    times_ms = sorted(round_trip_ms(call) for _ in range(count))
    p99 = times_ms[min(count - 1, round(0.99 * count))]
    table.add(f"round trip, {row}, median", "ms", name, statistics.median(times_ms))
    table.add(f"round trip, {row}, 99th percentile", "ms", name, p99)


def round_trip_ms(call: Callable[[], Future[Any]]) -> float:
    start = time.perf_counter()
    common.wait_all([call()])
    return (time.perf_counter() - start) * 1e3


def measure_start(table: Table, name: str) -> None:
    """Start a fresh Python for it: most of the time is imports, and those happen once."""
    start = time.perf_counter()
    command = [sys.executable, __file__, "--start-child", name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        since_load_s = float(child.stdout.readline())
        whole_s = time.perf_counter() - start
    table.add("parsl.load to the first result", "s", name, since_load_s)
    table.add("start of Python to the first result", "s", name, whole_s)


def print_time_to_first_result(name: str) -> None:
    start = time.perf_counter()
    with common.loaded(name):
        common.wait_all([common.app(workload.noop)()])
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    common.let_workers_find_us()
    main()
