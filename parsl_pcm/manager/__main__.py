"""``parsl-pcm-manager --config FILE --block-id ID``: serve one node for one executor."""

from __future__ import annotations

import argparse
import ctypes
import logging
import os
import socket
import sys
import tempfile
from pathlib import Path

import msgspec

from parsl_pcm.config import ManagerConfig
from parsl_pcm.manager.agent import Manager
from parsl_pcm.manager.claims import ClaimError, Claims, default_claim_dir
from parsl_pcm.manager.devices import DeviceError
from parsl_pcm.manager.environment import HostSurroundings
from parsl_pcm.manager.link import LinkError
from parsl_pcm.manager.node import (
    available_memory_bytes,
    installed_packages,
    node_devices,
    node_resources,
    parsl_version,
    usable_cores,
)
from parsl_pcm.manager.starting import HostStarter
from parsl_pcm.types import BlockId, Device, ManagerId, NodeResources
from parsl_pcm.version import VERSION
from parsl_pcm.wire.messages import PROTOCOL_VERSION, RegisterManager

logger = logging.getLogger(__name__)

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)


def main() -> None:
    """Run one manager; the process ends with its exit code."""
    parser = argparse.ArgumentParser(prog="parsl-pcm-manager", description=__doc__)
    parser.add_argument("--config", required=True, type=Path, help="written by the executor")
    parser.add_argument("--block-id", required=True, help="the block that this node belongs to")
    arguments = parser.parse_args()
    config = msgspec.json.decode(arguments.config.read_bytes(), type=ManagerConfig)
    try:
        sys.exit(_serve(config, BlockId(arguments.block_id)))
    except (ClaimError, DeviceError, LinkError) as error:
        logger.error("%s", error)
        sys.exit(f"parsl-pcm-manager: {error}")


def _serve(config: ManagerConfig, block_id: BlockId) -> int:
    manager_id = ManagerId(os.urandom(6).hex())
    log_dir = _open_log(config, block_id, manager_id)
    _adopt_orphans()
    claims = Claims(default_claim_dir())
    found = node_devices(os.environ, config.available_accelerators)
    devices = _claim_devices(found, claims)
    surroundings = HostSurroundings(
        manager_id=manager_id,
        block_id=block_id,
        device_kinds=frozenset(device.kind for device in found),
        python_path=config.python_path,
    )
    starter = HostStarter(
        config, surroundings, claims, log_dir=log_dir, environment=dict(os.environ)
    )
    resources = node_resources(
        config,
        os.environ,
        num_cores=len(usable_cores()),
        memory_bytes=available_memory_bytes(),
        devices=devices,
    )
    logger.info("this node offers %s", resources)
    return Manager(config, _registration(surroundings, resources), starter).run()


def _registration(surroundings: HostSurroundings, resources: NodeResources) -> RegisterManager:
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


def _claim_devices(found: list[Device], claims: Claims) -> list[Device]:
    devices = claims.claim_devices(found)
    for device in found:
        if device not in devices:
            logger.warning("%s is left to another manager on this node", device.device_id)
    return devices


def _adopt_orphans() -> None:
    """Become the parent of what hosts leave behind, to see when the last of it is gone.

    Only where Linux offers it; elsewhere a host counts as gone a little early.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


if __name__ == "__main__":
    main()
