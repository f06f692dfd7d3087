"""What an executor tells the other processes at their start."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
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
