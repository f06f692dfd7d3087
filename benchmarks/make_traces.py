"""Makes the traces that come with the package: invented courses, the same ones each time.

::

    python benchmarks/make_traces.py

Spot markets: lives and gaps are those that ``parsl_pcm.simulator.site.trace.fit`` finds in the
recorded spot traces of Thorpe et al. (NSDI 2023, github.com/uclasystem/bamboo, MIT), p3-V100 and
g4dn-T4.
The ``storms`` are ours: every few hours most of what is there goes within a minute. The campus has
many idle GPUs by day and few at night, when jobs of the day before run, as arXiv 2509.13201 says of
its own.
"""

from __future__ import annotations

import math
from random import Random

from parsl_pcm.simulator.scenario import Churn, ContextModel, Pool, Scenario, Work
from parsl_pcm.simulator.site import trace
from parsl_pcm.simulator.site.availability import Life, lives

HOUR_S = 3600.0
SPOT_V100 = Churn(count=32, life_s=5888.0, gap_s=1953.0, life_cv=0.91, source="bamboo-p3")
SPOT_T4 = Churn(count=24, life_s=6601.0, gap_s=5814.0, life_cv=1.08, source="bamboo-g4dn")
STORM_EVERY_S = 2.5 * HOUR_S
STORM_FRAC = 0.75


def main() -> None:
    """Write the files."""
    for name, text in traces().items():
        path = trace.FOLDER / f"{name}.csv"
        path.write_text(text)
        print(f"{path}: {text.count(chr(10)) - 1} lines")


def traces() -> dict[str, str]:
    """Return the files by their names."""
    return {
        "campus-day": _counts(_campus(Random(4), num_nodes=180, starts_h=8.0)),
        "campus-night": _counts(_campus(Random(5), num_nodes=60, starts_h=20.0)),
        "spot-storms": _events(_with_storms(_churning(SPOT_V100, 12 * HOUR_S, seed=3), Random(3))),
        "spot-t4": _events(_churning(SPOT_T4, 12 * HOUR_S, seed=2)),
        "spot-v100": _events(_churning(SPOT_V100, 12 * HOUR_S, seed=1)),
    }


def _churning(churn: Churn, length_s: float, seed: int) -> list[Life]:
    """Return lives of a model within so much time."""
    scenario = Scenario(
        name="trace",
        contexts=(ContextModel(name="any", item_s=1.0),),
        work=(Work(context="any", items=1),),
        pools=(Pool(churn=churn),),
        stop_s=length_s,
    )
    return lives(scenario, seed)


def _with_storms(found: list[Life], random: Random) -> list[Life]:
    """Return lives of which most end together, now and then, within a minute."""
    ends = []
    for life in found:
        storm_s = (math.floor(life.from_s / STORM_EVERY_S) + 1) * STORM_EVERY_S
        is_hit = storm_s < life.until_s and random.random() < STORM_FRAC
        ends.append(life._replace(until_s=storm_s + random.randrange(60)) if is_hit else life)
    return ends


def _events(found: list[Life]) -> str:
    """Return a trace in whole seconds: at the same time, nodes go before others come."""
    lines = []
    for number, life in enumerate(found):
        from_s = round(life.from_s)
        until_s = max(from_s + 1, round(life.until_s)) if life.until_s < math.inf else None
        lines.append((from_s, 1, number, "add"))
        if until_s is not None:
            lines.append((until_s, 0, number, "remove"))
    rows = [f"{t_s},{event},node{number}" for t_s, _, number, event in sorted(lines)]
    return "\n".join([",".join(trace.EVENTS_HEADER), *rows]) + "\n"


def _campus(random: Random, *, num_nodes: int, starts_h: float) -> list[tuple[int, int]]:
    """Return how many nodes are idle in twelve hours: by the time of day, and by chance."""
    steps: list[tuple[int, int]] = []
    drift = 0.0
    for number in range(12 * 12):
        hour = starts_h + number / 12.0
        day = 0.5 - 0.5 * math.cos((hour - 4.0) / 24.0 * 2.0 * math.pi)
        drift = 0.9 * drift + random.gauss(0.0, 0.03)
        num_idle = round(num_nodes * min(1.0, max(0.02, 0.1 + 0.9 * day**2 + drift)))
        if not steps or steps[-1][1] != num_idle:
            steps.append((number * 300, num_idle))
    return steps


def _counts(steps: list[tuple[int, int]]) -> str:
    rows = [f"{t_s},{num_nodes}" for t_s, num_nodes in steps]
    return "\n".join([",".join(trace.COUNTS_HEADER), *rows]) + "\n"


if __name__ == "__main__":
    main()
