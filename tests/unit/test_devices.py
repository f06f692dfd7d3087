"""Choosing among the devices of a node what the site and the user gave us."""

from __future__ import annotations

import pytest

from parsl_pcm.manager.devices import (
    DeviceError,
    Gpu,
    chosen_devices,
    is_assigned,
    unprobed_devices,
    visible_devices,
)
from parsl_pcm.manager.site import GpuFacts
from parsl_pcm.types import Device, DeviceId


def device(device_id: str) -> Device:
    return Device(device_id=DeviceId(device_id), kind="cuda", name="A100", memory_bytes=40 * 10**9)


def gpu(device_id: str, *migs: str) -> Gpu:
    return Gpu(
        device=device(device_id),
        mig_devices=tuple(map(device, migs)),
        is_mig_enabled=bool(migs),
    )


GPUS = [gpu("GPU-8f6c0001"), gpu("GPU-8f6d0002"), gpu("GPU-11110003", "MIG-aa01", "MIG-bb02")]
A, B = "GPU-8f6c0001", "GPU-8f6d0002"
MIGS = ["MIG-aa01", "MIG-bb02"]


def visible(value: str | None) -> list[str]:
    return [device.device_id for device in visible_devices(GPUS, value, "CUDA_VISIBLE_DEVICES")]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, [A, B, *MIGS]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("0", [A]),
        ("1,0", [B, A]),
        (" 1 , 0 ", [B, A]),
        ("0,-1,1", [A]),
        ("0,0", [A]),
        (f"{B},{A}", [B, A]),
        ("GPU-8f6c", [A]),
        ("gpu-8F6D", [B]),
        ("MIG-bb02", ["MIG-bb02"]),
        ("MIG-b", ["MIG-bb02"]),
        ("2", MIGS),
        ("GPU-1111", MIGS),
        ("MIG-aa01,0", ["MIG-aa01", A]),
    ],
)
def test_visible_devices_are_read_as_cuda_reads_them(
    value: str | None, expected: list[str]
) -> None:
    assert visible(value) == expected


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("3", "names device 3, but this node has 3, counted from 0"),
        ("GPU-ffff", "no device of this node fits 'GPU-ffff'"),
        ("GPU-8f6", "2 devices of this node fits 'GPU-8f6'"),
        ("all", "no device of this node fits 'all'"),
        ("0,7", "CUDA_VISIBLE_DEVICES=0,7 names device 7"),
    ],
)
def test_wrong_entry_is_named_with_what_there_is(value: str, complaint: str) -> None:
    with pytest.raises(DeviceError) as caught:
        visible(value)
    assert complaint in str(caught.value)
    assert f"{A}: A100" in str(caught.value)


def test_node_without_gpus_has_none_to_show() -> None:
    assert visible_devices([], None, "CUDA_VISIBLE_DEVICES") == []


def test_mig_mode_without_slices_offers_nothing() -> None:
    bare = Gpu(device=device(A), is_mig_enabled=True)
    assert visible_devices([bare], None, "CUDA_VISIBLE_DEVICES") == []


@pytest.mark.parametrize(
    ("value", "wanted", "expected"),
    [
        ("1", None, [B]),
        ("0,1", 1, [A, B]),
        ("1", 1, [B]),
        (None, 2, [A, B, *MIGS]),
        ("0", ("1",), [B]),
        (None, ("0,1",), [A, B]),
        (None, ("0", "0", "1", "1"), [A, B]),
        (None, (), []),
        ("", 0, []),
        ("", ("GPU-8f6d",), [B]),
    ],
)
def test_names_replace_the_choice_and_a_number_leaves_it(
    value: str | None, wanted: tuple[str, ...] | int | None, expected: list[str]
) -> None:
    assert [d.device_id for d in chosen_devices(GPUS, value, wanted, "CUDA")] == expected


def test_more_accelerators_than_given_is_an_error() -> None:
    with pytest.raises(DeviceError, match="available_accelerators=2, but this node gave us 1"):
        chosen_devices(GPUS, "0", 2, "CUDA")


