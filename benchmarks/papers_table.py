"""Where the scheduler stands beside the published systems, and beside what is physically possible.

::

    python benchmarks/papers_table.py                      all tables but the last, ten minutes
    python benchmarks/papers_table.py --only calibration   published systems: simulated, published
    python benchmarks/papers_table.py --only ours          this scheduler on the same 20 GPUs
    python benchmarks/papers_table.py --only batch         calls of 1 to 7,500 items
    python benchmarks/papers_table.py --only drain         one GPU a minute is taken
    python benchmarks/papers_table.py --only campus        GPUs come as in the papers' figure 7
    python benchmarks/papers_table.py --only spot          nodes of spot markets come and go
    python benchmarks/papers_table.py --traces FOLDER      with curves and traces from there
    python benchmarks/papers_table.py --scale              also 10,000 GPUs for a day

Everything is simulated (:mod:`parsl_pcm.simulator`) on one core, so figures do not depend on the
machine. Repetitions differ by their seed; runs of more than 100,000 calls are made once.

A folder of traces may have ``papers_fig7_pv6.csv``, ``..._pv6_10a.csv`` and ``..._pv6_11p.csv``
(``time_s,workers,...``), and ``bamboo-*.csv`` in one of the forms of ``docs/scenarios.md``: spot
traces of Thorpe et al., NSDI 2023 (``github.com/uclasystem/bamboo``).
"""

from __future__ import annotations

import argparse
import math
import platform
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import common
import scale
from msgspec.structs import replace
from papers_runs import most_items, spot_scenarios, with_curve

from parsl_pcm.simulator.campaign import simulate
from parsl_pcm.simulator.results.outcome import Outcome
from parsl_pcm.simulator.scenario import Scenario
from parsl_pcm.simulator.scenarios.reading import find_scenario

Row = Sequence[str]
MAX_REPEATED_CALLS = 100_000
CALIBRATED = (
    "pv0", "pv1", "pv2", "pv3_1", "pv3_1k", "pv3_3k", "pv3_7.5k", "pv4_1", "pv4_100", "pv4_1k",
    "pv4_3k", "pv4_7.5k", "pv6", "pv6_10a", "pv6_11p",
)  # fmt: skip
BATCHES = {1: "1", 100: "100", 1000: "1k", 3000: "3k", 7500: "7.5k"}
CURVES = ("pv6", "pv6_10a", "pv6_11p")


def main() -> None:
    args = _arguments()
    print(f"{common.cpu_model()}; Python {platform.python_version()}; {common.commit()}\n")
    for part in args.only or PARTS:
        print(f"### {part}\n")
        _print_table(PARTS[part](args))
    if args.scale:
        print("### scale\n")
        for report in (scale.report_day, scale.report_decisions):
            print("\n".join(report(1.0)), end="\n\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The papers' table.")
    parser.add_argument("--only", choices=PARTS, nargs="+", help="these parts alone")
    parser.add_argument("--reps", type=int, default=3, help="seeds for each run (default 3)")
    parser.add_argument("--traces", type=Path, help="a folder with curves and spot traces")
    parser.add_argument("--scale", action="store_true", help="also 10,000 GPUs for a day: minutes")
    return parser.parse_args()


def _print_table(rows: Iterable[Row]) -> None:
    for number, row in enumerate(rows):
        print(f"| {' | '.join(row)} |", flush=True)
        if number == 0:
            print(f"| {' | '.join('---' for _ in row)} |")
    print()


