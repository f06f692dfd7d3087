"""Identifiers and resources: the words that every part of parsl_pcm shares. Imports nobody."""

from __future__ import annotations

from typing import NewType

from msgspec import Struct

ContextKey = NewType("ContextKey", str)
"""Hash of the content of what a host builds: one recipe, or several that live together."""
TaskId = NewType("TaskId", int)
LeaseId = NewType("LeaseId", int)
HostId = NewType("HostId", int)
ManagerId = NewType("ManagerId", str)
BlockId = NewType("BlockId", str)
DeviceId = NewType("DeviceId", str)
Digest = NewType("Digest", str)
"""Content hash of a blob: a pickled function, or pickled recipes."""

GPU_MEMORY_VARIABLE = "PARSL_PCM_GPU_MEMORY_BYTES"
"""By which a manager tells a host how much of each of its devices it may use; not set: all."""


class Requirements(Struct, frozen=True, kw_only=True):
    """What the host of a context needs for as long as it lives.

    Attributes
    ----------
    gpus
        Whole devices of one node; 0 for a context that runs on CPUs.
    gpu_memory_bytes
        On each of its devices. None: all of the device.
    host_memory_bytes
        Main memory of the node; 0: not accounted for.
    cores
        CPU cores of its own, above 0. None: the executor's ``cores_per_worker``.
    min_compute_capability
        For example 8.0. None: any.
    max_concurrency
        Pieces that the host may run at the same time, at least 1.
    setup_timeout_s
        A set-up that takes longer is ended and counts as failed.
    gpu_types
        Parts of names of GPUs, in lower case: each of its devices has one of them in its name.
        Empty: any GPU.
    keep_warm_s
        So long a host without work is kept, whoever wants its place. None: as seems best.
    can_sleep
        Whether what it builds has methods ``sleep()``, which frees device memory, and ``wake()``.
    imports
        Modules that take long to import: a process may have done it before it is needed.
    """

    gpus: int = 0
    gpu_memory_bytes: int | None = None
    host_memory_bytes: int = 0
    cores: float | None = None
    min_compute_capability: float | None = None
    max_concurrency: int = 1
    setup_timeout_s: float = 1800.0
    gpu_types: tuple[str, ...] = ()
    keep_warm_s: float | None = None
    can_sleep: bool = False
    imports: tuple[str, ...] = ()


class Variant(Struct, frozen=True, kw_only=True):
    """Another way to build a context, for nodes and devices that none before it fits."""

    name: str
    requirements: Requirements


class Device(Struct, frozen=True, kw_only=True):
    """One accelerator (or one MIG slice of it) as the site gave it to us."""

    device_id: DeviceId
    """What to put into CUDA_VISIBLE_DEVICES or ROCR_VISIBLE_DEVICES: a UUID, else an index."""
    kind: str
    """``cuda`` or ``rocm``."""
    name: str
    memory_bytes: int
    compute_capability: float | None = None


class NodeResources(Struct, frozen=True, kw_only=True):
    """What one manager has to give to its hosts."""

    cores: float
    memory_bytes: int
    devices: tuple[Device, ...] = ()
    max_hosts: int | None = None
    """At most so many hosts alive at once (``max_workers_per_node``). None: as many as fit."""
