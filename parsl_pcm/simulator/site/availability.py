"""When nodes can be had, and what each of them is like: by chance, but the same for each seed.

:func:`lives` is what the site has: from traces, steps, counts, or models. :func:`stays` is what a
pilot system gets of it that takes every node and keeps it: nodes queue before they start, and start
again after each walltime.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import NamedTuple

import msgspec

from parsl_pcm.simulator.scenario import Churn, Pool, Scenario, Work
from parsl_pcm.simulator.site.trace import Step, Trace, find_trace, fit, most_nodes, read_trace

SHORTEST_HORIZON_S = 2 * 86_400.0
HORIZON_FACTOR = 10.0
"""A model's ups and downs are drawn for so many times as long as the work would take if all went
well; afterwards nothing changes any more."""


class Life(NamedTuple):
    """A node can be had, for once."""

    pool: int
    """Its place among the scenario's pools."""
    machine: int
    """Which one of the pool: it may have several lives."""
    gpu: str | None
    """Type of its GPUs; None: it has none."""
    from_s: float
    until_s: float
    """``inf``: it stays."""
    speed: float
    """Beside other nodes with the same GPUs: its items take 1/speed as long."""
    is_bad: bool
    """Whether no context can be built on it."""
    fails: bool
    """Whether it ends by a failure: without notice, whatever the site would say."""


class Stay(NamedTuple):
    """A node is ours: a part of a life."""

    life: Life
    from_s: float
    until_s: float


class _Span(NamedTuple):
    machine: int
    from_s: float
    until_s: float
    fails: bool = False


def lives(scenario: Scenario, seed: int) -> list[Life]:
    """Return when which nodes can be had, in order of their beginnings.

    Raises
    ------
    TraceError
        If a pool's trace cannot be read.
    """
    horizon_s = _horizon_s(scenario)
    found = [
        life
        for number, pool in enumerate(scenario.pools)
        for life in _lives_of(number, pool, seed, horizon_s)
    ]
    return sorted(found, key=lambda life: (life.from_s, life.pool, life.machine))


def stays(scenario: Scenario, all_lives: Iterable[Life], seed: int) -> Iterator[Stay]:
    """Yield when nodes are ours if every one is taken, in order of their beginnings.

    There is no end to them where a node stays and its pool has a walltime.

    Parameters
    ----------
    all_lives
        In order of their beginnings; no more of them is read than is needed.
    """
    begun: list[tuple[float, int, Stay, Iterator[Stay]]] = []
    """By the next stay of each life."""
    for number, life in enumerate(all_lives):
        while begun and begun[0][0] <= life.from_s:
            yield _take_first(begun)
        _put_next(begun, number, _stays_of(scenario, life, seed))
    while begun:
        yield _take_first(begun)


def queue_waits(scenario: Scenario, life: Life, seed: int) -> Iterator[float]:
    """Return how long a node waits in the site's queue, each time that it is asked for."""
    pool = scenario.pools[life.pool]
    mean_s, cv = pool.queue_wait_s, pool.queue_wait_cv
    if not mean_s or not cv:
        return itertools.repeat(mean_s)
    random = Random(f"{seed} wait {life.pool} {life.machine} {life.from_s}")
    return (gamma(random, mean_s, cv) for _ in itertools.count())


def begins_s(scenario: Scenario, all_lives: Sequence[Life], seed: int) -> float:
    """Return from when times of work count: when enough of the first nodes have joined."""
    frac = scenario.system.waits_for_frac
    if frac == 0.0:
        return 0.0
    first = [life for life in all_lives if life.from_s == 0.0]
    joins_s = sorted(next(queue_waits(scenario, life, seed)) for life in first)
    return joins_s[math.ceil(frac * len(joins_s)) - 1] if joins_s else 0.0


def longest_call_s(scenario: Scenario) -> float:
    """Return about how long the longest call takes that may not be cut, or else an item."""
    return max(
        (1 if work.is_divisible else work.call_items or 1) * _item_s(work, scenario)
        for work in scenario.work
    )


def expected_lives(pool: Pool, scenario: Scenario) -> float:
    """Return about how many lives a pool has at least; its trace can be read."""
    horizon_s = _horizon_s(scenario)
    churn = _churn_of(pool)
    num_lives = num_nodes = _most_nodes(pool)
    if churn is not None:
        num_lives = churn.count * horizon_s / (churn.life_s + churn.gap_s)
    return num_lives + (num_nodes * horizon_s / pool.mtbf_s if pool.mtbf_s else 0.0)


