"""Same scenario, same seed: the same log byte for byte, in whichever process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import Random

from parsl_pcm.eventlog import EventLog, LogHeader, replay
from parsl_pcm.simulator.engine.parts import GB, Model, Node, Way, gamma_each, gpus
from parsl_pcm.simulator.engine.pool import NEVER_SILENT_S, VirtualPool
from parsl_pcm.simulator.engine.staging import Staging
from parsl_pcm.simulator.engine.timeline import Timeline
from parsl_pcm.types import Requirements

KINDS = ("A10", "T4")
SIZES_GB = {"A10": 24, "T4": 16}
HEADER = LogHeader(
    label="storm",
    started_wall_s=0.0,
    max_attempts=3,
    heartbeat_threshold_s=NEVER_SILENT_S,
    fixed_prefetch=None,
    notice_s=10.0,
    possible_nodes=tuple(gpus(SIZES_GB[kind] * GB, kind=kind) for kind in KINDS),
)


def play(path: Path, seed: int) -> VirtualPool:
    """Write the log of a run in which everything comes by chance."""
    random = Random(seed)
    time = Timeline()
    with EventLog(path, HEADER) as log:
        pool = VirtualPool(
            [random_node(random) for _ in range(60)],
            [random_model(f"context {number}", random) for number in range(4)],
            header=HEADER,
            time=time,
            staging=Staging(
                time, shared_bytes_per_s=2 * GB, node_bytes_per_s=GB, num_peers=random.randrange(3)
            ),
            random=random,
            dispatch_s=random.choice([0.0, 0.001]),
            log=log,
        )
        for number in range(4):
            pool.submit_map(f"context {number}", 2_000, at=random.uniform(0.0, 100.0))
            pool.submit_calls(f"context {number}", 50, call_items=random.randint(1, 20))
        pool.run(stop_s=3_000.0)
    return pool


def random_node(random: Random) -> Node:
    kind = random.choice(KINDS)
    joins_at = random.uniform(0.0, 300.0)
    return Node(
        gpus(SIZES_GB[kind] * GB, kind=kind),
        joins_at=joins_at,
        leaves_at=joins_at + random.expovariate(1 / 400.0),
        notice_s=random.choice([None, 30.0]),
        walltime_s=random.choice([None, 600.0]),
        detect_s=random.choice([0.0, 15.0]),
        speed=random.uniform(0.8, 1.2),
        is_broken=random.random() < 0.05,
    )


def random_model(name: str, random: Random) -> Model:
    item_s = {kind: random.uniform(0.1, 1.0) for kind in KINDS}
    way = Way(
        requirements=Requirements(gpus=1, cores=1.0, gpu_memory_bytes=random.randint(5, 15) * GB),
        piece_time={kind: gamma_each(item_s[kind], 0.5, 0.1, random) for kind in KINDS},
        setup_s={"A10": 20.0, "T4": 30.0},
        setup_cv=0.3,
        files_bytes=7 * GB,
        unpack_s=5.0,
    )
    return Model(name, (way,))


def test_log_is_the_same_byte_for_byte_in_other_processes(tmp_path: Path) -> None:
    logs, name = [], Path(__file__).stem
    for hash_seed in ("0", "1"):
        log = tmp_path / hash_seed
        code = f"import pathlib, {name}; {name}.play(pathlib.Path({str(log)!r}), 7)"
        here = Path(__file__).parent
        env = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(here)}
        subprocess.run([sys.executable, "-c", code], check=True, env=env)
        logs.append(log.read_bytes())
    assert logs[0] == logs[1]
    assert logs[0].count(b"\n") > 1_000


def test_another_seed_gives_another_log_which_is_replayed_too(tmp_path: Path) -> None:
    for seed in (1, 2):
        play(tmp_path / str(seed), seed)
        assert replay(tmp_path / str(seed)) is None
    assert (tmp_path / "1").read_bytes() != (tmp_path / "2").read_bytes()


def test_everything_is_done_once_in_a_run_in_which_everything_comes_by_chance(
    tmp_path: Path,
) -> None:
    pool = play(tmp_path / "log", 3)
    assert pool.is_done
    num_items = 4 * 2_000 + sum(pool.call_items.values()) + (200 - len(pool.call_items))
    assert sum(tally.num_items for tally in pool.tallies.values()) == num_items
    assert not pool.memory.overruns
