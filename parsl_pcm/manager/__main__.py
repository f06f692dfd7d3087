"""``parsl-pcm-manager --config FILE --block-id ID``: serve one node for one executor."""

from __future__ import annotations

import argparse
import ctypes
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import msgspec

from parsl_pcm.clock import monotonic_s, wall_s
from parsl_pcm.config import ManagerConfig
from parsl_pcm.manager.agent import Manager
from parsl_pcm.manager.claims import ClaimError, Claims, default_claim_dir
from parsl_pcm.manager.closing import NOTICES
from parsl_pcm.manager.devices import DeviceError, is_assigned
from parsl_pcm.manager.environment import HostSurroundings, make_caches
from parsl_pcm.manager.link import LinkError
from parsl_pcm.manager.node import (
    available_memory_bytes,
    installed_packages,
    node_devices,
    node_resources,
    parsl_version,
    usable_cores,
)
from parsl_pcm.manager.nvml import GpuProcesses
from parsl_pcm.manager.site import num_restarts, remaining_s
from parsl_pcm.manager.starting import HostStarter
from parsl_pcm.types import BlockId, Device, ManagerId, NodeResources
from parsl_pcm.version import VERSION
from parsl_pcm.wire.messages import PROTOCOL_VERSION, RegisterManager

logger = logging.getLogger(__name__)

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)


def main() -> None:
    """Run one manager; the process ends with its exit code."""
    started_s = monotonic_s()
    for signum in NOTICES:
        signal.signal(signum, _end_before_work)
    parser = argparse.ArgumentParser(prog="parsl-pcm-manager", description=__doc__)
    parser.add_argument("--config", required=True, type=Path, help="written by the executor")
    parser.add_argument("--block-id", required=True, help="the block that this node belongs to")
    arguments = parser.parse_args()
    config = msgspec.json.decode(arguments.config.read_bytes(), type=ManagerConfig)
    try:
        sys.exit(_serve(config, BlockId(arguments.block_id), started_s=started_s))
    except (ClaimError, DeviceError, LinkError) as error:
        logger.error("%s", error)
        sys.exit(f"parsl-pcm-manager: {error}")


def _end_before_work(_signum: int, _frame: FrameType | None) -> None:
    """Leave before we have registered; that the site takes its node back is no failure of ours."""
    sys.exit(0)


def _serve(config: ManagerConfig, block_id: BlockId, *, started_s: float) -> int:
    manager_id = ManagerId(os.urandom(6).hex())
    log_dir = _open_log(config, block_id, manager_id)
    _adopt_orphans()
    claims = Claims(default_claim_dir(), os.environ.get("SLURMD_NODENAME", ""))
    wanted = config.available_accelerators
    found = node_devices(os.environ, wanted)
    devices = _claim_devices(found, claims, wanted)
    surroundings = HostSurroundings(
        manager_id=manager_id,
        block_id=block_id,
        device_kinds=frozenset(device.kind for device in found),
        python_path=config.python_path,
        cache_dir=str(default_claim_dir() / "caches"),
    )
    make_caches(Path(surroundings.cache_dir))
    starter = HostStarter(
        config,
        surroundings,
        claims,
        GpuProcesses.open().users,
        log_dir=log_dir,
        environment=dict(os.environ),
    )
    resources = node_resources(
        config,
        os.environ,
        num_cores=len(usable_cores()),
        memory_bytes=available_memory_bytes(),
        devices=devices,
    )
    logger.info("this node offers %s", resources)
    registration = _registration(surroundings, resources, started_s=started_s)
    return Manager(config, registration, starter).run()


def _registration(
    surroundings: HostSurroundings, resources: NodeResources, *, started_s: float
) -> RegisterManager:
    since_start_s = monotonic_s() - started_s
    return RegisterManager(
        protocol_version=PROTOCOL_VERSION,
        manager_id=surroundings.manager_id,
        block_id=surroundings.block_id,
        hostname=socket.gethostname(),
        pid=os.getpid(),
        python_version=f"{sys.version_info.major}.{sys.version_info.minor}",
        parsl_version=parsl_version(),
        pcm_version=VERSION,
        resources=resources,
        packages=installed_packages(),
        remaining_s=remaining_s(os.environ, now_wall_s=wall_s(), since_start_s=since_start_s),
        num_restarts=num_restarts(os.environ),
    )


def _open_log(config: ManagerConfig, block_id: BlockId, manager_id: ManagerId) -> Path:
    """Start logging to a file and return its directory, for the logs of the hosts too."""
    wanted = Path(config.log_dir) / f"block-{block_id}" / manager_id
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        log_dir = wanted
    except OSError as error:
        log_dir = Path(tempfile.mkdtemp(prefix=f"parsl-pcm-{manager_id}-"))
        sys.stderr.write(f"parsl-pcm-manager: cannot use {wanted} ({error}); logs in {log_dir}\n")
    logging.basicConfig(
        filename=log_dir / "manager.log",
        level=logging.DEBUG if config.debug else logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    logger.info("manager %s of block %s on %s", manager_id, block_id, socket.gethostname())
    return log_dir


def _claim_devices(
    found: list[Device], claims: Claims, wanted: Sequence[str] | int | None
) -> list[Device]:
    num_wanted = min(len(found), wanted) if isinstance(wanted, int) else len(found)
    is_ours = is_assigned(os.environ) and (wanted is None or isinstance(wanted, int))
    # Only what the scheduler gave to us alone is worth waiting for.
    claim = claims.claim_assigned_devices if is_ours else claims.claim_devices
    devices = claim(found, num_wanted)
    if len(devices) < num_wanted:
        others = [device.device_id for device in found if device not in devices]
        logger.warning("other managers on this node use %s", ", ".join(others))
    return devices


def _adopt_orphans() -> None:
    """Become the parent of what hosts leave behind, to see when the last of it is gone.

    Only where Linux offers it; elsewhere a host counts as gone a little early.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


if __name__ == "__main__":
    main()
