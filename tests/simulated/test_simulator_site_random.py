"""What always holds on an elastic site, whatever its nodes do: Growth in random virtual times."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from parsl_pcm.eventlog import replay
from parsl_pcm.provider.growth.demand import LOOK_EVERY_S
from parsl_pcm.provider.growth.holdback import LOSS_WAITS_S, MAX_WINDOW
from parsl_pcm.provider.growth.surplus import KEEP_WARM_S
from parsl_pcm.simulator.campaign import simulate
from parsl_pcm.simulator.engine.pool import VirtualPool
from parsl_pcm.simulator.scenario import Churn, ContextModel, Pool, Scenario, Site, Work
from parsl_pcm.simulator.site.availability import lives
from tests.simulated.test_simulator_site import Run

SEEDS = range(10)
GPUS = ["A10", "Tesla T4", "NVIDIA H100 80GB HBM3"]


def random_pool(random: Random) -> Pool:
    """Return nodes that come and go, are preempted, fail, are bad, and have walltimes, or not."""

    def perhaps(value: float) -> float | None:
        return random.choice([None, value])

    return Pool(
        gpu=random.choice(GPUS),
        gpus_per_node=random.choice([1, 1, 2]),
        churn=Churn(
            count=random.randint(2, 25),
            life_s=random.choice([40.0, 300.0, 3000.0]),
            gap_s=random.choice([10.0, 300.0]),
            life_cv=random.choice([0.0, 1.0]),
        ),
        queue_wait_s=random.choice([0.0, 15.0]),
        queue_wait_cv=random.choice([0.0, 1.0]),
        walltime_s=perhaps(200.0),
        notice_s=perhaps(30.0),
        requeue_s=perhaps(60.0),
        detect_s=random.choice([0.0, 40.0]),
        bad_frac=random.choice([0.0, 0.2]),
        mtbf_s=perhaps(500.0),
    )


def random_campaign(seed: int) -> Scenario:
    random = Random(seed)
    contexts = tuple(
        ContextModel(
            name=f"c{number}",
            gpu_memory=random.choice([None, "10 GB", "30 GB" if number else None]),
            load_s=random.choice([2.0, 20.0]),
            item_s=random.choice([0.3, 2.0]),
            item_cv=1.0,
        )
        for number in range(random.randint(1, 4))
    )
    work = tuple(
        Work(context=each.name, items=random.randint(1, 1000), at_s=random.choice([0.0, 900.0]))
        for each in contexts
        for _ in range(random.randint(1, 3))
    )
    return Scenario(
        name=f"random {seed}",
        contexts=contexts,
        work=work,
        pools=tuple(random_pool(random) for _ in range(random.randint(1, 3))),
        site=Site(
            is_elastic=True,
            max_nodes=random.choice([None, 5]),
            keep_warm_s=random.choice([None, 0.0, 90.0]),
        ),
        stop_s=2000.0,
    )


class Witness:
    """Watches a run; what it counts is what the site would bill."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.most_waiting: Counter[str] = Counter()
        self.run: Run | None = None

    def look(self, pool: VirtualPool) -> None:
        if self.run is None:  # the site is being made
            return
        blocks = self.run.site.growth.blocks
        most = self.scenario.site.max_nodes
        assert most is None or len(blocks) <= most
        nodes = [(life.pool, life.machine) for _, life in self.run.site.held.values()]
        assert len(set(nodes)) == len(nodes), "two jobs have one node"
        waiting = Counter(each.flavour for each in blocks.values() if each.running_since_s is None)
        self.most_waiting |= waiting


def watched(scenario: Scenario, seed: int) -> tuple[Run, Witness]:
    """Return a run that has not begun, and who watches it."""
    witness = Witness(scenario)
    run = Run(scenario, seed=seed, watch=witness.look)
    witness.run = run
    return run, witness


@pytest.mark.parametrize("seed", SEEDS)
def test_limits_hold_and_everything_is_given_back(seed: int) -> None:
    scenario = random_campaign(seed)
    run, witness = watched(scenario, seed)
    run.pool.run(scenario.stop_s)
    assert all(num <= MAX_WINDOW for num in witness.most_waiting.values())
    if not run.pool.is_done:  # some work fits no node, or nodes live too short for it
        return
    keep_s = max(KEEP_WARM_S, scenario.site.keep_warm_s or 0.0)
    # After the time that nodes are kept: the wait of a job in the queue, a look, a cancelling.
    run.pool.run_until(run.pool.now + keep_s + 20.0 * LOOK_EVERY_S)
    assert not run.site.growth.blocks
    assert not run.site.held
    assert not run.pool.scheduler.cluster.managers


# --- storms -------------------------------------------------------------------------------------


def one_map(pool: Pool, *, items: int = 10**6, load_s: float = 60.0, stop_s: float) -> Scenario:
    return Scenario(
        name="one map",
        contexts=(ContextModel(name="llm", item_s=1.0, load_s=load_s),),
        work=(Work(context="llm", items=items),),
        pools=(pool,),
        site=Site(is_elastic=True),
        stop_s=stop_s,
    )


