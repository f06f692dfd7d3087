"""NVIDIA GPUs as NVML, the driver's own library, shows them."""

from __future__ import annotations

import contextlib
import ctypes
import logging
from collections.abc import Mapping
from typing import Any

from parsl_pcm.manager.devices import Gpu
from parsl_pcm.types import Device, DeviceId

logger = logging.getLogger(__name__)


def find_gpus() -> list[Gpu]:
    """Return all GPUs in the order of their PCI bus numbers; none where there is no driver."""
    nvml = _open()
    if nvml is None:
        return []
    try:
        return read_gpus(nvml)
    finally:
        nvml.nvmlShutdown()


class GpuProcesses:
    """Who uses which GPU, and how much of its memory.

    Parameters
    ----------
    nvml
        The module :mod:`pynvml`, initialized, for as long as this lives; None: nobody can tell.
    """

    def __init__(self, nvml: Any | None) -> None:
        self._nvml = nvml

    @classmethod
    def open(cls) -> GpuProcesses:
        """Connect to the driver, if there is one, until the process ends."""
        return cls(_open())

    def users(self, device_id: DeviceId) -> Mapping[int, int]:
        """Return the bytes that each process uses of a GPU or MIG slice, by its number.

        Empty where the driver does not say. Within a container it may number processes as the
        machine does, so that nobody knows them; a process whose bytes it does not tell has 0.
        """
        if self._nvml is None:
            return {}
        try:
            return read_users(self._nvml, device_id)
        except self._nvml.NVMLError as error:
            logger.debug("the NVIDIA driver does not say who uses %s: %s", device_id, error)
            return {}


def read_users(nvml: Any, device_id: DeviceId) -> dict[int, int]:
    """Read who uses a GPU or MIG slice; one that computes and draws counts once.

    Raises
    ------
    NVMLError
        If the driver does not know the device, or does not tell.
    """
    handle = nvml.nvmlDeviceGetHandleByUUID(device_id)
    processes = list(nvml.nvmlDeviceGetComputeRunningProcesses(handle))
    with contextlib.suppress(nvml.NVMLError):  # not all slices know of graphics
        processes += nvml.nvmlDeviceGetGraphicsRunningProcesses(handle)
    users: dict[int, int] = {}
    for process in processes:
        num_bytes = process.usedGpuMemory or 0
        users[process.pid] = max(num_bytes, users.get(process.pid, 0))
    return users


def _open() -> Any | None:
    """Return the module :mod:`pynvml`, initialized; None if there is no driver that answers."""
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    import pynvml  # 50 ms: only where there is a driver

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        logger.warning("the NVIDIA driver does not answer (%s); going on without GPUs", error)
        return None
    return pynvml


def read_gpus(nvml: Any) -> list[Gpu]:
    """Read all GPUs through an initialized NVML; its order is that of the PCI bus numbers.

    Parameters
    ----------
    nvml
        The module :mod:`pynvml`.
    """
    return [_read_gpu(nvml, i) for i in range(nvml.nvmlDeviceGetCount())]


def _read_gpu(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    capability = float(f"{major}.{minor}")
    is_mig_enabled = _is_mig_enabled(nvml, handle)
    return Gpu(
        device=_read_device(nvml, handle, capability),
        mig_devices=_read_mig_devices(nvml, handle, capability) if is_mig_enabled else (),
        is_mig_enabled=is_mig_enabled,
    )


def _is_mig_enabled(nvml: Any, handle: Any) -> bool:
    try:
        current, _pending = nvml.nvmlDeviceGetMigMode(handle)
    except nvml.NVMLError:  # GPUs before Ampere do not know the question
        return False
    return bool(current == nvml.NVML_DEVICE_MIG_ENABLE)


def _read_mig_devices(nvml: Any, gpu: Any, capability: float) -> tuple[Device, ...]:
    devices = []
    for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(gpu)):
        try:
            handle = nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, index)
        except nvml.NVMLError:  # this place for a slice is not taken
            continue
        devices.append(_read_device(nvml, handle, capability))
    return tuple(devices)


def _read_device(nvml: Any, handle: Any, capability: float) -> Device:
    return Device(
        device_id=DeviceId(_text(nvml.nvmlDeviceGetUUID(handle))),
        kind="cuda",
        name=_text(nvml.nvmlDeviceGetName(handle)),
        memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
        compute_capability=capability,
    )


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
