"""Reading GPUs through NVML, with a fake of the library: the edge of our process."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from parsl_pcm.manager.nvml import GpuProcesses, read_gpus
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

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Any:  # noqa: N802
        slices = [mig for gpu in self._gpus for mig in gpu.get("mig") or () if mig is not None]
        for device in (*self._gpus, *slices):
            if device["uuid"] == uuid:
                return device
        raise self.NVMLError("Not Found")

    def nvmlDeviceGetComputeRunningProcesses(self, handle: Any) -> list[Any]:  # noqa: N802
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in handle["computes"]]

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: Any) -> list[Any]:  # noqa: N802
        if "draws" not in handle:
            raise self.NVMLError("Not Supported")
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in handle["draws"]]

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


def users(*gpus: dict[str, Any], device_id: str = "GPU-1") -> dict[int, int]:
    return dict(GpuProcesses(FakeNvml(*gpus)).users(DeviceId(device_id)))


def test_users_of_a_gpu_are_those_that_compute_and_those_that_draw() -> None:
    gpu = {"uuid": "GPU-1", "computes": [(7, 100), (8, 200)], "draws": [(9, 50)]}
    assert users(gpu) == {7: 100, 8: 200, 9: 50}


def test_user_that_computes_and_draws_counts_once() -> None:
    gpu = {"uuid": "GPU-1", "computes": [(7, 100)], "draws": [(7, 100)]}
    assert users(gpu) == {7: 100}


def test_user_whose_bytes_are_not_told_is_there_all_the_same() -> None:
    assert users({"uuid": "GPU-1", "computes": [(7, None)], "draws": []}) == {7: 0}


def test_slice_has_its_own_users_though_it_knows_of_no_graphics() -> None:
    slices = [
        {"uuid": "MIG-1", "computes": [(7, 5)]},
        None,
        {"uuid": "MIG-2", "computes": [(8, 6)]},
    ]
    gpu = {"uuid": "GPU-1", "mig": slices, "computes": [(7, 5), (8, 6)]}
    assert users(gpu, device_id="MIG-2") == {8: 6}


def test_nobody_is_known_to_use_what_the_driver_does_not_know() -> None:
    assert users({"uuid": "GPU-1", "computes": []}, device_id="0") == {}
    assert GpuProcesses(None).users(DeviceId("GPU-1")) == {}
