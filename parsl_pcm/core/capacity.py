"""Which node has room for what: managers grouped by what they have free.

Managers that have the same left are one group, so looking for room costs as much as there are
different leftovers (a handful on a real pool), not as much as there are managers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from parsl_pcm.core.records import HostRecord, ManagerRecord
from parsl_pcm.types import Device, ManagerId, NodeResources, Requirements

TOLERANCE = 1e-9
"""Cores are floats (``cores_per_worker=0.1``): ten tenths shall fit into one."""


class DeviceRoom(NamedTuple):
    """What is free on one device."""

    free_bytes: int
    total_bytes: int
    compute_capability: float


class Room(NamedTuple):
    """What is free on a node."""

    cores: float
    memory_bytes: int
    num_hosts: int
    devices: tuple[DeviceRoom, ...]


class Place(NamedTuple):
    """Where a host would go."""

    manager: ManagerRecord
    device_positions: tuple[int, ...]


UNBOUNDED = 1 << 30
MEMORY_GRAIN_BYTES = 1 << 26
"""Node memory is rounded up to this (67 MB): nodes that differ by a few kB are of one kind."""


def whole_room(resources: NodeResources) -> Room:
    """Return the room of a node with nothing on it."""
    max_hosts = resources.max_hosts
    return Room(
        cores=resources.cores,
        memory_bytes=-(-resources.memory_bytes // MEMORY_GRAIN_BYTES) * MEMORY_GRAIN_BYTES,
        num_hosts=UNBOUNDED if max_hosts is None else max_hosts,
        devices=tuple(_whole_device(device) for device in resources.devices),
    )


def _whole_device(device: Device) -> DeviceRoom:
    # A device whose size the driver does not tell (0) must not be given away twice either.
    memory_bytes = max(device.memory_bytes, 1)
    return DeviceRoom(memory_bytes, memory_bytes, device.compute_capability or 0.0)


def fit(room: Room, needs: Requirements) -> tuple[int, ...] | None:
    """Return the positions of the devices to use; None if the needs do not fit into the room.

    Of the devices that fit, those with the least free memory are used, so that larger ones stay
    free for larger contexts.
    """
    if room.num_hosts < 1 or room.memory_bytes < needs.host_memory_bytes:
        return None
    if room.cores + TOLERANCE < (needs.cores or 0.0):
        return None
    usable = [i for i, device in enumerate(room.devices) if _device_fits(device, needs)]
    if len(usable) < needs.gpus:
        return None
    usable.sort(key=lambda i: (room.devices[i].free_bytes, i))
    return tuple(sorted(usable[: needs.gpus]))


def _device_fits(device: DeviceRoom, needs: Requirements) -> bool:
    if device.compute_capability < (needs.min_compute_capability or 0.0):
        return False
    return device.free_bytes >= _bytes_on(device, needs)


def _bytes_on(device: DeviceRoom, needs: Requirements) -> int:
    whole = needs.gpu_memory_bytes is None
    return device.total_bytes if whole else needs.gpu_memory_bytes or 0


def taken(room: Room, needs: Requirements, positions: tuple[int, ...]) -> Room:
    """Return the room that is left when the needs are placed on these devices."""
    return _changed(room, needs, positions, sign=-1)


def returned(room: Room, needs: Requirements, positions: tuple[int, ...]) -> Room:
    """Return the room that there is when the needs on these devices are over."""
    return _changed(room, needs, positions, sign=1)


def _changed(room: Room, needs: Requirements, positions: tuple[int, ...], *, sign: int) -> Room:
    devices = tuple(
        device._replace(free_bytes=device.free_bytes + sign * _bytes_on(device, needs))
        if position in positions
        else device
        for position, device in enumerate(room.devices)
    )
    return Room(
        cores=round(room.cores + sign * (needs.cores or 0.0), 6),
        memory_bytes=room.memory_bytes + sign * needs.host_memory_bytes,
        num_hosts=room.num_hosts + sign,
        devices=devices,
    )


def anywhere(manager: ManagerRecord) -> bool:
    """Accept every manager."""
    return True


class Capacity:
    """The room of every manager that takes work.

    Parameters
    ----------
    possible_nodes
        Kinds of nodes that may still come; what is not known of them is more than any node has.
    """

    def __init__(self, possible_nodes: Iterable[NodeResources] = ()) -> None:
        self._groups: dict[Room, OrderedDict[ManagerId, ManagerRecord]] = {}
        self._emptiest_first: list[Room] | None = None
        """The keys of the groups in order; None: to be sorted again."""
        self._room: dict[ManagerId, Room] = {}
        self._kinds: dict[Room, None] = {}
        """Every kind of node that was ever there: one that was taken away may come back."""
        self._possible = [whole_room(resources) for resources in possible_nodes]

    def add(self, manager: ManagerRecord) -> None:
        """Count a manager with nothing on it."""
        room = whole_room(manager.resources)
        self._kinds[room] = None
        self._put(manager, room)

    def remove(self, manager: ManagerRecord) -> None:
        """Count a manager no more: it is gone."""
        self._take_out(manager.manager_id)
        del self._room[manager.manager_id]

    def close(self, manager: ManagerRecord) -> None:
        """Offer no room on this manager any more: it is held or drains."""
        self._take_out(manager.manager_id)

    def occupy(self, host: HostRecord) -> None:
        """Note that a host holds its share from now on."""
        self._change(host, taken(self.room(host.manager), *_claim(host)))

    def vacate(self, host: HostRecord) -> None:
        """Note that a host's process ended and its share is free."""
        self._change(host, returned(self.room(host.manager), *_claim(host)))

    def room(self, manager: ManagerRecord) -> Room:
        """Return what is free on a manager."""
        return self._room[manager.manager_id]

    def find(
        self, needs: Requirements, accepts: Callable[[ManagerRecord], bool] = anywhere
    ) -> Place | None:
        """Return where a host with these needs can go now, on the node with most left; or None."""
        if self._emptiest_first is None:
            self._emptiest_first = sorted(self._groups, key=_emptiest_first)
        for room in self._emptiest_first:
            positions = fit(room, needs)
            if positions is None:
                continue
            for manager in self._groups[room].values():
                if accepts(manager):
                    return Place(manager, positions)
        return None

    def find_victims(
        self,
        idle: Iterable[HostRecord],
        needs: Requirements,
        accepts: Callable[[ManagerRecord], bool] = anywhere,
    ) -> list[HostRecord]:
        """Return hosts of one node that make room for these needs when they end.

        Takes the first of ``idle`` that will do; empty if none of them helps.
        """
        room_of: dict[ManagerId, Room] = {}
        victims_of: dict[ManagerId, list[HostRecord]] = {}
        for host in idle:
            manager_id = host.manager.manager_id
            if not accepts(host.manager):
                continue
            room = returned(room_of.get(manager_id, self._room[manager_id]), *_claim(host))
            room_of[manager_id] = room
            victims_of.setdefault(manager_id, []).append(host)
            if fit(room, needs) is not None:
                return _needed(victims_of[manager_id], room, needs)
        return []

    def could_ever_fit(self, needs: Requirements) -> bool:
        """Whether a node that is known, or may come, could hold these needs alone.

        True while nothing is known of either.
        """
        rooms = [*self._kinds, *self._possible]
        return not rooms or any(fit(room, needs) is not None for room in rooms)

    def kinds(self) -> list[Room]:
        """Return the different nodes that are or were connected, as they are when empty."""
        return list(self._kinds)

    def _change(self, host: HostRecord, room: Room) -> None:
        manager = host.manager
        if self._take_out(manager.manager_id):
            self._put(manager, room)
        else:
            self._room[manager.manager_id] = room

    def _put(self, manager: ManagerRecord, room: Room) -> None:
        self._room[manager.manager_id] = room
        group = self._groups.get(room)
        if group is None:
            group = self._groups[room] = OrderedDict()
            self._emptiest_first = None
        group[manager.manager_id] = manager

    def _take_out(self, manager_id: ManagerId) -> bool:
        room = self._room[manager_id]
        group = self._groups.get(room)
        if group is None or group.pop(manager_id, None) is None:
            return False
        if not group:
            del self._groups[room]
            self._emptiest_first = None
        return True


def _claim(host: HostRecord) -> tuple[Requirements, tuple[int, ...]]:
    return host.context.requirements, host.device_positions


def _needed(victims: list[HostRecord], room: Room, needs: Requirements) -> list[HostRecord]:
    """Return the victims without those that may stay; ``room`` is what all of them leave."""
    needed = []
    for victim in victims:
        less = taken(room, *_claim(victim))
        if fit(less, needs) is not None:
            room = less
        else:
            needed.append(victim)
    return needed


def _emptiest_first(room: Room) -> tuple[float, int, int, Room]:
    free_bytes = sum(device.free_bytes for device in room.devices)
    return (-room.cores, -free_bytes, -room.num_hosts, room)