def _stays_of(scenario: Scenario, life: Life, seed: int) -> Iterator[Stay]:
    walltime_s = scenario.pools[life.pool].walltime_s or math.inf
    free_s = life.from_s
    for wait_s in queue_waits(scenario, life, seed):
        from_s = free_s + wait_s
        if from_s >= life.until_s:
            return
        free_s = min(life.until_s, from_s + walltime_s)
        yield Stay(life, from_s, free_s)


def _take_first(begun: list[tuple[float, int, Stay, Iterator[Stay]]]) -> Stay:
    _, number, stay, others = heapq.heappop(begun)
    _put_next(begun, number, others)
    return stay


def _put_next(
    begun: list[tuple[float, int, Stay, Iterator[Stay]]], number: int, others: Iterator[Stay]
) -> None:
    stay = next(others, None)
    if stay is not None:
        heapq.heappush(begun, (stay.from_s, number, stay, others))


def _lives_of(number: int, pool: Pool, seed: int, horizon_s: float) -> list[Life]:
    spans = _spans(pool, Random(f"{seed} presence {number}"), horizon_s)
    if pool.mtbf_s is not None:
        random = Random(f"{seed} failures {number}")
        spans = [part for span in spans for part in _failing(span, pool.mtbf_s, random, horizon_s)]
    num_machines = max((span.machine for span in spans), default=-1) + 1
    models = _gpus_of(pool, num_machines, Random(f"{seed} gpus {number}"))
    random = Random(f"{seed} machines {number}")
    speeds = [_speed(pool, random) for _ in range(num_machines)]
    are_bad = [random.random() < pool.bad_frac for _ in range(num_machines)]
    return [
        Life(
            pool=number,
            machine=span.machine,
            gpu=models[span.machine],
            from_s=span.from_s,
            until_s=span.until_s,
            speed=speeds[span.machine],
            is_bad=are_bad[span.machine],
            fails=span.fails,
        )
        for span in spans
    ]


# --- who is there when ------------------------------------------------------------------------


def _spans(pool: Pool, random: Random, horizon_s: float) -> list[_Span]:
    if pool.count is not None:
        return [_Span(machine, 0.0, math.inf) for machine in range(pool.count)]
    churn = _churn_of(pool)
    if churn is not None:
        return _churning(churn, random, horizon_s)
    if pool.steps is not None:
        steps = [Step(t_s, round(num_nodes * pool.scale)) for t_s, num_nodes in pool.steps]
        return _stepping(steps, random)
    trace = read_trace(find_trace(pool.trace or ""))
    return _later(_replayed(trace, pool.scale, random), pool.starts_at_s)


def _churn_of(pool: Pool) -> Churn | None:
    """Return the model of a pool: its own, or the one that fits its trace; None: it has none."""
    if pool.churn is not None or pool.trace is None or not pool.is_fitted:
        return pool.churn
    churn = fit(read_trace(find_trace(pool.trace)))
    count = max(1, round(churn.count * pool.scale))
    return msgspec.structs.replace(churn, count=count)


def _replayed(trace: Trace, scale: float, random: Random) -> list[_Span]:
    if trace.steps:
        steps = [Step(t_s, round(num_nodes * scale)) for t_s, num_nodes in trace.steps]
        return _stepping(steps, random)
    copies = [
        presence
        for number, presence in enumerate(trace.presences)
        for _ in range(math.floor((number + 1) * scale) - math.floor(number * scale))
    ]
    return [
        _Span(number, presence.from_s, presence.until_s) for number, presence in enumerate(copies)
    ]


def _stepping(steps: Sequence[Step], random: Random) -> list[_Span]:
    """Return spans whose number is as given; whose turn it is to go is left to chance."""
    spans = []
    present: list[tuple[int, float]] = []
    free: list[int] = []
    num_machines = 0
    for t_s, num_nodes in steps:
        while len(present) > num_nodes:
            machine, from_s = present.pop(random.randrange(len(present)))
            heapq.heappush(free, machine)
            spans.append(_Span(machine, from_s, t_s))
        while len(present) < num_nodes:
            if not free:
                heapq.heappush(free, num_machines)
                num_machines += 1
            present.append((heapq.heappop(free), t_s))
    return spans + [_Span(machine, from_s, math.inf) for machine, from_s in present]


def _later(spans: Sequence[_Span], starts_at_s: float) -> list[_Span]:
    """Return what is left of them if time begins so late."""
    return [
        span._replace(
            from_s=max(0.0, span.from_s - starts_at_s), until_s=span.until_s - starts_at_s
        )
        for span in spans
        if span.until_s > starts_at_s
    ]


