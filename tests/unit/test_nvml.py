"""Reading GPUs through NVML, with a fake of the library: the edge of our process."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from parsl_pcm.manager.nvml import read_gpus
from parsl_pcm.types import Device, DeviceId


class FakeNvml:
    """Answers as the module pynvml does, for GPUs given as data."""

    NVML_DEVICE_MIG_ENABLE = 1

    class NVMLError(Exception):
        pass

    def __init__(self, *gpus: dict[str, Any]) -> None:
        self._gpus = gpus

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802 - NVML's name, as below
        return len(self._gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any:  # noqa: N802
        return self._gpus[index]

    def nvmlDeviceGetCudaComputeCapability(self, handle: Any) -> tuple[int, int]:  # noqa: N802
        capability: tuple[int, int] = handle["capability"]
        return capability

    def nvmlDeviceGetMigMode(self, handle: Any) -> tuple[int, int]:  # noqa: N802
        if "mig" not in handle:
            raise self.NVMLError("Not Supported")
        return (1, 1) if handle["mig"] is not None else (0, 0)

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Any) -> int:  # noqa: N802
        return len(handle["mig"])

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Any, index: int) -> Any:  # noqa: N802
        if handle["mig"][index] is None:
            raise self.NVMLError("Not Found")
        return handle["mig"][index]

    def nvmlDeviceGetUUID(self, handle: Any) -> str:  # noqa: N802
        return str(handle["uuid"])

    def nvmlDeviceGetName(self, handle: Any) -> bytes:  # noqa: N802
        return b"NVIDIA A100"  # bytes: older versions of pynvml

    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any:  # noqa: N802
        return SimpleNamespace(total=handle["memory"])


def a100(device_id: str, memory_bytes: int) -> Device:
    return Device(
        device_id=DeviceId(device_id),
        kind="cuda",
        name="NVIDIA A100",
        memory_bytes=memory_bytes,
        compute_capability=8.0,
    )


def test_gpu_that_knows_no_mig_is_read_whole() -> None:
    (gpu,) = read_gpus(FakeNvml({"uuid": "GPU-1", "memory": 40, "capability": (8, 0)}))
    assert gpu.usable == (a100("GPU-1", 40),)


def test_gpu_with_mig_switched_off_is_read_whole() -> None:
    (gpu,) = read_gpus(FakeNvml({"uuid": "GPU-1", "memory": 40, "capability": (8, 0), "mig": None}))
    assert gpu.usable == (a100("GPU-1", 40),)


def test_mig_slices_replace_their_gpu() -> None:
    slices = [{"uuid": "MIG-1", "memory": 5}, None, {"uuid": "MIG-2", "memory": 10}]
    whole = {"uuid": "GPU-1", "memory": 40, "capability": (8, 0), "mig": slices}
    (gpu,) = read_gpus(FakeNvml(whole))
    assert gpu.device == a100("GPU-1", 40)
    assert gpu.usable == (a100("MIG-1", 5), a100("MIG-2", 10))
