"""The parts of ``contexts.py`` that are played in virtual time: exact, the same on any machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random

from contexts_rivals import Job, Kind, LeastRecentlyUsed, best_fixed
from map_values import Settings, Value

from parsl_pcm.simulator.engine.parts import CPU, GB, Model, Node, Way, each, gpu_model, gpus
from parsl_pcm.simulator.engine.pool import VirtualPool
from parsl_pcm.types import NodeResources, Requirements

SHARES = {"large": 6, "middle": 3, "small": 2}
"""Work of three contexts, by the law of Zipf, rounded."""
ITEM_S, SETUP_S = 0.1, 20.0
DEVICE_BYTES, HOST_BYTES = 24 * GB, 10 * GB
"""A device holds two contexts."""


# --- three contexts on devices that hold two ------------------------------------------------------


def zipf_maps(settings: Settings) -> Iterator[Value]:
    """Map three functions at once, each over a context of its own."""
    for num_devices in (2, 4, 6):
        yield from zipf("maps", num_devices, settings)


def zipf_calls(settings: Settings) -> Iterator[Value]:
    """Call three apps in random order, each with a context of its own."""
    for num_devices in (2, 4, 6):
        yield from zipf("calls", num_devices, settings)


def zipf(what: str, num_devices: int, settings: Settings) -> Iterator[Value]:
    """Run maps or calls, and compare them with the best fixed assignment."""
    pool, work = zipf_pool(num_devices, settings)
    if what == "maps":
        for name, num_items in work.items():
            pool.submit_map(name, num_items, segment_items=10_000)
    else:
        names = [name for name, num_items in work.items() for _ in range(num_items)]
        Random(settings.rep).shuffle(names)
        for name in names:
            pool.submit_calls(name)
    yield from beside_fixed(f"{what}, {num_devices} devices", pool, work, num_devices)


NUM_MIXES = 10


def zipf_random(settings: Settings) -> Iterator[Value]:
    """Map over random mixes of contexts, whose items and loads take anything."""
    found = [
        random_mix(Random(settings.rep * NUM_MIXES + number), settings)
        for number in range(NUM_MIXES)
    ]
    for time_ratio, loads_ratio in found:
        yield Value("random mixes: makespan over the best fixed one", "-", time_ratio)
        yield Value("random mixes: loads over those of the best", "-", loads_ratio)


def random_mix(random: Random, settings: Settings) -> tuple[float, float]:
    """Run one mix; return makespan and loads over those of the best fixed assignment."""
    jobs = {name: random_job(random, settings) for name in "abcd"[: random.randint(2, 4)]}
    num_devices = random.randint(2, 4)
    models = [
        gpu_model(name, job.item_s["gpu"], job.setup_s["gpu"], gpu_bytes=HOST_BYTES)
        for name, job in jobs.items()
    ]
    pool = VirtualPool([Node(gpus(DEVICE_BYTES)) for _ in range(num_devices)], models)
    for name, job in jobs.items():
        pool.submit_map(name, job.num_items, segment_items=10_000)
    best = best_fixed(jobs, [Kind("gpu", num_devices, 2)])
    took_s = pool.run()
    check(pool, {name: job.num_items for name, job in jobs.items()})
    return took_s / best.makespan_s, num_loads(pool) / best.num_loads


def random_job(random: Random, settings: Settings) -> Job:
    """Return 200 to 3,000 s of work at full size."""
    item_s, work_s = 10 ** random.uniform(-1.5, 0.5), random.uniform(200.0, 3_000.0)
    setup_s = random.uniform(5.0, 60.0)
    num_items = settings.scaled(int(work_s / item_s))
    return Job(num_items=num_items, item_s={"gpu": item_s}, setup_s={"gpu": setup_s})


def zipf_pool(num_devices: int, settings: Settings) -> tuple[VirtualPool, dict[str, int]]:
    """Return a pool, and the items of each context: 500 s of work for each host at full size."""
    per_share = settings.scaled(1_000) * num_devices
    models = [gpu_model(name, ITEM_S, SETUP_S, gpu_bytes=HOST_BYTES) for name in SHARES]
    nodes = [Node(gpus(DEVICE_BYTES)) for _ in range(num_devices)]
    return VirtualPool(nodes, models), {name: k * per_share for name, k in SHARES.items()}


def beside_fixed(
    row: str, pool: VirtualPool, work: Mapping[str, int], num_devices: int
) -> Iterator[Value]:
    """Run what was submitted, and compare it with the best fixed assignment."""
    jobs = {
        name: Job(num_items=num_items, item_s={"gpu": ITEM_S}, setup_s={"gpu": SETUP_S})
        for name, num_items in work.items()
    }
    best = best_fixed(jobs, [Kind("gpu", num_devices, 2)])
    took_s = pool.run()
    check(pool, work)
    yield Value(f"{row}: makespan over the best fixed one", "-", took_s / best.makespan_s)
    yield Value(f"{row}: loads over those of the best", "-", num_loads(pool) / best.num_loads)


# --- two contexts, call by call -------------------------------------------------------------------


def alternate_together(settings: Settings) -> Iterator[Value]:
    """Call two apps in turn, on a device that holds both contexts."""
    num_calls = settings.scaled(400)
    for row, every_s in {"all calls at once": 0.0, "a call each second": 1.0}.items():
        pool = alternating(num_calls, every_s, DEVICE_BYTES)
        pool.run()
        yield Value(f"holds both, {row}: loads for {num_calls} calls", "-", num_loads(pool))


def alternate_apart(settings: Settings) -> Iterator[Value]:
    """Call two apps in turn, on a device that holds one context; beside least recently used."""
    cases = (
        (400, 0.0, "at once"),
        (4_000, 0.0, "at once"),
        (4_000, 1.0, "one each second"),
        (4_000, 4.0, "one in 4 s"),
    )
    for full_size, every_s, how in cases:
        num_calls = settings.scaled(full_size)
        row = f"holds one, {num_calls:,} calls, {how}"
        pool = alternating(num_calls, every_s, HOST_BYTES)
        took_s = pool.run()
        rival = LeastRecentlyUsed(1, SETUP_S, CALL_S)
        rival_s = rival.run([(number * every_s, "ab"[number % 2]) for number in range(num_calls)])
        yield Value(f"{row}: loads", "-", num_loads(pool))
        yield Value(f"{row}: loads of least recently used", "-", rival.num_loads)
        yield Value(f"{row}: makespan", "s", took_s)
        yield Value(f"{row}: makespan of least recently used", "s", rival_s)
        longest_s = max(max(tally.waits_s) for tally in pool.tallies.values())
        yield Value(f"{row}: longest wait for a result", "s", longest_s)


CALL_S = 0.5


def alternating(num_calls: int, every_s: float, device_bytes: int) -> VirtualPool:
    """Return a pool with one device, for which calls of two contexts come in turn."""
    models = [gpu_model(name, CALL_S, SETUP_S, gpu_bytes=HOST_BYTES) for name in "ab"]
    pool = VirtualPool([Node(gpus(device_bytes))], models, is_recording=True)
    for number in range(num_calls):
        pool.submit_calls("ab"[number % 2], at=number * every_s)
    return pool


# --- what cannot be built -------------------------------------------------------------------------

NUM_NODES, NUM_BROKEN = 20, 2
RECIPES = ("r1", "r2", "r3", "r4")


def failures(settings: Settings) -> Iterator[Value]:
    """Run five contexts, one of which is bad, on nodes a tenth of which can build nothing."""
    num_calls = settings.scaled(3_000)
    good_s = failing_pool(num_calls, NUM_NODES - NUM_BROKEN, 0, settings.rep, RECIPES).run()
    pool = failing_pool(
        num_calls, NUM_NODES - NUM_BROKEN, NUM_BROKEN, settings.rep, (*RECIPES, "bad")
    )
    took_s = pool.run()
    pool.run_until(took_s + SETUP_S)  # also what is being built then
    check(pool, dict.fromkeys(RECIPES, num_calls))
    assert pool.tallies["bad"].num_failed_tasks == num_calls, "a call of the bad one did not fail"
    row = "10 % of the nodes and one recipe of five bad"
    failed = sum(tally.num_failed_loads for tally in pool.tallies.values())
    yield Value(f"{row}: makespan over the run without them", "-", took_s / good_s)
    yield Value(f"{row}: set-ups that failed", "-", failed)
    yield Value(f"{row}: first failure told after", "s", pool.tallies["bad"].ended_at)


def failing_pool(
    num_calls: int, num_good: int, num_broken: int, seed: int, names: Sequence[str]
) -> VirtualPool:
    """Return a pool whose nodes join in random order, and which has calls of all contexts."""
    nodes = [Node(gpus(DEVICE_BYTES)) for _ in range(num_good)]
    nodes += [Node(gpus(DEVICE_BYTES), is_broken=True) for _ in range(num_broken)]
    Random(seed).shuffle(nodes)
    models = [
        gpu_model(name, ITEM_S * 5, SETUP_S, gpu_bytes=HOST_BYTES, is_bad=name == "bad")
        for name in names
    ]
    pool = VirtualPool(nodes, models)
    for _ in range(num_calls):
        for name in names:
            pool.submit_calls(name)
    return pool


# --- devices of different kinds -------------------------------------------------------------------

FAST, SLOW = "A100", "T4"


def mixed(settings: Settings) -> Iterator[Value]:
    """Run a generator with three ways and an embedder on fast GPUs, slow ones, and CPUs."""
    jobs = {
        name: replace(job, num_items=settings.scaled(job.num_items))
        for name, job in {"generate": GENERATE, "embed": EMBED}.items()
    }
    best = best_fixed(jobs, [Kind(FAST, 4, 1), Kind(SLOW, 4, 1), Kind(CPU, 2, 1)])
    for what in ("maps", "calls"):
        pool = mixed_pool()
        for name, job in jobs.items():
            if what == "maps":
                pool.submit_map(name, job.num_items, segment_items=10_000)
            else:
                pool.submit_calls(name, job.num_items)
        took_s = pool.run()
        check(pool, {name: job.num_items for name, job in jobs.items()})
        yield Value(f"{what}: makespan over the best fixed one", "-", took_s / best.makespan_s)
        yield Value(f"{what}: loads", "-", num_loads(pool))
        for variant, share in sorted(pool.tallies["generate"].by_variant.items()):
            yield Value(f"{what}: generated by variant {variant}", "items", share)


GENERATE = Job(
    num_items=20_000,
    item_s={FAST: 0.1, SLOW: 0.5, CPU: 2.0},
    setup_s={FAST: 60.0, SLOW: 30.0, CPU: 10.0},
)
EMBED = Job(num_items=20_000, item_s={FAST: 0.08, SLOW: 0.1}, setup_s={FAST: 15.0, SLOW: 15.0})
"""Hardly faster on the fast ones: it belongs on the others."""


def mixed_pool() -> VirtualPool:
    """Return four nodes with a fast GPU, four with a slow one, and two without."""
    nodes = [
        *(Node(gpus(80 * GB, kind=FAST, capability=8.0)) for _ in range(4)),
        *(Node(gpus(16 * GB, kind=SLOW, capability=7.5)) for _ in range(4)),
        *(Node(NodeResources(cores=1.0, memory_bytes=64 * GB)) for _ in range(2)),
    ]
    generate = Model(
        "generate",
        (
            way(Requirements(gpus=1, cores=1.0, min_compute_capability=8.0), GENERATE, FAST),
            way(Requirements(gpus=1, cores=1.0), GENERATE, SLOW),
            way(Requirements(cores=1.0), GENERATE, CPU),
        ),
    )
    embed = Model("embed", (way(Requirements(gpus=1, cores=1.0), EMBED, SLOW),))
    return VirtualPool(nodes, [generate, embed])


def way(needs: Requirements, job: Job, kind: str) -> Way:
    """Return a way to build a context that is loaded as fast as on that kind of device."""
    times = {name: each(seconds) for name, seconds in job.item_s.items()}
    return Way(requirements=needs, piece_time=times, setup_s=job.setup_s[kind])


# --- sleep ----------------------------------------------------------------------------------------


def sleep(settings: Settings) -> Iterator[Value]:
    """Alternate between two contexts on a device that holds one; they can sleep, or cannot."""
    num_calls = settings.scaled(400)
    for row, can_sleep in {"contexts that cannot sleep": False, "that sleep": True}.items():
        needs = Requirements(gpus=1, cores=1.0, gpu_memory_bytes=HOST_BYTES, can_sleep=can_sleep)
        sleeper = Way(
            requirements=needs,
            piece_time=each(CALL_S),
            setup_s=SETUP_S,
            sleep_s=1.0,
            wake_s=2.0,
            asleep_gpu_bytes=GB,
            asleep_host_bytes=HOST_BYTES,
        )
        models = [Model(name, (sleeper,)) for name in "ab"]
        pool = VirtualPool([Node(gpus(DEVICE_BYTES // 2))], models, is_recording=True)
        for number in range(num_calls):
            pool.submit_calls("ab"[number % 2], at=10.0 * number)
        pool.run()
        tallies = pool.tallies.values()
        waits_s = sorted(seconds for tally in tallies for seconds in tally.waits_s)
        yield Value(f"{row}: loads", "-", num_loads(pool))
        yield Value(f"{row}: wakes", "-", sum(tally.num_wakes for tally in tallies))
        yield Value(f"{row}: median wait for a result", "s", waits_s[len(waits_s) // 2])


# --- all of them ----------------------------------------------------------------------------------


def num_loads(pool: VirtualPool) -> int:
    """Return how often a context was built."""
    return sum(tally.num_loads for tally in pool.tallies.values())


def check(pool: VirtualPool, work: Mapping[str, int]) -> None:
    """Insist that everything was done once, in the memory that there is."""
    done = {name: pool.tallies[name].num_items for name in work}
    assert done == dict(work), f"{done} items were done of {dict(work)}"
    assert not pool.memory.overruns, (
        f"more memory was used than is there: {pool.memory.overruns[0]}"
    )
