"""AMD GPUs as the kernel's driver (amdkfd) shows them below /sys."""

from __future__ import annotations

from pathlib import Path

from parsl_pcm.manager.devices import Gpu
from parsl_pcm.types import Device, DeviceId

_NODES = Path("/sys/class/kfd/kfd/topology/nodes")
_DEVICE_MEMORY_HEAPS = (1, 2)
"""Heap types of memory on the device, visible to the host or not (kfd_sysfs.h)."""


def find_gpus(nodes: Path = _NODES) -> list[Gpu]:
    """Return all AMD GPUs that this process may open, in the order that ROCm counts them."""
    if not nodes.is_dir():
        return []
    numbers = sorted(int(path.name) for path in nodes.iterdir() if path.name.isdecimal())
    gpus: list[Gpu] = []
    for number in numbers:
        device = _read_device(nodes / str(number), index=len(gpus))
        if device is not None:
            gpus.append(Gpu(device=device))
    return gpus


def _read_device(node: Path, *, index: int) -> Device | None:
    properties = _read_properties(node / "properties")
    if not properties.get("simd_count"):  # a CPU, or a GPU of somebody else's job
        return None
    unique_id = properties.get("unique_id")
    return Device(
        device_id=DeviceId(f"GPU-{unique_id:016x}" if unique_id else str(index)),
        kind="rocm",
        name=f"AMD gfx{_gfx_version(properties.get('gfx_target_version', 0))}",
        memory_bytes=_memory_bytes(node),
    )


def _memory_bytes(node: Path) -> int:
    banks = [_read_properties(path) for path in sorted(node.glob("mem_banks/*/properties"))]
    return sum(
        bank.get("size_in_bytes", 0)
        for bank in banks
        if bank.get("heap_type") in _DEVICE_MEMORY_HEAPS
    )


def _gfx_version(number: int) -> str:
    """Return for example 90a for 90010: major, minor and (in hexadecimal) stepping."""
    return f"{number // 10000}{number // 100 % 100}{number % 100:x}"


def _read_properties(path: Path) -> dict[str, int]:
    try:
        lines = path.read_text().splitlines()
    except OSError:  # the kernel refuses nodes that the job's cgroup does not include
        return {}
    pairs = (line.split() for line in lines)
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}