def churning(count: int, life_s: float, gap_s: float, **more: Any) -> Pool:
    return Pool(
        gpu="A10",
        churn=Churn(count=count, life_s=life_s, gap_s=gap_s),
        queue_wait_s=2.0,
        queue_wait_cv=1.0,
        **more,
    )


@pytest.mark.parametrize("requeue_s", [None, 5.0])
def test_storm_of_preemptions_slows_submissions_down(requeue_s: float | None) -> None:
    run = Run(one_map(churning(30, 3.0, 3.0, requeue_s=requeue_s), stop_s=1500.0))
    run.pool.run(1500.0)
    assert run.came(), "it goes on trying"
    # Waits double from the first to the longest one; in between, all that is idle may be tried.
    num_rounds = 10 + 1500.0 / LOSS_WAITS_S[1]
    assert run.site.batch.num_submitted <= num_rounds * 30


def test_storm_that_passes_is_forgotten() -> None:
    storm_s = 1800.0
    storm = [
        each._replace(until_s=min(each.until_s, storm_s))
        for each in lives(one_map(churning(30, 3.0, 3.0), stop_s=storm_s), 1)
        if each.from_s < storm_s
    ]
    calm = [storm[0]._replace(machine=100 + n, from_s=storm_s, until_s=math.inf) for n in range(30)]
    scenario = one_map(churning(30, 3.0, 3.0), items=3000, stop_s=7200.0)
    run = Run(scenario, all_lives=[*storm, *calm])
    ended_at = run.pool.run(7200.0)
    assert run.pool.is_done
    longest_wait_s = LOSS_WAITS_S[1] + 2 * LOOK_EVERY_S
    assert ended_at <= storm_s + longest_wait_s + 60.0 + 100.0 + 60.0


def test_nodes_on_which_nothing_can_be_built_are_not_asked_for_all_the_time() -> None:
    run = Run(one_map(churning(40, 1e6, 1.0, bad_frac=1.0), stop_s=3600.0))
    run.pool.run(3600.0)
    assert run.site.batch.num_submitted <= 40 + 3600.0 / 10.0


# --- pauses -------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep_warm_s", [None, 0.0, 200.0])
def test_nothing_is_held_in_pauses_beyond_the_time_that_nodes_are_kept_warm(
    keep_warm_s: float | None,
) -> None:
    pause_s = 1000.0
    scenario = Scenario(
        name="bursts",
        contexts=(ContextModel(name="llm", item_s=0.5, load_s=20.0),),
        work=tuple(Work(context="llm", items=2000, at_s=pause_s * number) for number in range(3)),
        pools=(churning(20, 2000.0, 100.0),),
        site=Site(is_elastic=True, keep_warm_s=keep_warm_s),
    )
    run = Run(scenario)
    kept_s = KEEP_WARM_S if keep_warm_s is None else keep_warm_s
    for number in range(3):
        run.pool.run_until(pause_s * number + 15.0)
        assert run.site.growth.blocks
        while run.pool.scheduler.cluster.tasks:
            run.pool.run_until(run.pool.now + 1.0)
        ended_at = run.pool.ended_at
        run.pool.run_until(ended_at + 0.9 * kept_s)
        assert run.site.held or kept_s == 0.0, "kept warm"
        run.pool.run_until(ended_at + kept_s + 3 * LOOK_EVERY_S)
        assert not run.site.held
        assert run.pool.now < pause_s * (number + 1)


# --- what it costs ------------------------------------------------------------------------------


def test_growing_costs_little_beside_taking_everything_at_once() -> None:
    scenario = one_map(Pool(gpu="A10", count=40, queue_wait_s=10.0), items=12_000, stop_s=3600.0)
    taking_all = msgspec.structs.replace(scenario, site=Site())
    grown, taken = simulate(scenario), simulate(taking_all)
    assert grown.makespan_s is not None
    assert taken.makespan_s is not None
    assert grown.makespan_s <= taken.makespan_s + 30.0
    assert grown.gpu_hours <= 1.01 * taken.gpu_hours


# --- the same each time -------------------------------------------------------------------------

LOG_OF_A_RUN = """
import pathlib, sys
from parsl_pcm.simulator.campaign import simulate
from tests.simulated.test_simulator_site_random import random_campaign
simulate(random_campaign(3), 3, log=pathlib.Path(sys.argv[1]))
"""


def test_same_seed_gives_the_same_log_whatever_hashes_are(tmp_path: Path) -> None:
    digests = set()
    for number, hash_seed in enumerate(["0", "4242"]):
        log = tmp_path / str(number)
        subprocess.run(
            [sys.executable, "-c", LOG_OF_A_RUN, str(log)],
            check=True,
            cwd=Path(__file__).parents[2],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
        )
        digests.add(hashlib.sha256(log.read_bytes()).hexdigest())
        assert replay(log) is None
    assert len(digests) == 1
