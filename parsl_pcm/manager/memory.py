"""How much memory a host holds: on its devices, and in main memory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from parsl_pcm.manager.processes import session_members
from parsl_pcm.types import DeviceId

GpuUsers = Callable[[DeviceId], Mapping[int, int]]
"""Says which processes use a device, and how many bytes of it each; nothing where unknown."""

_MAX_SHARED_OUT_BYTES = 2**31
"""Up to here pages that several processes use are shared out among them.

The kernel walks the page tables for that: a look at a Python process of 1 GiB takes 12 to 38 ms,
13 in the median (50 looks, Linux 6.18, a busy virtual machine of 2 cores). Adding up resident
sizes, which counts such pages several times, takes 0.2 ms, whatever the size.
"""
_MIN_GROWTH_FRAC = 0.1
_MIN_GROWTH_BYTES = 2**25
"""What grows by less is not worth a message: allocators take and give back as much all the time."""


class Memory(Struct, frozen=True, kw_only=True):
    """What a host holds; 0: nothing, or unknown."""

    gpu_memory_bytes: int = 0
    """On that of its devices on which it holds most."""
    host_memory_bytes: int = 0
    """Of all its processes together."""


class HostMemory:
    """What one host holds, as often as somebody looks.

    Parameters
    ----------
    session
        Of the host: the number of its first process.

    Attributes
    ----------
    peak
        The most that was seen, of both kinds of memory.
    looked_s
        Monotonic time of the last look.
    """

    def __init__(self, session: int, device_ids: Sequence[DeviceId], gpu_users: GpuUsers) -> None:
        self._session = session
        self._device_ids = device_ids
        self._gpu_users = gpu_users
        self._processes = frozenset({session})
        self._told = Memory()
        self.peak = Memory()
        self.looked_s = 0.0

    def measure(self) -> Memory:
        """Return what the host holds now. See :data:`_MAX_SHARED_OUT_BYTES` for what it costs."""
        self._processes = session_members(self._session)
        return Memory(
            gpu_memory_bytes=gpu_memory_bytes(self._processes, self._device_ids, self._gpu_users),
            host_memory_bytes=host_memory_bytes(self._processes),
        )

    def look(self, now: float) -> Memory | None:
        """Measure; return the peak if it has grown so much that it should be told."""
        self.looked_s = now
        self.peak = _larger(self.peak, self.measure())
        if not has_grown(self._told, self.peak):
            return None
        self._told = self.peak
        return self.peak

    def remember_processes(self) -> None:
        """Take note of who may hold device memory, before they are killed."""
        if self._device_ids:
            self._processes |= session_members(self._session)

    def is_off_devices(self) -> bool:
        """Whether the driver shows none of its processes on its devices, or shows nothing."""
        return all(
            self._processes.isdisjoint(self._gpu_users(device_id)) for device_id in self._device_ids
        )


def gpu_memory_bytes(
    processes: Iterable[int], device_ids: Iterable[DeviceId], gpu_users: GpuUsers
) -> int:
    """Return what processes hold together on that of the devices on which they hold most."""
    pids = list(processes)
    totals = []
    for device_id in device_ids:
        users = gpu_users(device_id)
        totals.append(sum(users.get(pid, 0) for pid in pids))
    return max(totals, default=0)


def host_memory_bytes(processes: Iterable[int]) -> int:
    """Return the main memory of processes together.

    Pages that several of them use count once (Linux, and if they are not many), else in each.
    """
    resident = {pid: _resident_bytes(pid) for pid in processes}
    if sum(resident.values()) > _MAX_SHARED_OUT_BYTES:
        return sum(resident.values())
    return sum(_shared_out_bytes(pid) or num_bytes for pid, num_bytes in resident.items())


def has_grown(before: Memory, now: Memory) -> bool:
    """Whether a host holds more, of either kind of memory, than small change."""
    return _is_growth(before.gpu_memory_bytes, now.gpu_memory_bytes) or _is_growth(
        before.host_memory_bytes, now.host_memory_bytes
    )


def _is_growth(before_bytes: int, now_bytes: int) -> bool:
    growth_bytes = now_bytes - before_bytes
    return growth_bytes > max(_MIN_GROWTH_BYTES, _MIN_GROWTH_FRAC * before_bytes)


def _larger(one: Memory, other: Memory) -> Memory:
    return Memory(
        gpu_memory_bytes=max(one.gpu_memory_bytes, other.gpu_memory_bytes),
        host_memory_bytes=max(one.host_memory_bytes, other.host_memory_bytes),
    )


def _resident_bytes(pid: int) -> int:
    import psutil  # here: it takes 20 ms to import

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:  # gone meanwhile
        return 0


def _shared_out_bytes(pid: int) -> int | None:
    """Return its proportional set size; None where the system does not tell."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", "rb") as file:
        for line in file:
            name, *values = line.split()
            if name == b"Pss:":
                return int(values[0]) * 1024  # proc_pid_smaps(5): in kB
    return None
