"""The part ``budget`` of ``contexts.py``: what hosts hold, over a thousand random placements."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from map_values import Settings, Value

from parsl_pcm.simulator.engine.parts import GB, Model, Node, Way, each, gpus
from parsl_pcm.simulator.engine.pool import VirtualPool
from parsl_pcm.types import Requirements

NUM_PLACEMENTS = 1_000
SIZES_GB = (12, 16, 24, 40, 80)
NUM_MODELS, NUM_CALLS = 8, 150
SPAN_S = 2_000.0
"""Calls come at random times within so long."""
LONGEST_SETUP_S = 60.0


def honest(settings: Settings) -> Iterator[Value]:
    """Place contexts that hold at most what they declare: the memory is never exceeded."""
    yield from placed("contexts that hold what they declare", settings, most_held_frac=1.0)


def understated(settings: Settings) -> Iterator[Value]:
    """Place contexts that hold up to half as much again, until it was measured."""
    yield from placed("contexts that hold up to 1.5 times that", settings, most_held_frac=1.5)


def placed(row: str, settings: Settings, *, most_held_frac: float) -> Iterator[Value]:
    """Start hosts in one random pool after the other, and look at all devices after each event."""
    num_hosts, num_samples, num_overruns, fullest_frac = 0, 0, 0, 0.0
    seed = settings.rep * NUM_PLACEMENTS
    while num_hosts < settings.scaled(NUM_PLACEMENTS):
        seed += 1
        pool = random_pool(Random(seed), most_held_frac)
        pool.run_until(pool.run() + LONGEST_SETUP_S)  # also what is being built then
        num_hosts += len(pool.hosts)
        num_samples += pool.num_events
        num_overruns += len(pool.memory.overruns)
        fullest_frac = max(fullest_frac, *pool.memory.fullest())
    yield Value(f"{row}: hosts placed", "-", num_hosts)
    yield Value(f"{row}: looks at all devices", "-", num_samples)
    yield Value(f"{row}: times that a device, or a node, was overfull", "-", num_overruns)
    yield Value(f"{row}: held at most, of what is there", "%", 100 * fullest_frac)


def random_pool(random: Random, most_held_frac: float) -> VirtualPool:
    """Return a few nodes of any kind, with calls for contexts of any kind at any time."""
    nodes = [node for _ in range(random.randint(2, 5)) for node in random_nodes(random)]
    models = [
        Model(f"m{number}", (random_way(random, most_held_frac),)) for number in range(NUM_MODELS)
    ]
    pool = VirtualPool(nodes, models)
    for _ in range(NUM_CALLS):
        name = random.choice(models).name
        pool.submit_calls(name, at=random.uniform(0.0, SPAN_S), priority=random.choice([0, 0, 1]))
    return pool


def random_nodes(random: Random) -> list[Node]:
    """Return a node with one to four GPUs; or one that vanishes, and another one like it."""
    size_gb = random.choice(SIZES_GB)
    resources = gpus(
        *[size_gb * GB] * random.randint(1, 4),
        kind=f"{size_gb} GB",
        cores=float(random.randint(4, 16)),
        memory_bytes=random.randint(64, 256) * GB,
    )
    if random.randrange(4) > 0:
        return [Node(resources)]
    return [Node(resources, leaves_at=random.uniform(0.5, 1.0) * SPAN_S), Node(resources, SPAN_S)]


def random_way(random: Random, most_held_frac: float) -> Way:
    """Return a context that declares its memory, or takes whole devices."""
    gpu_bytes = None if random.randrange(4) == 0 else random.randint(1, 30) * GB
    host_bytes = random.randint(1, 40) * GB
    can_sleep = random.randrange(3) == 0
    needs = Requirements(
        gpus=random.choice([0, 1, 1, 1, 2]),
        cores=float(random.randint(1, 2)),
        gpu_memory_bytes=gpu_bytes,
        host_memory_bytes=host_bytes,
        can_sleep=can_sleep,
    )
    held_frac = random.uniform(0.5, most_held_frac)
    return Way(
        requirements=needs,
        piece_time=each(random.uniform(1.0, 20.0)),
        setup_s=random.uniform(10.0, LONGEST_SETUP_S),
        gpu_bytes=None if gpu_bytes is None else int(gpu_bytes * held_frac),
        host_bytes=int(host_bytes * held_frac),
        sleep_s=1.0,
        wake_s=random.uniform(1.0, 5.0),
        asleep_gpu_bytes=GB // 2 if needs.gpus else 0,
        asleep_host_bytes=int(host_bytes * held_frac),
    )
