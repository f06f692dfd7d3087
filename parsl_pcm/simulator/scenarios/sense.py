"""Whether the values of a scenario make sense together."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Mapping, Sequence

from parsl_pcm.core.rooms import ways_on, whole_room
from parsl_pcm.core.walltime import LEAVE_S
from parsl_pcm.requirements import parse_memory
from parsl_pcm.simulator.scenario import ContextModel, Pool, Scenario, Work
from parsl_pcm.simulator.scenarios import building
from parsl_pcm.simulator.site import gpus
from parsl_pcm.simulator.site.availability import expected_lives
from parsl_pcm.simulator.site.trace import TraceError, find_trace, fit, read_trace

MAX_LIVES = 5_000_000
MAX_CALLS = 5_000_000
"""Each is kept in memory until it is done."""
_BY_GPU = ("unpack_s", "import_s", "load_s", "warm_up_s", "item_s", "piece_s")
_WAYS_TO_BE_THERE = ("count", "steps", "trace", "churn")


def find_nonsense(scenario: Scenario) -> Iterator[str]:
    """Yield what is wrong with a scenario whose values are right each by itself."""
    yield from _in_names(scenario)
    for number, work in enumerate(scenario.work):
        yield from _in_work(work, f"work[{number}]", scenario)
    for number, pool in enumerate(scenario.pools):
        yield from _in_pool(pool, f"pools[{number}]", scenario)
    for number, context in enumerate(scenario.contexts):
        yield from _in_context(context, f"contexts[{number}]", scenario)
    yield from _in_site(scenario)


# --- names ------------------------------------------------------------------------------------


def _in_names(scenario: Scenario) -> Iterator[str]:
    for what, parts in (("contexts", scenario.contexts), ("gpus", scenario.gpus)):
        names = [part.name for part in parts]
        for number, name in enumerate(names):
            if not name:
                yield f"{what}[{number}].name is empty; give it a name"
            elif name in names[:number]:
                yield f"{what}[{number}].name is {name!r}, as another one's; names must differ"
    for what in ("contexts", "work", "pools"):
        if not getattr(scenario, what):
            yield f"{what} is empty; write at least one [[{what}]]"


def _in_work(work: Work, where: str, scenario: Scenario) -> Iterator[str]:
    names = [context.name for context in scenario.contexts]
    if work.context not in names:
        yield (
            f"{where}.context is {work.context!r}, which no context is called; "
            f"{_near(work.context, names)}"
        )
    if not work.is_divisible and work.call_items is None:
        yield (
            f"{where}.is_divisible is false without call_items; say how many items are in each "
            f"call, or leave is_divisible out"
        )
    num_calls = -(-work.items // (work.call_items or work.items))
    if num_calls > MAX_CALLS:
        yield (
            f"{where} is {num_calls:,} calls, but at most {MAX_CALLS:,} can be simulated; raise "
            f"call_items, or leave it out: a map of all items"
        )


# --- pools ------------------------------------------------------------------------------------


def _in_pool(pool: Pool, where: str, scenario: Scenario) -> Iterator[str]:
    given = [name for name in _WAYS_TO_BE_THERE if getattr(pool, name) is not None]
    if len(given) != 1:
        yield (
            f"{where} has {' and '.join(given) or 'none'} of count, steps, trace and churn, but "
            f"must have exactly one of them: it says when its nodes can be had"
        )
    if pool.gpu is not None and pool.gpu_mix:
        yield f"{where} has both gpu and gpu_mix; leave one of them out"
    for gpu in building.gpus_of(pool):
        if gpu is not None and building.gpu_model(scenario, gpu) is None:
            yield (
                f"{where} has GPUs {gpu!r}, of which nothing is known; correct the name, or "
                f"describe them in [[gpus]]"
            )
    yield from _in_steps(pool, where)
    bad_trace = list(_in_trace(pool, where))
    yield from bad_trace or _in_number_of_lives(pool, where, scenario)
    yield from _in_walltime(pool, where, scenario)
    if pool.requeue_s is not None and not scenario.site.is_elastic:
        yield f"{where}.requeue_s is for elastic sites; add is_elastic = true, or leave it out"
    if _bytes(pool.memory) == 0:
        yield f"{where}.memory is {pool.memory!r}, but must be above 0"


def _in_steps(pool: Pool, where: str) -> Iterator[str]:
    times = [t_s for t_s, _ in pool.steps or ()]
    for number, (one, other) in enumerate(itertools.pairwise(times), start=1):
        if other <= one:
            yield (
                f"{where}.steps[{number}] is at {other:g} s, after one at {one:g} s; times must "
                f"rise: sort them"
            )


def _in_trace(pool: Pool, where: str) -> Iterator[str]:
    if pool.trace is None:
        for name, default in (("is_fitted", False), ("starts_at_s", 0.0)):
            if getattr(pool, name) != default:
                yield f"{where}.{name} is for traces; leave it out, or give trace"
        if pool.steps is None and pool.scale != 1.0:
            yield f"{where}.scale is for traces and steps; leave it out, and change the count"
        return
    try:
        trace = read_trace(find_trace(pool.trace))
        if pool.is_fitted:
            fit(trace)
    except TraceError as error:
        yield f"{where}.trace: {error}"
        return
    if pool.is_fitted and pool.starts_at_s:
        yield f"{where}.starts_at_s has no meaning for a model (is_fitted); leave one of them out"
    if pool.starts_at_s > trace.end_s:
        yield (
            f"{where}.starts_at_s is {pool.starts_at_s:g}, but the trace {trace.name} ends at "
            f"{trace.end_s:g} s; begin before that"
        )


def _in_walltime(pool: Pool, where: str, scenario: Scenario) -> Iterator[str]:
    """Yield it if nodes live too short for anything: they would come and go for ever."""
    if pool.walltime_s is None:
        return
    ready_s = [
        building.fetch_s(context, scenario) + gpus.ready_s(context, gpu)
        for context in _used_contexts(scenario)
        for gpu in building.gpus_of(pool)
    ]
    if ready_s and pool.walltime_s <= min(ready_s) + LEAVE_S:
        yield (
            f"{where}.walltime_s is {pool.walltime_s:g}, but no context is ready before "
            f"{min(ready_s):g} s, and a node is left {LEAVE_S:g} s before its end; it must be "
            f"longer than both together"
        )


def _in_number_of_lives(pool: Pool, where: str, scenario: Scenario) -> Iterator[str]:
    num_lives = expected_lives(pool, scenario)
    if num_lives > MAX_LIVES:
        yield (
            f"{where} would have about {num_lives:.0e} lives of nodes, but at most "
            f"{MAX_LIVES:.0e} can be simulated; lower its count or scale, raise mtbf_s, life_s or "
            f"gap_s, or give stop_s"
        )


# --- contexts ---------------------------------------------------------------------------------


def _in_context(context: ContextModel, where: str, scenario: Scenario) -> Iterator[str]:
    yield from _in_claims(context, where)
    known = {gpu for pool in scenario.pools for gpu in building.gpus_of(pool) if gpu}
    for name in _BY_GPU:
        values = getattr(context, name)
        if isinstance(values, Mapping):
            yield from _in_names_of_gpus(values, f"{where}.{name}", scenario)
    if context not in _used_contexts(scenario):
        return
    usable: list[str | None] = [None]
    if context.gpus:
        usable = [gpu for gpu in sorted(known) if _fits_gpu(context, scenario, gpu)]
    if not _is_held_anywhere(context, scenario):
        yield (
            f"{where} ({context.name!r}) fits on no node of any pool; see its gpus, gpu_memory, "
            f"gpu_types, host_memory and cores, and the pools' gpus_per_node, memory and cores"
        )
        return
    for name in _BY_GPU:
        yield from _missing(context, name, usable, where)


def _in_claims(context: ContextModel, where: str) -> Iterator[str]:
    for name in ("gpu_memory", "gpu_types"):
        if context.gpus == 0 and getattr(context, name):
            yield f"{where}.{name} is given, but gpus is 0; leave one of them out"
    for name in ("gpu_memory", "host_memory"):
        size = getattr(context, name)
        if size is not None and _bytes(size) == 0:
            yield f"{where}.{name} is {size!r}, but must be above 0; leave it out for none declared"


def _in_names_of_gpus(values: Mapping[str, float], where: str, scenario: Scenario) -> Iterator[str]:
    for name in values:
        is_word = name in (gpus.CPU, gpus.DEFAULT)
        if not is_word and building.gpu_model(scenario, name) is None:
            yield (
                f"{where} has a value for {name!r}, which is no GPU that is known; correct the "
                f"name, describe it in [[gpus]], or write {gpus.DEFAULT!r} or {gpus.CPU!r}"
            )


def _missing(
    context: ContextModel, name: str, usable: Sequence[str | None], where: str
) -> Iterator[str]:
    values = getattr(context, name)
    missing = [gpu or gpus.CPU for gpu in usable if gpus.value_on(values, gpu) is None]
    if missing:
        yield (
            f"{where}.{name} has no value for {', '.join(missing)}, and no {gpus.DEFAULT!r}; add "
            f"one of them"
        )


def _used_contexts(scenario: Scenario) -> list[ContextModel]:
    used = {work.context for work in scenario.work}
    return [context for context in scenario.contexts if context.name in used]


def _fits_gpu(context: ContextModel, scenario: Scenario, gpu: str) -> bool:
    pools = [pool for pool in scenario.pools if gpu in building.gpus_of(pool)]
    return any(_is_held(context, scenario, pool, gpu) for pool in pools)


def _is_held_anywhere(context: ContextModel, scenario: Scenario) -> bool:
    return any(
        _is_held(context, scenario, pool, gpu)
        for pool in scenario.pools
        for gpu in building.gpus_of(pool)
    )


def _is_held(context: ContextModel, scenario: Scenario, pool: Pool, gpu: str | None) -> bool:
    """Whether the scheduler would place it on an empty node; a GPU unknown is told elsewhere."""
    if gpu is not None and building.gpu_model(scenario, gpu) is None:
        return True
    room = whole_room(building.resources_of(scenario, pool, gpu))
    return any(True for _ in ways_on(room, [building.requirements_of(context)]))


# --- the site ---------------------------------------------------------------------------------


def _in_site(scenario: Scenario) -> Iterator[str]:
    site = scenario.site
    if site.is_elastic and scenario.system.waits_for_frac:
        yield (
            "system.waits_for_frac is for sites that are not elastic: these ask for nodes when "
            "work comes; leave one of them out"
        )
    for name in ("shared_fs", "node_network"):
        size = getattr(site, name)
        if size is not None and _bytes(size) == 0:
            yield (
                f"site.{name} is {size!r} a second: nothing would ever arrive; leave it out for no "
                f"limit"
            )
    if not site.is_elastic:
        for name in ("keep_warm_s", "max_nodes"):
            if getattr(site, name) is not None:
                yield f"site.{name} is for elastic sites; add is_elastic = true, or leave it out"


def _bytes(size: str) -> int:
    return parse_memory("size", size, "a scenario")


def _near(wrong: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(wrong, names, n=3)
    return f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(names)}"
