"""From what a scenario says to what a virtual pool is made of: contexts, nodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

from parsl_pcm.eventlog import LogHeader
from parsl_pcm.requirements import parse_memory
from parsl_pcm.simulator.engine.parts import CPU, Model, Node, PieceTime, Way, gamma_each
from parsl_pcm.simulator.engine.pool import NEVER_SILENT_S
from parsl_pcm.simulator.engine.staging import Staging
from parsl_pcm.simulator.engine.timeline import Timeline
from parsl_pcm.simulator.scenario import ContextModel, Pool, Scenario
from parsl_pcm.simulator.site import gpus
from parsl_pcm.simulator.site.availability import Life
from parsl_pcm.simulator.site.gpus import GpuModel
from parsl_pcm.types import Device, DeviceId, NodeResources, Requirements

NOTICE_S = 10.0
"""The scheduler's own default. It counts for sites that do not say how long their notice is; here
all say so."""


def requirements_of(context: ContextModel) -> Requirements:
    """Return what a context asks for, as ``@context`` would make it."""
    return Requirements(
        gpus=context.gpus,
        gpu_memory_bytes=_bytes(context.gpu_memory) if context.gpu_memory else None,
        host_memory_bytes=_bytes(context.host_memory) if context.host_memory else 0,
        cores=context.cores,
        max_concurrency=context.max_concurrency,
        gpu_types=tuple(name.lower() for name in context.gpu_types),
        keep_warm_s=context.keep_warm_s,
        can_sleep=context.can_sleep,
    )


def models_of(scenario: Scenario, random: Random) -> list[Model]:
    """Return the contexts, and the truth about what they cost; ``random`` draws items' times."""
    keeps = scenario.system.keeps
    return [
        Model(context.name, (_way(context, scenario, random),), keeps=keeps)
        for context in scenario.contexts
    ]


def gpus_of(pool: Pool) -> Sequence[str | None]:
    """Return the types of GPUs in a pool; None for nodes without."""
    return list(pool.gpu_mix) or [pool.gpu]


def gpu_model(scenario: Scenario, gpu: str | None) -> GpuModel | None:
    """Return what is known of a GPU of a scenario; None for none at all."""
    return None if gpu is None else gpus.find_model(gpu, scenario.gpus)


def resources_of(scenario: Scenario, pool: Pool, gpu: str | None) -> NodeResources:
    """Return what a node of a pool has to give."""
    model = gpu_model(scenario, gpu)
    num_devices = pool.gpus_per_node if model else 0
    return NodeResources(
        cores=pool.cores,
        memory_bytes=_bytes(pool.memory),
        devices=tuple(_device(model, number) for number in range(num_devices) if model),
    )


def possible_nodes(scenario: Scenario) -> tuple[NodeResources, ...]:
    """Return every kind of node that may come."""
    kinds = [resources_of(scenario, pool, gpu) for pool in scenario.pools for gpu in gpus_of(pool)]
    return tuple(dict.fromkeys(kinds))


def node_of(scenario: Scenario, life: Life) -> Node:
    """Return the node of a life, which is ours from its beginning to its end or its walltime."""
    pool = scenario.pools[life.pool]
    return Node(
        resources=resources_of(scenario, pool, life.gpu),
        joins_at=life.from_s,
        leaves_at=life.until_s,
        notice_s=None if life.fails else pool.notice_s,
        walltime_s=pool.walltime_s,
        detect_s=pool.detect_s,
        speed=life.speed,
        is_broken=life.is_bad,
    )


def staging_of(scenario: Scenario, time: Timeline) -> Staging:
    """Return how files come to nodes."""
    site = scenario.site
    return Staging(
        time,
        shared_bytes_per_s=_bytes_per_s(site.shared_fs),
        node_bytes_per_s=_bytes_per_s(site.node_network),
        num_peers=site.peers,
    )


def fetch_s(context: ContextModel, scenario: Scenario) -> float:
    """Return how long a node fetches the files of a context that nobody else fetches meanwhile."""
    site = scenario.site
    rate = min(_bytes_per_s(site.shared_fs), _bytes_per_s(site.node_network))
    return _bytes(context.files) / rate


def header_of(scenario: Scenario) -> LogHeader:
    """Return the settings of the scheduler, as the log of a live run would begin."""
    system = scenario.system
    return LogHeader(
        label=scenario.name,
        started_wall_s=0.0,
        max_attempts=system.max_attempts,
        heartbeat_threshold_s=NEVER_SILENT_S,
        fixed_prefetch=None if system.is_prefetching else 0,
        notice_s=NOTICE_S,
        possible_nodes=possible_nodes(scenario),
    )


def _way(context: ContextModel, scenario: Scenario, random: Random) -> Way:
    kinds = {kind_of(context, gpu): gpu for gpu in _gpus_for(context, scenario)}
    return Way(
        requirements=requirements_of(context),
        piece_time={
            kind: _piece_time(context, gpu_model(scenario, gpu), random)
            for kind, gpu in kinds.items()
        },
        setup_s={kind: gpus.setup_s(context, gpu) for kind, gpu in kinds.items()},
        setup_cv=context.load_cv,
        files_bytes=_bytes(context.files),
        unpack_s={kind: gpus.value_on(context.unpack_s, gpu) or 0.0 for kind, gpu in kinds.items()},
        sleep_s=context.sleep_s,
        wake_s=context.wake_s,
    )


def _piece_time(context: ContextModel, gpu: GpuModel | None, random: Random) -> PieceTime:
    piece_s = gpus.value_on(context.piece_s, gpu.name if gpu else None) or 0.0
    return gamma_each(gpus.item_s(context, gpu), context.item_cv, piece_s, random)


def kind_of(context: ContextModel, gpu: str | None) -> str:
    """Return how parts.py names the devices of a host."""
    return ", ".join([gpu] * context.gpus) if gpu and context.gpus else CPU


def _gpus_for(context: ContextModel, scenario: Scenario) -> list[str | None]:
    """Return what a context may find: types of GPUs, or none of them if it uses none."""
    if not context.gpus:
        return [None]
    return list(dict.fromkeys(gpu for pool in scenario.pools for gpu in gpus_of(pool) if gpu))


def _device(model: GpuModel, number: int) -> Device:
    return Device(
        device_id=DeviceId(f"GPU-{number}"),
        kind="cuda",
        name=model.name,
        memory_bytes=model.memory_bytes,
        compute_capability=model.compute_capability,
    )


def _bytes_per_s(size: str | None) -> float:
    return math.inf if size is None else _bytes(size)


def _bytes(size: str) -> int:
    return parse_memory("size", size, "a scenario")
