"""The environment variables of hosts."""

from __future__ import annotations

from parsl_pcm.manager.environment import HostSurroundings, host_environment
from parsl_pcm.types import BlockId, ContextKey, DeviceId, HostId, ManagerId, Requirements
from parsl_pcm.wire.messages import StartHost


def environment(
    inherited: dict[str, str] | None = None,
    *,
    kinds: tuple[str, ...] = (),
    device_ids: tuple[str, ...] = (),
    env: dict[str, str] | None = None,
    python_path: tuple[str, ...] = (),
    num_threads: int | None = None,
) -> dict[str, str]:
    start = StartHost(
        host_id=HostId(3),
        context_key=ContextKey("key"),
        name="llm",
        requirements=Requirements(),
        device_ids=tuple(map(DeviceId, device_ids)),
        recipes=None,
        env=env or {},
    )
    surroundings = HostSurroundings(
        manager_id=ManagerId("m1"),
        block_id=BlockId("0"),
        device_kinds=frozenset(kinds),
        python_path=python_path,
    )
    return host_environment(inherited or {}, start, surroundings, num_threads=num_threads)


def test_host_knows_its_place() -> None:
    seen = environment({"PATH": "/bin"})
    assert seen["PATH"] == "/bin"
    assert seen["PARSL_WORKER_RANK"] == "3"
    assert seen["PARSL_WORKER_BLOCK_ID"] == "0"
    assert seen["PARSL_WORKER_POOL_ID"] == "m1"


def test_gpu_host_sees_its_devices_by_uuid() -> None:
    seen = environment(
        {"CUDA_VISIBLE_DEVICES": "0,1"}, kinds=("cuda",), device_ids=("GPU-a", "MIG-b")
    )
    assert seen["CUDA_VISIBLE_DEVICES"] == "GPU-a,MIG-b"
    assert seen["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


def test_cpu_host_on_a_gpu_node_sees_no_device() -> None:
    assert environment({"CUDA_VISIBLE_DEVICES": "0"}, kinds=("cuda",))["CUDA_VISIBLE_DEVICES"] == ""


def test_node_without_devices_is_left_alone() -> None:
    assert "CUDA_VISIBLE_DEVICES" not in environment()


def test_amd_host_sees_its_devices_without_a_second_filter() -> None:
    seen = environment({"HIP_VISIBLE_DEVICES": "1"}, kinds=("rocm",), device_ids=("GPU-b",))
    assert seen["ROCR_VISIBLE_DEVICES"] == "GPU-b"
    assert "HIP_VISIBLE_DEVICES" not in seen
    assert "CUDA_VISIBLE_DEVICES" not in seen


def test_recipe_cannot_take_other_devices() -> None:
    seen = environment(
        kinds=("cuda",), device_ids=("GPU-a",), env={"CUDA_VISIBLE_DEVICES": "0,1,2,3"}
    )
    assert seen["CUDA_VISIBLE_DEVICES"] == "GPU-a"


def test_threads_are_those_of_recipe_then_site_then_ours() -> None:
    assert environment(num_threads=4)["OMP_NUM_THREADS"] == "4"
    assert environment({"OMP_NUM_THREADS": "2"}, num_threads=4)["OMP_NUM_THREADS"] == "2"
    recipe = {"OMP_NUM_THREADS": "1"}
    assert environment({"OMP_NUM_THREADS": "2"}, env=recipe, num_threads=4)["OMP_NUM_THREADS"] == (
        "1"
    )
    assert "OMP_NUM_THREADS" not in environment(num_threads=None)


def test_python_path_of_the_user_comes_last() -> None:
    assert environment({"PYTHONPATH": "/a:/b"}, python_path=("/c", "/d"))["PYTHONPATH"] == (
        "/a:/b:/c:/d"
    )
    assert environment(python_path=("/c",))["PYTHONPATH"] == "/c"
