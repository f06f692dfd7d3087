"""The scenarios of ``papers_table.py`` that do not come with the package: other curves, traces."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from parsl_pcm.simulator.results.bounds import lower_bound
from parsl_pcm.simulator.scenario import Pool, Scenario
from parsl_pcm.simulator.scenarios import building
from parsl_pcm.simulator.scenarios.reading import find_scenario
from parsl_pcm.simulator.site import gpus
from parsl_pcm.simulator.site.availability import Life, lives
from parsl_pcm.simulator.site.trace import find_trace, read_trace

GPU_OF = {"p3": "V100", "v100": "V100", "g4dn": "T4", "t4": "T4", "a100": "A100", "storms": "V100"}
"""By a part of the trace's name."""
SHIPPED = ("spot-v100", "spot-t4", "spot-storms")
MOST_S = 10 * 3600.0
WORK_FRAC = 0.9
"""Of the GPU time of a trace's first ten hours: so much work."""
EFFORT = 100.0
"""Times the length of a claim: long answers, 27 s each on an A10. What is lost with a node hurts
more than with short ones, and there are fewer pieces to simulate."""
DETECT_S = 120.0
"""A node that sends no heartbeat for so long counts as lost: as HighThroughputExecutor has it."""


def with_curve(scenario: Scenario, folder: Path | None) -> Scenario:
    """Return a scenario of the papers' figure 7 with its curve as it is in a folder, if any."""
    name = f"papers_fig7_{scenario.name.removeprefix('ours_')}.csv"
    path = None if folder is None else next(folder.glob(f"**/{name}"), None)
    if path is None:
        return scenario
    return replace(scenario, pools=(replace(scenario.pools[0], steps=tuple(_read_curve(path))),))


def _read_curve(path: Path) -> Iterator[tuple[float, int]]:
    """Yield the steps of a curve that was read off a figure: it only rises, but for noise."""
    num_nodes = 0
    with path.open(newline="") as file:
        lines = (line for line in file if not line.startswith("#"))
        for row in csv.DictReader(lines):
            if row["workers"] and round(float(row["workers"])) > num_nodes:
                num_nodes = round(float(row["workers"]))
                yield max(0.0, float(row["time_s"])), num_nodes


def spot_scenarios(folder: Path | None) -> Iterator[Scenario]:
    """Yield a campaign on each trace of a folder, or on those that come with the package."""
    paths = [find_trace(name) for name in SHIPPED]
    for path in paths if folder is None else sorted(folder.glob("**/bamboo-*.csv")):
        pool = Pool(gpu=_gpu_of(path.stem), trace=str(path), detect_s=DETECT_S)
        campus = find_scenario("ours_pv6")
        scenario = replace(campus, name=path.stem, pools=(pool,))
        num_items = math.floor(
            WORK_FRAC * _possible_items(scenario, min(MOST_S, read_trace(path).end_s))
        )
        yield replace(scenario, work=(replace(campus.work[0], items=num_items, effort=EFFORT),))


def _gpu_of(name: str) -> str:
    return next(gpu for part, gpu in GPU_OF.items() if part in name)


def _possible_items(scenario: Scenario, end_s: float) -> float:
    """Return how many items all GPUs together could do until then, if no load took time."""
    (context,), (pool,) = scenario.contexts, scenario.pools
    item_s = EFFORT * gpus.item_s(context, building.gpu_model(scenario, pool.gpu))
    gpu_s = sum(max(0.0, min(life.until_s, end_s) - life.from_s) for life in lives(scenario, 1))
    return gpu_s / item_s


def most_items(scenario: Scenario, seed: int) -> int:
    """Return how many items could be done until the scenario stops."""
    assert scenario.stop_s is not None
    all_lives = lives(scenario, seed)
    least, most = 0, 1 << 40
    while most - least > 1:
        middle = (least + most) // 2
        is_possible = _needs_s(scenario, middle, all_lives, seed) <= scenario.stop_s
        least, most = (middle, most) if is_possible else (least, middle)
    return least


def _needs_s(scenario: Scenario, num_items: int, all_lives: list[Life], seed: int) -> float:
    work = replace(scenario.work[0], items=num_items)
    return lower_bound(replace(scenario, work=(work,)), all_lives, seed)