def test_wrong_accelerator_names_the_option() -> None:
    with pytest.raises(DeviceError, match="available_accelerators=9 names device 9"):
        chosen_devices(GPUS, None, ("9",), "CUDA")


UNKNOWN = GpuFacts()
SLURM = {"SLURM_JOB_GPUS": "1", "CUDA_VISIBLE_DEVICES": "1", "ROCR_VISIBLE_DEVICES": "1"}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [(None, []), (0, []), (2, ["0", "1"]), (("a", "b", "a"), ["a", "b"])],
)
def test_without_driver_and_scheduler_the_user_is_believed(
    wanted: tuple[str, ...] | int | None, expected: list[str]
) -> None:
    devices = unprobed_devices({"CUDA_VISIBLE_DEVICES": "5"}, wanted, UNKNOWN)
    assert [d.device_id for d in devices] == expected
    assert all(d.memory_bytes == 0 for d in devices)


@pytest.mark.parametrize("wanted", [None, 1])
def test_without_driver_a_block_uses_the_gpu_that_the_scheduler_gave_it(wanted: int | None) -> None:
    (device,) = unprobed_devices(SLURM, wanted, UNKNOWN)
    assert (device.device_id, device.kind) == ("1", "cuda")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"SLURM_GPUS_ON_NODE": "2", "CUDA_VISIBLE_DEVICES": "3,2"}, ["3", "2"]),
        ({"SLURM_STEP_GPUS": "0", "ROCR_VISIBLE_DEVICES": "0"}, ["0"]),
        ({"_CONDOR_AssignedGPUs": "GPU-b2c", "CUDA_VISIBLE_DEVICES": "GPU-b2c"}, ["GPU-b2c"]),
        ({"SGE_HGR_gpu_card": "1", "CUDA_VISIBLE_DEVICES": "1"}, ["1"]),
        ({"PBS_JOBID": "7.server", "CUDA_VISIBLE_DEVICES": "GPU-b2c"}, ["GPU-b2c"]),
        ({"SLURM_JOB_GPUS": "", "CUDA_VISIBLE_DEVICES": "0"}, []),
        ({"SLURM_JOB_GPUS": "0", "CUDA_VISIBLE_DEVICES": "NoDevFiles"}, []),
        ({"SLURM_JOB_GPUS": "0"}, []),
    ],
)
def test_every_scheduler_that_shows_its_assignment_is_believed(
    environment: dict[str, str], expected: list[str]
) -> None:
    assert [d.device_id for d in unprobed_devices(environment, None, UNKNOWN)] == expected


def test_amd_gpus_keep_their_kind() -> None:
    environment = {"SLURM_JOB_GPUS": "0", "ROCR_VISIBLE_DEVICES": "0"}
    assert [d.kind for d in unprobed_devices(environment, None, UNKNOWN)] == ["rocm"]


def test_names_of_the_user_stand_above_the_assignment() -> None:
    assert [d.device_id for d in unprobed_devices(SLURM, ("0",), UNKNOWN)] == ["0"]


def test_more_than_the_scheduler_gave_is_an_error() -> None:
    with pytest.raises(DeviceError, match="available_accelerators=2, but this node gave us 1"):
        unprobed_devices(SLURM, 2, UNKNOWN)


def test_facts_of_the_flavour_stand_in_for_the_driver() -> None:
    facts = GpuFacts(name="a10", memory_bytes=24 * 10**9, compute_capability=8.6)
    (device,) = unprobed_devices(SLURM, None, facts)
    assert (device.name, device.memory_bytes) == ("a10", 24 * 10**9)
    assert device.compute_capability == 8.6


def test_assignment_shows_in_the_environment_only_if_it_has_a_value() -> None:
    assert is_assigned(SLURM)
    assert is_assigned({"SGE_HGR_gpu": "0", "ROCR_VISIBLE_DEVICES": "0"})
    assert not is_assigned({"SLURM_JOB_GPUS": "", "CUDA_VISIBLE_DEVICES": "0"})
    assert not is_assigned({"PBS_JOBID": "7.server"})
    assert not is_assigned({"CUDA_VISIBLE_DEVICES": "0"})
