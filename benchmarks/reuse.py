"""Many short tasks on one slow context: how close to the ideal, and how often it is built.

::

    python benchmarks/reuse.py              400 tasks of 5 ms on a context that takes 2 s to build
    python benchmarks/reuse.py --quick      40 tasks

The clock runs from the first submit to the last result, with workers up but no context held. The
ideal is the build once on both slots at the same time, then the tasks on both. Builds are counted
from the file that each of them writes. HighThroughputExecutor runs in two ways: as a careful user
writes it (the context cached in a module that workers can import), and without reuse (built in
each task; fewer tasks, extrapolated in proportion).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import common
import workload
from common import OURS, SLOTS, STOCK, Table, progress

BUILD_S = 2.0
TASK_S = 0.005
NUM_TASKS = 400
NUM_REBUILT_TASKS = 20
WARM_UP_CALLS = 40
PARTS = ("pcm", "cached", "rebuilt")
COLUMNS = {"pcm": "PCMExecutor", "cached": "HTEX, cached global", "rebuilt": "HTEX, no reuse"}


def main() -> None:
    args = common.parser("Reuse of a context, beside HighThroughputExecutor.", PARTS).parse_args()
    parts = args.only or PARTS
    num_tasks = NUM_TASKS // 10 if args.quick else NUM_TASKS
    table = Table(columns=tuple(COLUMNS[part] for part in PARTS))
    print(f"{common.machine()}\n")
    for rep in range(1 if args.quick else args.reps):
        for part in parts:
            progress(f"repetition {rep + 1}: {COLUMNS[part]}")
            measure(table, part, num_tasks)
    print("\n".join(table.lines()))
    print(f"\nRatio: {COLUMNS['pcm']} to {COLUMNS['cached']}, medians.")
    if "rebuilt" in parts:
        print(
            f"{COLUMNS['rebuilt']}: measured with {NUM_REBUILT_TASKS} tasks; "
            f"its makespan is extrapolated to {num_tasks}, its builds are those measured."
        )


def measure(table: Table, part: str, num_tasks: int) -> None:
    measured_tasks = min(num_tasks, NUM_REBUILT_TASKS) if part == "rebuilt" else num_tasks
    with (
        tempfile.TemporaryDirectory() as log_dir,
        common.loaded(OURS if part == "pcm" else STOCK),
    ):
        common.wait_all([common.app(workload.noop)() for _ in range(WARM_UP_CALLS)])
        call = CALLS[part](log_dir)
        start = time.perf_counter()
        futures = [call(index) for index in range(measured_tasks)]
        results = common.wait_all(futures)
        makespan_s = (time.perf_counter() - start) * num_tasks / measured_tasks
        num_builds = len(list(Path(log_dir).iterdir()))
    expected = [index + ord("x") + workload.CONTEXT_BYTES for index in range(measured_tasks)]
    assert results == expected, "a task gave a wrong result"
    ideal_s = BUILD_S + num_tasks * TASK_S / SLOTS
    table.add(f"{num_tasks} tasks, first submit to last result", "s", COLUMNS[part], makespan_s)
    table.add(
        f"the same, times the ideal of {ideal_s:.1f} s", "-", COLUMNS[part], makespan_s / ideal_s
    )
    table.add("contexts built", "-", COLUMNS[part], num_builds)


def declared(log_dir: str) -> Callable[[int], Future[Any]]:
    task = common.app(workload.use_declared)
    blob = workload.big_context(BUILD_S, log_dir)
    return lambda index: task(index, TASK_S, blob=blob)


def cached(log_dir: str) -> Callable[[int], Future[Any]]:
    task = common.app(workload.use_cached)
    return lambda index: task(index, TASK_S, BUILD_S, log_dir)


def rebuilt(log_dir: str) -> Callable[[int], Future[Any]]:
    task = common.app(workload.use_rebuilt)
    return lambda index: task(index, TASK_S, BUILD_S, log_dir)


CALLS = {"pcm": declared, "cached": cached, "rebuilt": rebuilt}


if __name__ == "__main__":
    common.let_workers_find_us()
    main()
