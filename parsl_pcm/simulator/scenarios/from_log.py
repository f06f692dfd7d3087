"""A scenario from the event log of a run: its work, its nodes, and the speeds that it measured.

What a log does not say stays out: which part of a set-up was reading files, memory that was never
declared, the site's idle nodes that the run did not take. Each context has one way to be built, the
one that did most of the work.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from parsl_pcm.eventlog import LogHeader, read_log
from parsl_pcm.metrics import Metrics
from parsl_pcm.simulator.scenario import (
    ContextModel,
    Gpu,
    Pool,
    Published,
    Scenario,
    Site,
    System,
    Work,
)
from parsl_pcm.simulator.scenarios.measured import (
    ContextSeen,
    Measured,
    NodeLife,
    Times,
    WorkKind,
    WorkSeen,
)
from parsl_pcm.simulator.scenarios.reading import ScenarioError, check
from parsl_pcm.simulator.site import gpus
from parsl_pcm.types import DeviceId, NodeResources, Requirements

LOG_NAME = "events.jsonl"
MEASURED = "this run itself"
"""Source of how long a run took in truth."""
PAUSE_S = 10.0
"""Calls that are submitted after a longer pause are work of their own."""
NO_CAPABILITY = 0.1
"""Of GPUs that are not from NVIDIA: less than any context asks for."""
MAX_WORK = 50
"""Entries for the calls of one function; more pauses than that are smoothed over."""


def scenario_from_log(run: Path) -> Scenario:
    """Return the scenario that a run was.

    Parameters
    ----------
    run
        Its event log, the folder of its executor, its folder in ``runinfo``, or ``runinfo`` itself,
        of which the last run counts.

    Raises
    ------
    EventLogError
        The log cannot be read, as one of another version.
    ScenarioError
        There is no log, or it has measured nothing.
    """
    path = find_log(run)
    header, records = read_log(path)
    measured, metrics = Measured(), Metrics()
    for record in records:
        measured.observe(record)
        metrics.observe(record)
    scenario = _scenario(path, header, measured)
    if metrics.makespan_s and metrics.num_finished == metrics.num_submitted:
        real = Published(makespan_s=_rounded(metrics.makespan_s), source=MEASURED)
        scenario = msgspec.structs.replace(scenario, published=real)
    return check(msgspec.to_builtins(scenario), str(path))


def find_log(run: Path) -> Path:
    """Return the event log of a run.

    Raises
    ------
    ScenarioError
        If there is none, or several.
    """
    if run.is_file():
        return run
    for pattern in (LOG_NAME, f"*/{LOG_NAME}", f"*/*/{LOG_NAME}"):
        found = sorted(run.glob(pattern))
        last = [path for path in found if path.parent.parent == found[-1].parent.parent]
        if len(last) == 1:
            return last[0]
        if last:
            names = " or ".join(str(path.parent) for path in last)
            raise ScenarioError(str(run), [f"several executors have logs; give {names}"])
    problem = f"no event log: give Parsl's run_dir, one run in it, or the file {LOG_NAME}"
    raise ScenarioError(str(run), [problem])


def _scenario(path: Path, header: LogHeader, measured: Measured) -> Scenario:
    done = {key: seen for key, seen in measured.contexts.items() if seen.items}
    if not done:
        problem = "no item of this run was finished, so no speed was measured; give a longer run"
        raise ScenarioError(str(path), [problem])
    names = dict(zip(done, _unlike([seen.declared.name for seen in done.values()]), strict=True))
    work = {kind: seen for kind, seen in measured.work.items() if kind.context_key in done}
    start_s = min(time_s for seen in work.values() for time_s, _ in seen.tasks.values())
    contexts = [_context(names[key], seen) for key, seen in done.items()]
    num_without = sum(len(measured.work[kind].tasks) for kind in measured.work.keys() - work.keys())
    return Scenario(
        name=header.label,
        about=_about(path, header, num_without),
        contexts=tuple(contexts),
        work=tuple(
            part
            for kind, seen in work.items()
            for part in _work(
                names[kind.context_key], kind, seen, context=done[kind.context_key], start_s=start_s
            )
        ),
        pools=tuple(_pools(header, measured, contexts, start_s)),
        gpus=tuple(_gpus(measured)),
        site=Site(is_elastic=measured.is_elastic),
        system=System(max_attempts=header.max_attempts, is_prefetching=header.fixed_prefetch != 0),
    )


def _about(path: Path, header: LogHeader, num_without: int) -> str:
    text = f"as measured in {path} by parsl_pcm {header.pcm_version}"
    if num_without:
        text += f"; without the tasks of contexts that finished none: {num_without:,}"
    return text


def _unlike(names: Sequence[str]) -> Iterator[str]:
    """Yield the names, those of which there are several with numbers."""
    seen: dict[str, int] = {}
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        yield name if seen[name] == 1 else f"{name}-{seen[name]}"


# --- contexts and work ------------------------------------------------------------------------


def _context(name: str, seen: ContextSeen) -> ContextModel:
    needs = _requirements(seen)
    num_items = sum(times.num for times in seen.items.values())
    num_setups = sum(times.num for times in seen.setups.values())
    return ContextModel(
        name=name,
        gpus=needs.gpus,
        gpu_memory=None if needs.gpu_memory_bytes is None else f"{needs.gpu_memory_bytes} B",
        host_memory=f"{needs.host_memory_bytes} B" if needs.host_memory_bytes else None,
        cores=needs.cores or 1.0,
        max_concurrency=needs.max_concurrency,
        keep_warm_s=needs.keep_warm_s,
        gpu_types=needs.gpu_types,
        import_s=0.0 if seen.boot_s == math.inf else _rounded(seen.boot_s),
        load_s=_by_gpu(seen.setups, _mean_s(seen.setups)),
        load_cv=_cv(seen.setups),
        item_s=_by_gpu(seen.items, _mean_s(seen.items, is_by_speed=True)),
        item_cv=_cv(seen.items),
        can_sleep=needs.can_sleep,
        sleep_s=_rounded(seen.sleep.mean_s),
        wake_s=_rounded(seen.wake.mean_s),
        source=f"measured; items: {num_items:,}, set-ups: {num_setups:,}",
    )


def _requirements(seen: ContextSeen) -> Requirements:
    """Return what the way asks for that did most of the work."""
    ways = [
        seen.declared.requirements,
        *(variant.requirements for variant in seen.declared.variants),
    ]
    used = seen.variant_items
    return ways[max(used, key=lambda variant: used[variant])]


def _by_gpu(times: Mapping[str, Times], default_s: float) -> float | dict[str, float]:
    """Return means by GPU, and one for GPUs that were not measured; a number if there was none."""
    measured = {gpu: _rounded(each.mean_s) for gpu, each in times.items()}
    if not measured.keys() - {gpus.CPU}:
        return measured.get(gpus.CPU, _rounded(default_s))
    return measured | {gpus.DEFAULT: _rounded(default_s)}


def _mean_s(times: Mapping[str, Times], *, is_by_speed: bool = False) -> float:
    """Return the mean over all GPUs; by speed: of a GPU of speed 1.0, by what is known of them."""
    num = sum(each.num for each in times.values())
    total_s = sum(
        each.total_s * (_speed(gpu) if is_by_speed else 1.0) for gpu, each in times.items()
    )
    return total_s / num if num else 0.0


def _speed(gpu: str) -> float:
    model = gpus.find_model(gpu)
    return model.speed if model else 1.0


def _cv(times: Mapping[str, Times]) -> float:
    """Return how much times differ on the same kind of GPU."""
    num = sum(each.num for each in times.values())
    return round(sum(each.cv * each.num for each in times.values()) / num, 4) if num else 0.0


def _work(
    name: str, kind: WorkKind, seen: WorkSeen, *, context: ContextSeen, start_s: float
) -> Iterator[Work]:
    """Yield the work of a kind: a map at once, calls with the pauses between them."""
    own_s = seen.item.mean_s
    mean_s = _mean_s(context.items)
    effort = _rounded(own_s / mean_s) if own_s and mean_s else 1.0
    for at_s, num_items in _submissions(seen, pause_s=math.inf if kind.is_mapped else PAUSE_S):
        yield Work(
            context=name,
            items=num_items,
            call_items=None if kind.is_mapped else 1,
            is_divisible=kind.is_mapped,
            at_s=_rounded(max(0.0, at_s - start_s)),
            effort=effort,
            priority=kind.priority,
        )


def _submissions(seen: WorkSeen, pause_s: float) -> list[tuple[float, int]]:
    """Return (time, items) of what was submitted without a longer pause within."""
    groups: list[tuple[float, int]] = []
    last_s = -math.inf
    for time_s, num_items in sorted(seen.tasks.values()):
        if not groups or time_s - last_s > pause_s:
            groups.append((time_s, 0))
        groups[-1] = (groups[-1][0], groups[-1][1] + num_items)
        last_s = time_s
    return groups if len(groups) <= MAX_WORK else _submissions(seen, 2.0 * pause_s)


# --- nodes ------------------------------------------------------------------------------------


class _Changes(NamedTuple):
    """How the number of a pool's nodes changed."""

    steps: tuple[tuple[float, int], ...]
    waits_s: list[float]
    """From the end of a walltime to the next node."""


