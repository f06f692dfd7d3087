"""Reading AMD GPUs from the files of the kernel's driver."""

from __future__ import annotations

from pathlib import Path

from parsl_pcm.manager.rocm import find_gpus


def add_node(nodes: Path, number: int, properties: str, *banks: str) -> None:
    (nodes / str(number) / "mem_banks").mkdir(parents=True)
    (nodes / str(number) / "properties").write_text(properties)
    for index, bank in enumerate(banks):
        (nodes / str(number) / "mem_banks" / str(index)).mkdir()
        (nodes / str(number) / "mem_banks" / str(index) / "properties").write_text(bank)


def test_gpus_are_found_in_order_and_cpus_left_out(tmp_path: Path) -> None:
    gpu = "simd_count 440\ngfx_target_version 90010\nunique_id {}\n"
    add_node(tmp_path, 0, "cpu_cores_count 64\nsimd_count 0\n", "heap_type 0\nsize_in_bytes 9\n")
    add_node(tmp_path, 10, gpu.format(255), "heap_type 1\nsize_in_bytes 64000\nflags 0\n")
    add_node(tmp_path, 2, gpu.format(0), "heap_type 2\nsize_in_bytes 32000\n")
    devices = [gpu.device for gpu in find_gpus(tmp_path)]
    assert [device.device_id for device in devices] == ["0", "GPU-00000000000000ff"]
    assert [device.memory_bytes for device in devices] == [32000, 64000]
    assert {device.name for device in devices} == {"AMD gfx90a"}
    assert {device.kind for device in devices} == {"rocm"}


def test_gpu_of_another_job_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()  # the kernel refuses to read its properties
    assert find_gpus(tmp_path) == []


def test_node_without_the_driver_has_none(tmp_path: Path) -> None:
    assert find_gpus(tmp_path / "absent") == []
