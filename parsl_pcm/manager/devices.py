"""Which accelerators are ours: those that the site gave to this job, and the user left to us.

Pure: finding out what the node has is :mod:`~parsl_pcm.manager.nvml` and
:mod:`~parsl_pcm.manager.rocm`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile

from msgspec import Struct

from parsl_pcm.manager.site import GpuFacts
from parsl_pcm.types import Device, DeviceId

_ASSIGNMENTS = (
    "SLURM_JOB_GPUS",
    "SLURM_STEP_GPUS",
    "SLURM_GPUS_ON_NODE",
    "_CONDOR_AssignedGPUs",
    "SGE_HGR_gpu",  # what a site calls it beyond that differs, so this is a beginning
    "PBS_JOBID",  # its cgroups hook says nothing but CUDA_VISIBLE_DEVICES
)
"""Beginnings of variables by which a scheduler shows that it gave GPUs to a job."""
_VISIBILITY = {"CUDA_VISIBLE_DEVICES": "cuda", "ROCR_VISIBLE_DEVICES": "rocm"}
"""Kind of the devices that a variable shows; Slurm sets both, whatever the GPUs are."""


class DeviceError(ValueError):
    """The site or the user named a device that this node does not have."""


class Gpu(Struct, frozen=True, kw_only=True):
    """One physical accelerator of the node, ours or not."""

    device: Device
    mig_devices: tuple[Device, ...] = ()
    """Its slices if it is in MIG mode; then only they can be used."""
    is_mig_enabled: bool = False

    @property
    def usable(self) -> tuple[Device, ...]:
        """What a process can compute on."""
        return self.mig_devices if self.is_mig_enabled else (self.device,)


def chosen_devices(
    gpus: Sequence[Gpu], visible: str | None, wanted: Sequence[str] | int | None, family: str
) -> list[Device]:
    """Return the devices that we may choose from, or those that the user names instead.

    Parameters
    ----------
    gpus
        All of the node, in the order of their PCI bus numbers: what indices count.
    visible
        Value of ``{family}_VISIBLE_DEVICES``; None if it is not set.
    wanted
        ``available_accelerators`` of the executor: None for all, how many of those that the site
        shows, or these alone, whatever the site shows, as in HTEX.

    Raises
    ------
    DeviceError
        If a device is named that the node does not have, or there are fewer than wanted.
    """
    if wanted is not None and not isinstance(wanted, int):
        return visible_devices(gpus, ",".join(wanted), "available_accelerators")
    ours = visible_devices(gpus, visible, f"{family}_VISIBLE_DEVICES")
    _check_number(ours, wanted)
    return ours


def visible_devices(gpus: Sequence[Gpu], visible: str | None, source: str) -> list[Device]:
    """Return the devices that a value of ``CUDA_VISIBLE_DEVICES`` shows, each once.

    Parameters
    ----------
    visible
        Indices, UUIDs or beginnings of UUIDs, separated by commas. None: all. Empty: none. As for
        CUDA, ``-1`` (and ``NoDevFiles``, which Slurm sets) hides everything from there on.
    source
        Where the value comes from, for the error message.
    """
    if visible is None:
        return [device for gpu in gpus for device in gpu.usable]
    setting = f"{source}={visible}"
    devices = [device for entry in _entries(visible) for device in _named(gpus, entry, setting)]
    return list(dict.fromkeys(devices))


def is_assigned(environment: Mapping[str, str]) -> bool:
    """Return whether a scheduler gave GPUs to this job, and to nobody else, and says which."""
    has_sign = any(name.startswith(_ASSIGNMENTS) and environment[name] for name in environment)
    return has_sign and any(environment.get(variable) for variable in _VISIBILITY)


def unprobed_devices(
    environment: Mapping[str, str], wanted: Sequence[str] | int | None, facts: GpuFacts
) -> list[Device]:
    """Return the devices that we may choose from where no driver that we can ask shows any.

    The scheduler is believed if it gave us some, else the user.

    Raises
    ------
    DeviceError
        If the scheduler gave us fewer than wanted.
    """
    if wanted is not None and not isinstance(wanted, int):
        return _believed(wanted, "cuda", facts)
    assigned = _assigned(environment, facts)
    if assigned:
        _check_number(assigned, wanted)
        return assigned
    return _believed([str(i) for i in range(wanted or 0)], "cuda", facts)


def _assigned(environment: Mapping[str, str], facts: GpuFacts) -> list[Device]:
    if not is_assigned(environment):
        return []
    for variable, kind in _VISIBILITY.items():
        if names := _entries(environment.get(variable, "")):
            return _believed(names, kind, facts)
    return []


def _believed(names: Sequence[str], kind: str, facts: GpuFacts) -> list[Device]:
    return [
        Device(
            device_id=DeviceId(name),
            kind=kind,
            name=facts.name or "unknown accelerator",
            memory_bytes=facts.memory_bytes or 0,
            compute_capability=facts.compute_capability,
        )
        for name in dict.fromkeys(names)
    ]


def _entries(visible: str) -> list[str]:
    """Return what is named up to the first entry that hides all behind it."""
    entries = (part.strip() for part in visible.split(","))
    return list(takewhile(lambda entry: entry not in ("", "-1", "NoDevFiles"), entries))


def _check_number(ours: Sequence[Device], wanted: int | None) -> None:
    if wanted is not None and wanted > len(ours):
        raise DeviceError(
            f"available_accelerators={wanted}, but this node gave us {len(ours)} devices"
            f"{_listing(ours)}; lower it, or leave it out to use what there is"
        )


def _named(gpus: Sequence[Gpu], entry: str, setting: str) -> tuple[Device, ...]:
    if entry.isdecimal():
        if int(entry) >= len(gpus):
            raise DeviceError(
                f"{setting} names device {entry}, but this node has {len(gpus)}, counted from 0"
                f"{_listing([gpu.device for gpu in gpus])}; correct it in worker_init or the "
                "batch options"
            )
        return gpus[int(entry)].usable
    matches = [gpu.usable for gpu in gpus if _fits(gpu.device, entry)]
    matches += [(mig,) for gpu in gpus for mig in gpu.mig_devices if _fits(mig, entry)]
    if len(matches) == 1:
        return matches[0]
    everything = [device for gpu in gpus for device in (gpu.device, *gpu.mig_devices)]
    problem = "no device" if not matches else f"{len(matches)} devices"
    raise DeviceError(
        f"{setting}: {problem} of this node fits {entry!r}{_listing(everything)}; correct it in "
        "worker_init or the batch options"
    )


def _fits(device: Device, entry: str) -> bool:
    return device.device_id.lower().startswith(entry.lower())


def _listing(devices: Sequence[Device]) -> str:
    if not devices:
        return ""
    return " (" + ", ".join(f"{device.device_id}: {device.name}" for device in devices) + ")"