def _churning(churn: Churn, random: Random, horizon_s: float) -> list[_Span]:
    return [
        span
        for machine in range(churn.count)
        for span in _churning_machine(machine, churn, random, horizon_s)
    ]


def _churning_machine(
    machine: int, churn: Churn, random: Random, horizon_s: float
) -> Iterator[_Span]:
    """Yield the lives of one slot, which has been coming and going for ever when time begins."""
    present_frac = churn.life_s / (churn.life_s + churn.gap_s)
    now = 0.0
    if random.random() < present_frac:
        now = _rest_of_life(churn, random)
        yield _Span(machine, 0.0, now if now < horizon_s else math.inf)
    while now < horizon_s:
        from_s = now + random.expovariate(1.0 / churn.gap_s)
        now = from_s + gamma(random, churn.life_s, churn.life_cv)
        if from_s < horizon_s:
            yield _Span(machine, from_s, now if now < horizon_s else math.inf)


def _rest_of_life(churn: Churn, random: Random) -> float:
    """Return how long a node stays on that one finds there.

    The longer lives are, the likelier one finds them: such a life is drawn from the distribution
    weighted by length (of a gamma one: with a shape larger by 1), and found anywhere in it.
    """
    if not churn.life_cv:
        return random.random() * churn.life_s
    shape = 1.0 / churn.life_cv**2
    return random.random() * random.gammavariate(shape + 1.0, churn.life_s / shape)


def _failing(span: _Span, mtbf_s: float, random: Random, horizon_s: float) -> Iterator[_Span]:
    """Yield the parts of a span: each but the last one ends with a failure."""
    from_s = span.from_s
    while True:
        fails_s = from_s + random.expovariate(1.0 / mtbf_s)
        if fails_s >= min(span.until_s, horizon_s):
            yield span._replace(from_s=from_s)
            return
        yield _Span(span.machine, from_s, fails_s, fails=True)
        from_s = fails_s


def _horizon_s(scenario: Scenario) -> float:
    """Return until when models are drawn: until the end, or as long as it may take and more."""
    if scenario.stop_s is not None:
        return scenario.stop_s
    work_s = sum(work.items * _item_s(work, scenario) for work in scenario.work)
    num_gpus = sum(_mean_nodes(pool) * pool.gpus_per_node for pool in scenario.pools)
    last_s = max((work.at_s for work in scenario.work), default=0.0)
    return max(SHORTEST_HORIZON_S, last_s + HORIZON_FACTOR * work_s / max(num_gpus, 1.0))


def _item_s(work: Work, scenario: Scenario) -> float:
    """Return the longest mean time that is given for its items."""
    given = [context.item_s for context in scenario.contexts if context.name == work.context]
    times_s = [max(values.values()) if isinstance(values, dict) else values for values in given]
    return work.effort * max(times_s, default=0.0)


def _mean_nodes(pool: Pool) -> float:
    """Return how many nodes there are on average, if a count or a model says so; else 1."""
    churn = _churn_of(pool)
    if churn is None:
        return float(pool.count or 1)
    return churn.count * churn.life_s / (churn.life_s + churn.gap_s)


def _most_nodes(pool: Pool) -> float:
    churn = _churn_of(pool)
    if churn is not None:
        return churn.count
    if pool.trace is not None:
        return pool.scale * most_nodes(read_trace(find_trace(pool.trace)))
    return pool.count or pool.scale * max(num_nodes for _, num_nodes in pool.steps or ((0, 0),))


# --- what they are like -----------------------------------------------------------------------


def _gpus_of(pool: Pool, num_machines: int, random: Random) -> list[str | None]:
    """Return the type of each machine: in the shares of the mix as exactly as may be."""
    if not pool.gpu_mix:
        return [pool.gpu] * num_machines
    total = sum(pool.gpu_mix.values())
    bounds = itertools.accumulate(pool.gpu_mix.values())
    last = [round(num_machines * bound / total) for bound in bounds]
    models: list[str | None] = []
    for name, stop in zip(pool.gpu_mix, last, strict=True):
        models += [name] * (stop - len(models))
    random.shuffle(models)
    return models


def _speed(pool: Pool, random: Random) -> float:
    speed = gamma(random, 1.0, pool.speed_cv)
    is_slow = random.random() < pool.slow_frac
    return speed / pool.slow_factor if is_slow else speed


def gamma(random: Random, mean: float, cv: float) -> float:
    """Return a draw from the gamma distribution with this mean, and deviation over mean."""
    if not cv or not mean:
        return mean
    shape = 1.0 / cv**2
    return random.gammavariate(shape, mean / shape)
