"""The environment variables of a host. Pure."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from msgspec import Struct

from parsl_pcm.types import BlockId, Device, ManagerId
from parsl_pcm.wire.messages import StartHost


class HostSurroundings(Struct, frozen=True, kw_only=True):
    """What all hosts of a manager share."""

    manager_id: ManagerId
    block_id: BlockId
    devices: tuple[Device, ...]
    """All that the manager has."""
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
    environment.update(_device_variables(start, surroundings.devices))
    if any(device.kind == "rocm" for device in surroundings.devices):
        # It filters once more what ROCR_VISIBLE_DEVICES has left, by positions that no longer fit.
        environment.pop("HIP_VISIBLE_DEVICES", None)
    environment["PARSL_WORKER_RANK"] = str(start.host_id)
    environment["PARSL_WORKER_BLOCK_ID"] = surroundings.block_id
    environment["PARSL_WORKER_POOL_ID"] = surroundings.manager_id
    return environment


def _device_variables(start: StartHost, devices: Sequence[Device]) -> dict[str, str]:
    """Show the host its own devices and hide the others."""
    visible = ",".join(start.device_ids)
    variables = {}
    if any(device.kind == "cuda" for device in devices):
        variables["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        variables["CUDA_VISIBLE_DEVICES"] = visible
    if any(device.kind == "rocm" for device in devices):
        variables["ROCR_VISIBLE_DEVICES"] = visible
    return variables
