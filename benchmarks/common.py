"""What the benchmarks share: the two executors under the same Parsl, repetitions, the table."""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SLOTS = 2
OURS, STOCK = "PCMExecutor", "HighThroughputExecutor"
EXECUTORS = (OURS, STOCK)
HERE = Path(__file__).resolve().parent


def let_workers_find_us() -> None:
    """Put the workload on PYTHONPATH and Parsl's own scripts, which HTEX calls by name, on PATH."""
    prepend("PATH", str(Path(sys.executable).parent))
    prepend("PYTHONPATH", str(HERE))


def prepend(variable: str, value: str) -> None:
    """Put a folder before all others of a path variable."""
    old = os.environ.get(variable)
    os.environ[variable] = value + (os.pathsep + old if old else "")


@contextlib.contextmanager
def loaded(
    name: str, *, logging: bool = True, num_slots: int = SLOTS, worker_init: str = ""
) -> Iterator[Any]:
    """Load Parsl with this executor, both with the same settings; yield the DataFlowKernel."""
    import parsl
    from parsl.config import Config
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import LocalProvider

    from parsl_pcm import PCMExecutor

    executor_class = {OURS: PCMExecutor, STOCK: HighThroughputExecutor}[name]
    executor = executor_class(
        label="bench",
        address="127.0.0.1",
        max_workers_per_node=num_slots,
        cores_per_worker=1.0 / num_slots,
        encrypted=True,
        provider=LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1, worker_init=worker_init),
    )
    with tempfile.TemporaryDirectory(prefix="parsl-bench-") as run_dir:
        config = Config(
            executors=[executor],
            run_dir=run_dir,
            strategy="none",
            usage_tracking=0,
            initialize_logging=logging,
        )
        with parsl.load(config) as kernel:
            yield kernel
        parsl.clear()


def app(function: Callable[..., Any]) -> Callable[..., Future[Any]]:
    """Return the function as a Parsl app on the executor under test."""
    from parsl import python_app

    result: Callable[..., Future[Any]] = python_app(function, executors=["bench"])
    return result


def wait_all(futures: list[Future[Any]]) -> list[Any]:
    """Return the results of all futures."""
    return [future.result() for future in futures]


@dataclass
class Table:
    """Measured values by row and column, printed as Markdown: median (min to max)."""

    columns: tuple[str, ...] = EXECUTORS
    rows: dict[tuple[str, str], dict[str, list[float]]] = field(default_factory=dict)

    def add(self, row: str, unit: str, column: str, value: float) -> None:
        """Keep one repetition of one measurement."""
        self.rows.setdefault((row, unit), {}).setdefault(column, []).append(value)

    def lines(self) -> Iterator[str]:
        """Yield the table; the ratio is that of the medians, first column to second."""
        yield f"| | unit | {' | '.join(self.columns)} | ratio |"
        yield f"| --- | --- | {' | '.join('---' for _ in self.columns)} | --- |"
        for (row, unit), values in self.rows.items():
            cells = [describe(values.get(column, [])) for column in self.columns]
            yield f"| {row} | {unit} | {' | '.join(cells)} | {ratio(values, self.columns)} |"


def describe(values: list[float]) -> str:
    """Return ``median (min to max)``."""
    if not values:
        return "-"
    middle = rounded(statistics.median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({rounded(min(values))} to {rounded(max(values))})"


def rounded(value: float) -> str:
    """Return three significant digits, without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def ratio(values: dict[str, list[float]], columns: tuple[str, ...]) -> str:
    """Return the ratio of the medians of the first two columns."""
    if not all(values.get(column) for column in columns[:2]):
        return "-"
    first, second = (statistics.median(values[column]) for column in columns[:2])
    return f"{first / second:.2f}" if second else "-"


def machine() -> str:
    """Return a line on what was measured where: a number without it means nothing."""
    import parsl

    from parsl_pcm.version import VERSION

    load, _, _ = os.getloadavg()
    return (
        f"{cpu_model()}, {len(os.sched_getaffinity(0))} cores, load {load:.1f} at the start; "
        f"Python {platform.python_version()}, Parsl {parsl.__version__}, "
        f"parsl_pcm {VERSION} ({commit()}); {SLOTS} slots, encrypted"
    )


def cpu_model() -> str:
    """Return the name of the processor."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def commit() -> str:
    """Return the commit of this checkout, marked if files differ from it."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        command = ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--abbrev=9"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return "commit unknown"


def progress(message: str) -> None:
    """Tell the person at the terminal what runs; the table alone goes to standard output."""
    print(message, file=sys.stderr, flush=True)


def parser(description: str, parts: tuple[str, ...]) -> argparse.ArgumentParser:
    """Return the command line that every benchmark has."""
    result = argparse.ArgumentParser(description=description)
    result.add_argument("--only", choices=parts, action="append", help="these parts alone")
    result.add_argument("--reps", type=int, default=3, help="repetitions, interleaved (default 3)")
    result.add_argument("--quick", action="store_true", help="a tenth of the tasks, one repetition")
    return result
