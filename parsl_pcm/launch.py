"""What an executor tells the other processes at their start."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from parsl.providers import CondorProvider
from parsl.providers.base import ExecutionProvider
from parsl.providers.cluster_provider import ClusterProvider
from parsl.version import VERSION as PARSL_VERSION

from parsl_pcm.config import InterchangeConfig, ManagerConfig
from parsl_pcm.types import NodeResources
from parsl_pcm.version import VERSION

if TYPE_CHECKING:
    from parsl_pcm.executor import PCMExecutor

ANY_FREE_PORT = (49152, 65536)
"""The range for private use (RFC 6335)."""
DEFAULT_PROBE_TIMEOUT_S = 30.0
"""For a manager to reach the interchange; HighThroughputExecutor leaves it to TCP, minutes."""


def interchange_config(
    executor: PCMExecutor,
    *,
    check_python_mismatch: bool,
    possible_nodes: tuple[NodeResources, ...],
    clean_command: tuple[str, ...],
) -> InterchangeConfig:
    """Return the configuration of the interchange of an executor."""
    assert executor.provider is not None, "HighThroughputExecutor always has a provider"
    return InterchangeConfig(
        label=executor.label,
        run_dir=executor.logdir,
        executor_url="",
        loopback_address=executor.loopback_address,
        worker_port=executor.worker_port,
        worker_port_range=executor.worker_port_range or ANY_FREE_PORT,
        cert_dir=executor.cert_dir,
        python_version=".".join(platform.python_version_tuple()[:2]),
        parsl_version=PARSL_VERSION,
        pcm_version=VERSION,
        heartbeat_period_s=executor.heartbeat_period,
        heartbeat_threshold_s=executor.heartbeat_threshold,
        drain_period_s=executor.drain_period,
        cores_per_worker=executor.cores_per_worker,
        prefetch_capacity=executor.prefetch_capacity,
        max_attempts=executor.max_attempts,
        nodes_per_block=executor.provider.nodes_per_block,
        possible_nodes=possible_nodes,
        notice_s=executor.notice_s,
        clean_command=clean_command,
        check_python_mismatch=check_python_mismatch,
        debug=executor.worker_debug,
    )


def write_manager_config(executor: PCMExecutor, worker_port: int) -> Path:
    """Write the configuration of the managers of an executor; only its owner can read the file."""
    limit = executor.max_workers_per_node
    config = ManagerConfig(
        label=executor.label,
        addresses=tuple(sorted(executor.all_addresses)),
        worker_port=worker_port,
        cert_dir=executor.cert_dir,
        log_dir=os.path.abspath(executor.worker_logdir),
        heartbeat_period_s=executor.heartbeat_period,
        heartbeat_threshold_s=executor.heartbeat_threshold,
        address_probe_timeout_s=executor.address_probe_timeout or DEFAULT_PROBE_TIMEOUT_S,
        cores_per_worker=executor.cores_per_worker,
        mem_per_worker_gb=executor.mem_per_worker,
        max_workers_per_node=None if limit == float("inf") else int(limit),
        available_accelerators=executor.accelerators_wanted,
        cpu_affinity=executor.cpu_affinity,
        python_path=(os.path.abspath(sys.path[0] or os.getcwd()), os.getcwd()),
        debug=executor.worker_debug,
    )
    path = Path(executor.logdir).absolute() / "manager.json"
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(msgspec.json.encode(config))
    return path


def export(variables: Mapping[str, str]) -> str:
    """Return shell commands that export these variables, for the beginning of a command line."""
    return "".join(f"export {name}={shlex.quote(value)}; " for name, value in variables.items())


def block_command(command: str) -> str:
    """Return what a block runs, in a shell of the site, so that it becomes the manager.

    The environment of the script is the fallback on its PATH. The age of the shell says how much
    of the walltime is gone already, the time of ``worker_init`` included.
    """
    directory = Path(sys.executable).parent
    age = "$(ps -o etimes= -p $$ 2>/dev/null | tr -d ' ')"
    return f'export PATH="$PATH:{directory}"; export PARSL_PCM_BLOCK_AGE_S={age}; {command}'


def walltime_of(provider: ExecutionProvider) -> dict[str, str]:
    """Return the variable that tells a manager how long its block may live; empty if unknown.

    Parsl hands whole minutes to some schedulers, and HTCondor none at all.
    """
    if not isinstance(provider, ClusterProvider) or isinstance(provider, CondorProvider):
        return {}
    hours, minutes, seconds = (int(part) for part in str(provider.walltime).split(":"))
    whole_minutes_s = (hours * 60 + minutes) * 60
    return {"PARSL_PCM_WALLTIME_S": str(whole_minutes_s or seconds)}
