"""What this node offers: devices, cores, memory, software."""

from __future__ import annotations

import importlib.util
import math
import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from parsl_pcm.config import ManagerConfig
from parsl_pcm.manager import nvml, rocm
from parsl_pcm.manager.devices import chosen_devices, unprobed_devices
from parsl_pcm.manager.site import gpu_facts
from parsl_pcm.types import Device, NodeResources

_SUFFIXES = (".dist-info", ".egg-info")


def node_devices(
    environment: Mapping[str, str], wanted: Sequence[str] | int | None
) -> list[Device]:
    """Return the devices of this node that we may choose from.

    Parameters
    ----------
    environment
        With ``CUDA_VISIBLE_DEVICES`` or ``ROCR_VISIBLE_DEVICES`` as the site has set them.
    wanted
        ``available_accelerators`` of the executor. Where no driver answers, names are taken at
        their word, and so is a number unless the scheduler says what it gave us.

    Raises
    ------
    DeviceError
        If a device is named that the node does not have, or there are fewer than wanted.
    """
    if gpus := nvml.find_gpus():
        return chosen_devices(gpus, environment.get("CUDA_VISIBLE_DEVICES"), wanted, "CUDA")
    if gpus := rocm.find_gpus():
        return chosen_devices(gpus, environment.get("ROCR_VISIBLE_DEVICES"), wanted, "ROCR")
    return unprobed_devices(environment, wanted, gpu_facts(environment))


def usable_cores() -> list[int]:
    """Return the numbers of the cores that this process may use, sorted."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def available_memory_bytes() -> int:
    """Return the memory that is free now, or could be made free by dropping caches."""
    import psutil  # here: reading it on another platform is its job, and it takes 20 ms to import

    return int(psutil.virtual_memory().available)


def node_resources(
    config: ManagerConfig,
    environment: Mapping[str, str],
    *,
    num_cores: int,
    memory_bytes: int,
    devices: Sequence[Device],
) -> NodeResources:
    """Return what a manager has to give, with HTEX's meaning of the options.

    ``PARSL_CORES`` and ``PARSL_MEMORY_GB``, which Parsl's providers set when a node is shared,
    replace what was found; a "GB" is 2**30 bytes in both places, as in HTEX.
    """
    if environment.get("PARSL_CORES"):
        num_cores = int(environment["PARSL_CORES"])
    if environment.get("PARSL_MEMORY_GB"):
        memory_bytes = int(float(environment["PARSL_MEMORY_GB"]) * 2**30)
    max_hosts = _smallest(config.max_workers_per_node, _memory_slots(config, memory_bytes))
    num_slots = _smallest(max_hosts, math.floor(num_cores / config.cores_per_worker)) or 0
    return NodeResources(
        cores=num_slots * config.cores_per_worker,
        memory_bytes=memory_bytes,
        devices=tuple(devices),
        max_hosts=max_hosts,
    )


def installed_packages(path: Sequence[str] | None = None) -> dict[str, str]:
    """Return name and version of each installed distribution, the first on `path` as Python does.

    From the names of their directories alone: :mod:`importlib.metadata` opens a file in each, which
    takes seconds on a shared file system.
    """
    packages: dict[str, str] = {}
    for directory in sys.path if path is None else path:
        for stem in _distributions_in(directory):
            name, _, version = stem.partition("-")
            packages.setdefault(name.lower().replace("_", "-"), version.partition("-")[0])
    return packages


def parsl_version() -> str:
    """Return the version of Parsl on this node without importing it (0.8 s); "" if it is absent."""
    spec = importlib.util.find_spec("parsl")
    if spec is None or spec.origin is None:
        return ""
    return str(runpy.run_path(str(Path(spec.origin).with_name("version.py")))["VERSION"])


def _memory_slots(config: ManagerConfig, memory_bytes: int) -> int | None:
    if not config.mem_per_worker_gb:
        return None
    return math.floor(memory_bytes / 2**30 / config.mem_per_worker_gb)


def _smallest(*bounds: int | None) -> int | None:
    return min((bound for bound in bounds if bound is not None), default=None)


def _distributions_in(directory: str) -> list[str]:
    try:
        entries = os.listdir(directory or ".")
    except OSError:
        return []
    return [
        entry.removesuffix(suffix)
        for entry in sorted(entries)
        for suffix in _SUFFIXES
        if entry.endswith(suffix) and "-" in entry.removesuffix(suffix)
    ]