def _runs(scenario: Scenario, num_reps: int) -> list[Outcome]:
    """Run a scenario with as many seeds as it may have."""
    num_calls = sum(-(-work.items // (work.call_items or work.items)) for work in scenario.work)
    num_runs = 1 if num_calls > MAX_REPEATED_CALLS else num_reps
    common.progress(f"{scenario.name}: {scenario.about}")
    return [simulate(scenario, seed + 1) for seed in range(num_runs)]


# --- the parts --------------------------------------------------------------------------------


def calibration(args: argparse.Namespace) -> Iterator[Row]:
    """Simulate the published systems."""
    yield "scenario", "published, s", "simulated, s", "difference", "bound, s", "simulated over it"
    for name in CALIBRATED:
        results = _runs(with_curve(find_scenario(name), args.traces), args.reps)
        simulated_s = statistics.median(_makespan_s(result) for result in results)
        yield (
            name,
            f"{_published_s(name):,.0f}",
            _spread(_makespan_s(result) for result in results),
            f"{simulated_s / _published_s(name) - 1.0:+.1%}",
            _spread(result.bound_s for result in results),
            f"{statistics.median(_ratio(result) for result in results):.2f}",
        )


def ours(args: argparse.Namespace) -> Iterator[Row]:
    """Do the same work on the same 20 GPUs."""
    yield "", "makespan, s", "bound, s", "ratio", "GPU time with results"
    results = _runs(find_scenario("ours_pv4"), args.reps)
    yield "pv4_100, published", "2,941", "", f"{2940.962 / results[0].bound_s:.3f}", ""
    yield "parsl_pcm, no batch size", *_beside_bound(results)
    by_medians = _runs(find_scenario("ours_pv4_medians"), args.reps)
    yield "the same, by the papers' medians", *_beside_bound(by_medians)


def batch(args: argparse.Namespace) -> Iterator[Row]:
    """Let the caller choose how many items are in each call."""
    yield "items a call", "files kept, published, s", "context kept, published, s", "parsl_pcm, s"
    columns: list[list[float]] = [[], [], []]
    for size, key in BATCHES.items():
        scenario = find_scenario("ours_pv4")
        calls = replace(scenario, work=(replace(scenario.work[0], call_items=size),))
        values = [
            _published_s(f"pv3_{key}"),
            _published_s(f"pv4_{key}"),
            statistics.median(_makespan_s(result) for result in _runs(calls, args.reps)),
        ]
        for column, value in zip(columns, values, strict=True):
            column.append(value)
        yield f"{size:,}", *(f"{value:,.0f}" for value in values)
    yield "worst over best", *(f"{max(each) / min(each) - 1.0:+.1%}" for each in columns)


def drain(args: argparse.Namespace) -> Iterator[Row]:
    """Let the site take one GPU a minute."""
    yield (
        "scenario",
        "items done, published",
        "items done, simulated",
        "possible",
        "GPUs taken",
        "items lost with each",
    )
    for name in ("pv5p", "pv5s", "ours_pv5"):
        scenario = find_scenario(name)
        published = scenario.published.num_items if scenario.published else None
        results = _runs(scenario, args.reps)
        yield (
            name,
            f"{published:,}" if published else "",
            _spread(float(result.num_delivered) for result in results),
            f"{most_items(scenario, 1):,}",
            f"{results[0].num_preempted}",
            _spread(r.worktime.num_items_lost / max(1, r.num_preempted) for r in results),
        )


def campus(args: argparse.Namespace) -> Iterator[Row]:
    """Let GPUs come as they came on the campus."""
    yield (
        "curve",
        "published, s",
        "published system, simulated, s",
        "parsl_pcm, s",
        "bound, s",
        "ratio",
        "GPU time with results",
    )
    for name in CURVES:
        theirs = _runs(with_curve(find_scenario(name), args.traces), args.reps)
        results = _runs(with_curve(find_scenario(f"ours_{name}"), args.traces), args.reps)
        published = f"{_published_s(name):,.0f}"
        yield name, published, _spread(_makespan_s(r) for r in theirs), *_beside_bound(results)


def spot(args: argparse.Namespace) -> Iterator[Row]:
    """Let nodes come and go as they do in spot markets, without notice."""
    yield (
        "trace",
        "hours",
        "nodes",
        "preempted",
        "GPU time with results",
        "of the bound",
        "items",
        "lost",
        "delivered twice",
        "run again",
    )
    for scenario in spot_scenarios(args.traces):
        results = _runs(scenario, 1)
        yield (
            scenario.name,
            f"{statistics.median(_makespan_s(result) for result in results) / 3600.0:.1f}",
            f"{statistics.median(float(result.num_nodes) for result in results):,.0f}",
            f"{statistics.median(result.preempted_frac for result in results):.0%}",
            f"{statistics.median(result.useful_frac for result in results):.1%}",
            f"{statistics.median(_ratio(result) for result in results):.3f}",
            f"{scenario.work[0].items:,}",
            f"{max(result.num_never_delivered for result in results)}",
            f"{max(result.num_delivered_twice for result in results)}",
            f"{statistics.median(r.num_items_repeated / r.num_items for r in results):.2%}",
        )


PARTS: dict[str, Callable[[argparse.Namespace], Iterator[Row]]] = {
    "calibration": calibration,
    "ours": ours,
    "batch": batch,
    "drain": drain,
    "campus": campus,
    "spot": spot,
}


# --- cells ------------------------------------------------------------------------------------


def _published_s(name: str) -> float:
    published = find_scenario(name).published
    assert published is not None
    assert published.makespan_s is not None
    return published.makespan_s


def _spread(values: Iterable[float]) -> str:
    return common.describe(list(values))


def _makespan_s(outcome: Outcome) -> float:
    return math.nan if outcome.makespan_s is None else outcome.makespan_s


def _ratio(outcome: Outcome) -> float:
    return _makespan_s(outcome) / outcome.bound_s


def _beside_bound(results: Sequence[Outcome]) -> Row:
    return (
        _spread(_makespan_s(result) for result in results),
        _spread(result.bound_s for result in results),
        f"{statistics.median(_ratio(result) for result in results):.3f}",
        f"{statistics.median(result.useful_frac for result in results):.1%}",
    )


if __name__ == "__main__":
    main()
