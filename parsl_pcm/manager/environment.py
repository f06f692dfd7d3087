"""The environment variables of a host. Pure."""

from __future__ import annotations

import os
from collections.abc import Mapping

from msgspec import Struct

from parsl_pcm.types import BlockId, ManagerId
from parsl_pcm.wire.messages import StartHost


class HostSurroundings(Struct, frozen=True, kw_only=True):
    """What all hosts of a manager share."""

    manager_id: ManagerId
    block_id: BlockId
    device_kinds: frozenset[str]
    """Of the devices of the node: hosts must not see those that are not theirs."""
    python_path: tuple[str, ...]


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
    environment = dict(inherited)
    environment.update(start.env)
    if num_threads is not None:
        environment.setdefault("OMP_NUM_THREADS", str(num_threads))
    python_path = [environment.get("PYTHONPATH", ""), *surroundings.python_path]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, python_path))
    environment.update(_device_variables(start, surroundings.device_kinds))
    if "rocm" in surroundings.device_kinds:
        # It filters once more what ROCR_VISIBLE_DEVICES has left, by positions that no longer fit.
        environment.pop("HIP_VISIBLE_DEVICES", None)
    environment["PARSL_WORKER_RANK"] = str(start.host_id)
    environment["PARSL_WORKER_BLOCK_ID"] = surroundings.block_id
    environment["PARSL_WORKER_POOL_ID"] = surroundings.manager_id
    return environment


def _device_variables(start: StartHost, device_kinds: frozenset[str]) -> dict[str, str]:
    """Show the host its own devices and hide the others."""
    visible = ",".join(start.device_ids)
    variables = {}
    if "cuda" in device_kinds:
        variables["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        variables["CUDA_VISIBLE_DEVICES"] = visible
    if "rocm" in device_kinds:
        variables["ROCR_VISIBLE_DEVICES"] = visible
    return variables