def _pools(
    header: LogHeader, measured: Measured, contexts: Iterable[ContextModel], start_s: float
) -> Iterator[Pool]:
    kinds: dict[NodeResources, list[NodeLife]] = {}
    for life in measured.nodes.values():
        if life.until_s > start_s:
            kinds.setdefault(_kind(life.resources), []).append(life)
    for resources, nodes in kinds.items():
        devices = resources.devices
        changes = _changes(nodes, start_s, measured.ended_s)
        waits_s = changes.waits_s or _first_waits_s(measured, nodes, start_s)
        has_left = any(
            after < before
            for before, after in itertools.pairwise(number for _, number in changes.steps)
        )
        yield Pool(
            gpu=devices[0].name if devices else None,
            gpus_per_node=max(1, len(devices)),
            count=None if has_left else changes.steps[-1][1],
            steps=changes.steps if has_left else None,
            queue_wait_s=0.0 if has_left else _rounded(statistics.fmean(waits_s)),
            queue_wait_cv=0.0 if has_left else _rounded(_spread(waits_s)),
            walltime_s=_walltime_s(nodes),
            notice_s=statistics.median(measured.notices_s) if measured.notices_s else None,
            detect_s=_detect_s(nodes, header),
            cores=_cores(resources, contexts),
            memory=f"{resources.memory_bytes} B",
            source=f"measured; nodes: {len(nodes):,}",
        )


