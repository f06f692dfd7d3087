"""The environment variables of a host, and the directories that they name."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from parsl_pcm.types import GPU_MEMORY_VARIABLE, BlockId, DeviceId, ManagerId
from parsl_pcm.wire.messages import StartHost

logger = logging.getLogger(__name__)

_CACHES = {
    "VLLM_CACHE_ROOT": "vllm",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
    "CUDA_CACHE_PATH": "cuda",
}
"""Where compilers of kernels keep their work: by default below the home directory, which all nodes
share, with file locks that are slow there, for GPUs that differ."""


class HostSurroundings(Struct, frozen=True, kw_only=True):
    """What all hosts of a manager share."""

    manager_id: ManagerId
    block_id: BlockId
    device_kinds: frozenset[str]
    """Of the devices of the node: hosts must not see those that are not theirs."""
    python_path: tuple[str, ...]
    cache_dir: str
    """On a disk of this node, shared by the hosts of this user."""


def host_environment(
    inherited: Mapping[str, str],
    start: StartHost,
    surroundings: HostSurroundings,
    *,
    num_threads: int | None,
) -> dict[str, str]:
    """Return the whole environment of a host.

    Parameters
    ----------
    inherited
        The manager's own environment: what the site and worker_init set.
    num_threads
        Threads for OpenMP, unless the site or the recipe says otherwise; None: not our business.
    """
    environment = _shared_environment(inherited, start, surroundings, num_threads)
    return environment | own_variables(start, surroundings)


def own_variables(start: StartHost, surroundings: HostSurroundings) -> dict[str, str]:
    """Return the variables that differ between hosts with the same context."""
    variables = _device_variables(start.device_ids, surroundings.device_kinds)
    variables["PARSL_WORKER_RANK"] = str(start.host_id)
    if start.requirements.gpu_memory_bytes is not None:
        variables[GPU_MEMORY_VARIABLE] = str(start.requirements.gpu_memory_bytes)
    return variables


def spare_environment(
    inherited: Mapping[str, str],
    start: StartHost,
    surroundings: HostSurroundings,
    *,
    num_threads: int | None,
) -> dict[str, str]:
    """Return the environment of a process that may become a host like that of `start`.

    It sees no device yet.
    """
    environment = _shared_environment(inherited, start, surroundings, num_threads)
    environment.update(_device_variables((), surroundings.device_kinds))
    return environment


def make_caches(cache_dir: Path) -> None:
    """Make the directories that hosts are pointed to; without them they compile once more."""
    try:
        for name in _CACHES.values():
            (cache_dir / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        logger.warning("what hosts compile cannot be kept in %s: %s", cache_dir, error)


def _shared_environment(
    inherited: Mapping[str, str],
    start: StartHost,
    surroundings: HostSurroundings,
    num_threads: int | None,
) -> dict[str, str]:
    environment = dict(inherited)
    environment.pop(GPU_MEMORY_VARIABLE, None)
    environment.update(start.env)
    if num_threads is not None:
        environment.setdefault("OMP_NUM_THREADS", str(num_threads))
    for variable, name in _CACHES.items():
        environment.setdefault(variable, os.path.join(surroundings.cache_dir, name))
    python_path = [environment.get("PYTHONPATH", ""), *surroundings.python_path]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, python_path))
    if "rocm" in surroundings.device_kinds:
        # It filters once more what ROCR_VISIBLE_DEVICES has left, by positions that no longer fit.
        environment.pop("HIP_VISIBLE_DEVICES", None)
    environment["PARSL_WORKER_BLOCK_ID"] = surroundings.block_id
    environment["PARSL_WORKER_POOL_ID"] = surroundings.manager_id
    return environment


def _device_variables(
    device_ids: Sequence[DeviceId], device_kinds: frozenset[str]
) -> dict[str, str]:
    """Show a process its own devices and hide the others."""
    visible = ",".join(device_ids)
    variables = {}
    if "cuda" in device_kinds:
        variables["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        variables["CUDA_VISIBLE_DEVICES"] = visible
    if "rocm" in device_kinds:
        variables["ROCR_VISIBLE_DEVICES"] = visible
    return variables
