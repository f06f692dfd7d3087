"""What is known of GPUs by their names: memory, compute capability, how fast beside each other.

Facts come from :mod:`parsl_pcm.provider.gpus`, or from the scenario, whose word counts more.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from parsl_pcm.provider.gpus import find_gpu
from parsl_pcm.requirements import parse_memory
from parsl_pcm.simulator.scenario import ByGpu, ContextModel, Gpu

CPU = "cpu"
"""In place of a GPU's name, for contexts and nodes that have none."""
DEFAULT = "default"
"""The entry for GPUs that a table does not name."""

A10_BANDWIDTH_GB_PER_S = 600.0
"""The A10 has speed 1.0. Decoding waits for memory, so speed follows bandwidth: that gives 0.80 for
a TITAN X (Pascal), which was measured at 0.74 (27.06 s to 36.4 s for 100 claims with SmolLM2 1.7B;
arXiv 2606.22175, figures 8 and 9)."""
UNKNOWN_CAPABILITY = 0.0
"""Of GPUs that are not from NVIDIA."""


class GpuModel(NamedTuple):
    """A type of GPU."""

    name: str
    memory_bytes: int
    compute_capability: float
    speed: float
    """Beside an A10."""


def find_model(name: str, own: Sequence[Gpu] = ()) -> GpuModel | None:
    """Return what is known of a GPU; None if neither ``own`` nor the catalogue has it."""
    for gpu in own:
        if is_same(gpu.name, name):
            memory_bytes = parse_memory("memory", gpu.memory, gpu.name)
            return GpuModel(name, memory_bytes, gpu.compute_capability, gpu.speed)
    facts = find_gpu(name)
    if facts is None:
        return None
    bandwidth = facts.bandwidth_gb_per_s or A10_BANDWIDTH_GB_PER_S
    return GpuModel(
        name,
        facts.memory_bytes,
        facts.compute_capability or UNKNOWN_CAPABILITY,
        bandwidth / A10_BANDWIDTH_GB_PER_S,
    )


def is_same(one: str, other: str) -> bool:
    """Whether two names mean the same GPU: blanks, signs and capitals do not count."""
    return _letters(one) == _letters(other)


def value_on(values: ByGpu, gpu: str | None) -> float | None:
    """Return the value for a GPU (None: a CPU): its own, or the default; None if there is none."""
    if not isinstance(values, Mapping):
        return values
    own = _own_value(values, gpu)
    return values.get(DEFAULT) if own is None else own


def item_s(context: ContextModel, gpu: GpuModel | None) -> float:
    """Return the mean time of an item on a GPU (None: a CPU).

    A default is for speed 1.0, so it is divided by the GPU's. ``nan`` if nothing is said: reading
    refuses such scenarios.
    """
    values, name = context.item_s, gpu.name if gpu else None
    if not isinstance(values, Mapping):
        return values
    own = _own_value(values, name)
    if own is not None:
        return own
    return values.get(DEFAULT, math.nan) / (gpu.speed if gpu else 1.0)


def setup_s(context: ContextModel, gpu: str | None) -> float:
    """Return the mean time of a set-up in each process: import, load, first call."""
    parts = (context.import_s, context.load_s, context.warm_up_s)
    return sum(value_on(part, gpu) or 0.0 for part in parts)


def ready_s(context: ContextModel, gpu: str | None) -> float:
    """Return the mean time until it is ready on a node that has its files, but not unpacked."""
    return (value_on(context.unpack_s, gpu) or 0.0) + setup_s(context, gpu)


def _own_value(values: Mapping[str, float], gpu: str | None) -> float | None:
    wanted = _letters(gpu or CPU)
    return next((value for name, value in values.items() if _letters(name) == wanted), None)


def _letters(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())