def _first_waits_s(
    measured: Measured, nodes: Sequence[NodeLife], start_s: float
) -> Sequence[float]:
    """Return how long after the first submission nodes came: all, or the first of an elastic run.

    Later ones came when they were wanted, which is no wait.
    """
    waits_s = sorted(max(0.0, node.from_s - start_s) for node in nodes)
    return waits_s[:1] if measured.is_elastic else waits_s


def _kind(resources: NodeResources) -> NodeResources:
    """Return a node without what makes it unlike others of its kind: the names of its devices."""
    devices = tuple(
        msgspec.structs.replace(device, device_id=DeviceId(str(number)))
        for number, device in enumerate(resources.devices)
    )
    return msgspec.structs.replace(resources, devices=devices)


def _changes(nodes: Sequence[NodeLife], start_s: float, ended_s: float) -> _Changes:
    """Return how many nodes there were when.

    One that its walltime ended, or that we gave back, is not missed: the next one that comes takes
    its place.
    """
    moments = [(max(0.0, node.from_s - start_s), 1, node) for node in nodes]
    moments += [(node.until_s - start_s, 0, node) for node in nodes if node.until_s < ended_s]
    number, counts, waits_s, awaited, num_free = 0, {0.0: 0}, [], deque[float](), 0
    for when_s, is_join, node in sorted(moments, key=lambda moment: moment[:2]):
        if is_join and awaited:
            waits_s.append(when_s - awaited.popleft())
        elif is_join and num_free:
            num_free -= 1
        elif not is_join and node.is_over_time:
            awaited.append(when_s)
        elif not is_join and node.is_given_back:
            num_free += 1
        else:
            number += 1 if is_join else -1
            counts[_rounded(when_s)] = number
    return _Changes(tuple(sorted(counts.items())), waits_s)


def _walltime_s(nodes: Sequence[NodeLife]) -> float | None:
    """Return what the nodes were given at their start, if all were given one."""
    walltimes_s = [node.ends_s - node.from_s for node in nodes]
    return None if math.inf in walltimes_s else round(statistics.median(walltimes_s), 1)


def _detect_s(nodes: Sequence[NodeLife], header: LogHeader) -> float:
    return header.heartbeat_threshold_s if any(node.is_silent_loss for node in nodes) else 0.0


def _cores(resources: NodeResources, contexts: Iterable[ContextModel]) -> float:
    """Return the cores of a node, or so many as its limit on hosts lets them use."""
    if resources.max_hosts is None:
        return resources.cores
    most = max(context.cores for context in contexts)
    return min(resources.cores, resources.max_hosts * most)


def _gpus(measured: Measured) -> Iterator[Gpu]:
    devices = {
        device.name: device for node in measured.nodes.values() for device in node.resources.devices
    }
    for name, device in devices.items():
        known = gpus.find_model(name)
        yield Gpu(
            name=name,
            memory=f"{device.memory_bytes} B",
            compute_capability=device.compute_capability or NO_CAPABILITY,
            speed=_rounded(known.speed) if known else 1.0,
        )


def _spread(values: Sequence[float]) -> float:
    """Return the standard deviation over the mean."""
    mean = statistics.fmean(values)
    return statistics.pstdev(values) / mean if mean else 0.0


def _rounded(value: float) -> float:
    """Return it with as many digits as a measurement deserves, for a person to read."""
    return float(f"{value:.4g}")
