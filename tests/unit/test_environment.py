"""The environment variables of hosts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from parsl_pcm.manager.environment import (
    HostSurroundings,
    host_environment,
    make_caches,
    own_variables,
    spare_environment,
)
from parsl_pcm.types import BlockId, ContextKey, DeviceId, HostId, ManagerId, Requirements
from parsl_pcm.wire.messages import StartHost


def start_order(
    *,
    device_ids: tuple[str, ...] = (),
    env: dict[str, str] | None = None,
    gpu_memory_bytes: int | None = None,
) -> StartHost:
    return StartHost(
        host_id=HostId(3),
        context_key=ContextKey("key"),
        name="llm",
        requirements=Requirements(gpus=len(device_ids), gpu_memory_bytes=gpu_memory_bytes),
        device_ids=tuple(map(DeviceId, device_ids)),
        recipes=None,
        env=env or {},
    )


def surroundings(*kinds: str, python_path: tuple[str, ...] = ()) -> HostSurroundings:
    return HostSurroundings(
        manager_id=ManagerId("m1"),
        block_id=BlockId("0"),
        device_kinds=frozenset(kinds),
        python_path=python_path,
        cache_dir="/local/caches",
    )


def environment(
    inherited: dict[str, str] | None = None,
    *,
    kinds: tuple[str, ...] = (),
    python_path: tuple[str, ...] = (),
    num_threads: int | None = None,
    **order: Any,
) -> dict[str, str]:
    return host_environment(
        inherited or {},
        start_order(**order),
        surroundings(*kinds, python_path=python_path),
        num_threads=num_threads,
    )


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


def test_budget_of_device_memory_is_told_if_there_is_one() -> None:
    seen = environment(kinds=("cuda",), device_ids=("GPU-a",), gpu_memory_bytes=12 * 10**9)
    assert seen["PARSL_PCM_GPU_MEMORY_BYTES"] == "12000000000"


def test_host_with_a_device_of_its_own_has_no_budget_not_even_an_inherited_one() -> None:
    inherited = {"PARSL_PCM_GPU_MEMORY_BYTES": "5"}
    seen = environment(inherited, kinds=("cuda",), device_ids=("GPU-a",))
    assert "PARSL_PCM_GPU_MEMORY_BYTES" not in seen


def test_compilers_keep_their_work_on_the_node() -> None:
    seen = environment()
    assert seen["VLLM_CACHE_ROOT"] == "/local/caches/vllm"
    assert seen["TORCHINDUCTOR_CACHE_DIR"] == "/local/caches/inductor"
    assert seen["TRITON_CACHE_DIR"] == "/local/caches/triton"
    assert seen["CUDA_CACHE_PATH"] == "/local/caches/cuda"


def test_caches_of_the_site_and_of_the_recipe_stay() -> None:
    site = {"VLLM_CACHE_ROOT": "/scratch/vllm", "CUDA_CACHE_PATH": "/scratch/cuda"}
    seen = environment(site, env={"CUDA_CACHE_PATH": "/mine"})
    assert seen["VLLM_CACHE_ROOT"] == "/scratch/vllm"
    assert seen["CUDA_CACHE_PATH"] == "/mine"


def test_directories_of_caches_are_there(tmp_path: Path) -> None:
    make_caches(tmp_path / "caches")
    make_caches(tmp_path / "caches")  # by the second manager of this node
    names = {path.name for path in (tmp_path / "caches").iterdir()}
    assert names == {"vllm", "inductor", "triton", "cuda"}


def test_node_without_room_for_caches_serves_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    make_caches(tmp_path / "file" / "caches")
    assert "cannot be kept" in caplog.text


def test_spare_is_like_the_host_but_sees_no_device_and_has_no_rank() -> None:
    order = start_order(device_ids=("GPU-a",), env={"MINE": "yes"}, gpu_memory_bytes=5)
    node = surroundings("cuda", python_path=("/c",))
    inherited = {"CUDA_VISIBLE_DEVICES": "0,1"}
    spare = spare_environment(inherited, order, node, num_threads=None)
    assert spare["CUDA_VISIBLE_DEVICES"] == ""
    assert not spare.keys() & {"PARSL_WORKER_RANK", "PARSL_PCM_GPU_MEMORY_BYTES"}
    assert spare["MINE"] == "yes"
    host = host_environment(inherited, order, node, num_threads=None)
    assert spare | own_variables(order, node) == host
