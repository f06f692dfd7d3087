"""What a node offers."""

from __future__ import annotations

from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import parsl
import pytest

from parsl_pcm.config import ManagerConfig
from parsl_pcm.manager import nvml, rocm
from parsl_pcm.manager.devices import Gpu
from parsl_pcm.manager.node import (
    installed_packages,
    node_devices,
    node_resources,
    parsl_version,
)
from parsl_pcm.types import Device, DeviceId, NodeResources

GIB = 2**30


A10 = {
    "SLURM_JOB_GPUS": "1",
    "CUDA_VISIBLE_DEVICES": "1",
    "PARSL_PCM_GPU": '{"name": "a10", "memory_bytes": 24000000000}',
}


def test_driver_knows_better_than_the_flavour(monkeypatch: pytest.MonkeyPatch) -> None:
    h100 = [
        Device(device_id=DeviceId(uuid), kind="cuda", name="H100", memory_bytes=80 * GIB)
        for uuid in ("GPU-aa", "GPU-bb")
    ]
    monkeypatch.setattr(nvml, "find_gpus", lambda: [Gpu(device=device) for device in h100])
    assert node_devices(A10, None) == [h100[1]]
    assert node_devices(A10, 1) == [h100[1]]


def test_flavour_stands_in_for_a_driver_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nvml, "find_gpus", lambda: [])
    monkeypatch.setattr(rocm, "find_gpus", lambda: [])
    (device,) = node_devices(A10, 1)
    assert (device.device_id, device.name, device.memory_bytes) == ("1", "a10", 24 * 10**9)


def resources(
    environment: dict[str, str] | None = None, *, num_cores: int = 8, **changes: Any
) -> NodeResources:
    settings: dict[str, Any] = {
        "label": "pcm",
        "addresses": ("127.0.0.1",),
        "worker_port": 1,
        "cert_dir": None,
        "log_dir": "/tmp",
        "heartbeat_period_s": 1.0,
        "heartbeat_threshold_s": 1.0,
        "address_probe_timeout_s": 1.0,
        "cores_per_worker": 1.0,
        "mem_per_worker_gb": None,
        "max_workers_per_node": None,
        "available_accelerators": None,
        "cpu_affinity": "block",
    }
    config = ManagerConfig(**(settings | changes))
    return node_resources(
        config, environment or {}, num_cores=num_cores, memory_bytes=16 * GIB, devices=()
    )


@pytest.mark.parametrize(
    ("changes", "cores", "max_hosts"),
    [
        ({}, 8, None),
        ({"cores_per_worker": 3.0}, 6, None),
        ({"cores_per_worker": 0.5}, 8, None),
        ({"cores_per_worker": 16.0}, 0, None),
        ({"max_workers_per_node": 2}, 2, 2),
        ({"max_workers_per_node": 2, "cores_per_worker": 2.0}, 4, 2),
        ({"mem_per_worker_gb": 4.0}, 4, 4),
        ({"mem_per_worker_gb": 4.0, "max_workers_per_node": 3}, 3, 3),
        ({"mem_per_worker_gb": 32.0}, 0, 0),
    ],
)
def test_slots_are_bounded_as_in_htex(
    changes: dict[str, Any], cores: float, max_hosts: int | None
) -> None:
    offered = resources(**changes)
    assert offered.cores == cores
    assert offered.max_hosts == max_hosts


def test_hints_of_the_provider_replace_what_was_found() -> None:
    hints = {"PARSL_CORES": "4", "PARSL_MEMORY_GB": "2.5"}
    offered = resources(hints, mem_per_worker_gb=1.0)
    assert offered.cores == 2
    assert offered.memory_bytes == int(2.5 * GIB)


def test_empty_hints_are_none() -> None:
    assert resources({"PARSL_CORES": "", "PARSL_MEMORY_GB": ""}).cores == 8


def test_packages_are_those_of_importlib_metadata() -> None:
    names = {_normal(distribution.metadata["Name"]) for distribution in distributions()}
    found = {_normal(name) for name in installed_packages()}
    assert found <= names
    assert names - found <= {"parsl-pcm"}  # a checkout has no version in the name of its directory


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def test_first_directory_of_the_path_wins(tmp_path: Path) -> None:
    for directory, version in (("a", "2.0"), ("b", "1.0")):
        (tmp_path / directory / f"Some_Thing-{version}.dist-info").mkdir(parents=True)
    (tmp_path / "b" / "old-0.1-py3.8.egg-info").mkdir()
    (tmp_path / "b" / "nameonly.egg-info").mkdir()
    path = [str(tmp_path / name) for name in ("a", "absent", "b")]
    assert installed_packages(path) == {"some-thing": "2.0", "old": "0.1"}


def test_parsl_version_is_read_without_importing_parsl() -> None:
    assert parsl_version() == parsl.__version__
