"""What is free on a node, and where on it a host of a context would go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from parsl_pcm.core.memory import GRAIN_BYTES, Claim, claim_awake
from parsl_pcm.core.records import CPU, ContextRecord
from parsl_pcm.types import Device, NodeResources, Requirements

TOLERANCE = 1e-9
"""Cores are floats (``cores_per_worker=0.1``): ten tenths shall fit into one."""
RESERVE_PARTS = 50
"""One part in so many (2 %) of a device is left free where hosts share it: drivers and allocators
need a little more than anybody has measured."""
SLEEPERS_PARTS = 16
"""Beside a host that has a device to itself, others may sleep that hold no more than one part in so
many of it: vLLM leaves 8 % of a device alone unless it is told otherwise."""
UNBOUNDED = 1 << 30
MAX_NOTED = 1 << 14
"""Rooms of which it is noted what fits into them: many more than a pool has different leftovers."""


class DeviceRoom(NamedTuple):
    """What is free on one device, and what it is."""

    free_bytes: int
    """Not claimed by a host that is awake; below 0 if these were measured to hold more than there
    is."""
    total_bytes: int
    compute_capability: float
    name: str
    """"": unknown, of a node that may come."""
    asleep_bytes: int = 0
    """What hosts that sleep still hold."""

    @property
    def is_overdrawn(self) -> bool:
        """Whether more is held than there is. A host that has all of it lets others sleep there."""
        return self.free_bytes < 0 or 0 < self.free_bytes < self.asleep_bytes


class Room(NamedTuple):
    """What is free on a node, and what it has in all."""

    cores: float
    memory_bytes: int
    num_hosts: int
    devices: tuple[DeviceRoom, ...]
    total_cores: float
    total_memory_bytes: int


class Spot(NamedTuple):
    """Where on a node a host would go, and what it would claim there."""

    device_positions: tuple[int, ...]
    variant: int
    claim: Claim


@lru_cache(maxsize=MAX_NOTED)
def whole_room(resources: NodeResources) -> Room:
    """Return the room of a node with nothing on it."""
    max_hosts = resources.max_hosts
    # Rounded up: nodes that differ by a few kB are of one kind.
    memory_bytes = -(-resources.memory_bytes // GRAIN_BYTES) * GRAIN_BYTES
    return Room(
        cores=resources.cores,
        memory_bytes=memory_bytes,
        num_hosts=UNBOUNDED if max_hosts is None else max_hosts,
        devices=tuple(_whole_device(device) for device in resources.devices),
        total_cores=resources.cores,
        total_memory_bytes=memory_bytes,
    )


def _whole_device(device: Device) -> DeviceRoom:
    # A device whose size the driver does not tell (0) must not be given away twice either.
    memory_bytes = max(device.memory_bytes, 1)
    return DeviceRoom(memory_bytes, memory_bytes, device.compute_capability or 0.0, device.name)


# --- what is used where -----------------------------------------------------------------------


def ways_on(room: Room, ways: Sequence[Requirements]) -> Iterator[tuple[int, Sequence[int]]]:
    """Yield the ways to build a context that are used on a node, each with its devices.

    A device, or a node for a way without devices, belongs to the first way that it matches by what
    it is, never by what is free on it.
    """
    left: Sequence[int] = range(len(room.devices))
    is_taken = False
    for variant, way in enumerate(ways):
        if room.total_cores + TOLERANCE < (way.cores or 0.0):
            continue
        if room.total_memory_bytes < way.host_memory_bytes:
            continue
        if not way.gpus:
            if not is_taken:
                yield variant, ()
                return
            continue
        own = [position for position in left if _is_right(room.devices[position], way)]
        if len(own) >= way.gpus:
            is_taken = True
            left = [position for position in left if position not in own]
            yield variant, own


def _is_right(device: DeviceRoom, way: Requirements) -> bool:
    if device.compute_capability < (way.min_compute_capability or 0.0):
        return False
    if device.total_bytes < (way.gpu_memory_bytes or 0):
        return False
    if not way.gpu_types or not device.name:
        return True
    name = _letters(device.name)
    return any(_letters(part) in name for part in way.gpu_types)


def _letters(name: str) -> str:
    """Return a name of a GPU without what drivers and schedulers write differently."""
    return "".join(filter(str.isalnum, name.lower()))


def fit(room: Room, context: ContextRecord) -> Spot | None:
    """Return where a host of a context can go on a node; None if it does not fit into the room.

    Of the devices that fit, the smallest are used, so that larger ones stay free for larger
    contexts, and of those the emptiest, so that no device idles while another one is shared.
    """
    spots = context.memory.spots
    try:
        return spots[room]
    except KeyError:
        if len(spots) >= MAX_NOTED:
            spots.clear()
        spot = spots[room] = _fit(room, context)
        return spot


def _fit(room: Room, context: ContextRecord) -> Spot | None:
    if room.num_hosts < 1:
        return None
    for variant, positions in ways_on(room, context.ways):
        spot = _spot(room, context, variant, positions)
        if spot is not None:
            return spot
    return None


def _spot(
    room: Room, context: ContextRecord, variant: int, positions: Sequence[int]
) -> Spot | None:
    way = context.ways[variant]
    if not way.gpus:
        claim = claim_awake(way, context.memory.on(variant, CPU))
        return Spot((), variant, claim) if _node_has(room, claim) else None
    usable = []
    for position in positions:
        device = room.devices[position]
        claim = claim_awake(way, context.memory.on(variant, device.name))
        if _device_has(device, claim):
            free_bytes = device.free_bytes - device.asleep_bytes
            usable.append((device.total_bytes, -free_bytes, position))
    if len(usable) < way.gpus:
        return None
    usable.sort()
    chosen = tuple(sorted(position for _, _, position in usable[: way.gpus]))
    names = [room.devices[position].name for position in chosen]
    claim = claim_awake(way, context.memory.on_all(variant, names))
    return Spot(chosen, variant, claim) if has(room, claim, chosen) else None


def has(room: Room, claim: Claim, positions: tuple[int, ...]) -> bool:
    """Whether a claim on these devices fits into the room."""
    has_devices = all(_device_has(room.devices[position], claim) for position in positions)
    return has_devices and _node_has(room, claim)


def _node_has(room: Room, claim: Claim) -> bool:
    if room.num_hosts < claim.num_hosts or room.cores + TOLERANCE < claim.cores:
        return False
    return room.memory_bytes >= min(claim.host_memory_bytes, room.total_memory_bytes)


def _device_has(device: DeviceRoom, claim: Claim) -> bool:
    is_unused = device.free_bytes == device.total_bytes
    if claim.gpu_memory_bytes is None:
        return is_unused and device.asleep_bytes <= device.total_bytes // SLEEPERS_PARTS
    if is_unused and not device.asleep_bytes:  # alone, a host may have all of it
        return True
    left_bytes = device.free_bytes - device.asleep_bytes - claim.gpu_memory_bytes
    return left_bytes >= device.total_bytes // RESERVE_PARTS


def helps(room: Room, claim: Claim, positions: tuple[int, ...]) -> bool:
    """Whether more is held than there is where this claim is: its end would help."""
    if room.memory_bytes < 0 and claim.host_memory_bytes:
        return True
    return any(room.devices[position].is_overdrawn for position in positions)


def taken(room: Room, claim: Claim, positions: tuple[int, ...]) -> Room:
    """Return the room that is left when a host has its claim on these devices."""
    return _changed(room, claim, positions, sign=-1)


def returned(room: Room, claim: Claim, positions: tuple[int, ...]) -> Room:
    """Return the room that there is when a claim on these devices is over."""
    return _changed(room, claim, positions, sign=1)


@lru_cache(maxsize=MAX_NOTED)
def _changed(room: Room, claim: Claim, positions: tuple[int, ...], *, sign: int) -> Room:
    """Nobody claims more than there is: what was measured on a larger node may be more."""
    devices = tuple(
        _changed_device(device, claim, sign) if position in positions else device
        for position, device in enumerate(room.devices)
    )
    memory_bytes = min(claim.host_memory_bytes, room.total_memory_bytes)
    return room._replace(
        cores=round(room.cores + sign * claim.cores, 6),
        memory_bytes=room.memory_bytes + sign * memory_bytes,
        num_hosts=room.num_hosts + sign * claim.num_hosts,
        devices=devices,
    )


def _changed_device(device: DeviceRoom, claim: Claim, sign: int) -> DeviceRoom:
    claimed_bytes = claim.gpu_memory_bytes
    whole = device.total_bytes
    num_bytes = sign * (whole if claimed_bytes is None else min(claimed_bytes, whole))
    if claim.is_awake:
        return device._replace(free_bytes=device.free_bytes + num_bytes)
    return device._replace(asleep_bytes=device.asleep_bytes - num_bytes)
