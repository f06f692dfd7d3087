"""Which accelerators are ours: those that the site gave to this job, and the user left to us.

Pure: finding out what the node has is :mod:`~parsl_pcm.manager.nvml` and
:mod:`~parsl_pcm.manager.rocm`.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from parsl_pcm.types import Device, DeviceId


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
    """Return the devices that the site shows us, or those that the user names instead.

    Parameters
    ----------
    gpus
        All of the node, in the order of their PCI bus numbers: what indices count.
    visible
        Value of ``{family}_VISIBLE_DEVICES``; None if it is not set.
    wanted
        ``available_accelerators`` of the executor: None for all, how many, or these alone, whatever
        the site shows, as in HTEX.

    Raises
    ------
    DeviceError
        If a device is named that the node does not have.
    """
    if wanted is not None and not isinstance(wanted, int):
        return visible_devices(gpus, ",".join(wanted), "available_accelerators")
    ours = visible_devices(gpus, visible, f"{family}_VISIBLE_DEVICES")
    if wanted is None:
        return ours
    if wanted > len(ours):
        raise DeviceError(
            f"available_accelerators={wanted}, but this node gave us {len(ours)} devices"
            f"{_listing(ours)}; lower it, or leave it out to use what there is"
        )
    return ours[:wanted]


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
    devices: list[Device] = []
    for entry in (part.strip() for part in visible.split(",")):
        if entry in ("", "-1", "NoDevFiles"):
            break
        devices.extend(_named(gpus, entry, f"{source}={visible}"))
    return list(dict.fromkeys(devices))


def unprobed_devices(wanted: Sequence[str] | int | None) -> list[Device]:
    """Return what the user says there is, where no driver that we can ask shows any."""
    if not wanted:
        return []
    names = [str(i) for i in range(wanted)] if isinstance(wanted, int) else list(wanted)
    return [
        Device(device_id=DeviceId(name), kind="cuda", name="unknown accelerator", memory_bytes=0)
        for name in dict.fromkeys(names)
    ]


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
