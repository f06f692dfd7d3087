"""What hosts claim of a node, in bytes: what was declared, or measured if that is more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from parsl_pcm.types import Requirements

if TYPE_CHECKING:
    from parsl_pcm.core.rooms import Room, Spot

GRAIN_BYTES = 1 << 26
"""Measured memory is rounded up to this (67 MB): hosts that differ by less claim the same."""


class Claim(NamedTuple):
    """What one host has of its node."""

    cores: float = 0.0
    host_memory_bytes: int = 0
    gpu_memory_bytes: int | None = 0
    """On each of its devices. None: all of them, whatever it holds."""
    num_hosts: int = 0
    """Of ``max_hosts``; 0 of one that sleeps."""

    @property
    def is_awake(self) -> bool:
        """Whether it is of a host that works, or may."""
        return self.num_hosts > 0


class Held(NamedTuple):
    """Memory that was measured; 0: it was not."""

    gpu_memory_bytes: int = 0
    """On the device on which it was most."""
    host_memory_bytes: int = 0


NO_CLAIM = Claim()
NOTHING_HELD = Held()


def claim_awake(needs: Requirements, held: Held) -> Claim:
    """Return what a host claims while it starts, works or wakes up.

    One of which it is not declared how much of a device it needs has the device to itself.
    """
    declared = needs.gpu_memory_bytes
    return Claim(
        cores=needs.cores or 0.0,
        host_memory_bytes=max(needs.host_memory_bytes, held.host_memory_bytes),
        gpu_memory_bytes=None if declared is None else max(declared, held.gpu_memory_bytes),
        num_hosts=1,
    )


def claim_asleep(needs: Requirements, held: Held) -> Claim:
    """Return what a host claims whose context sleeps: memory alone."""
    return Claim(
        host_memory_bytes=max(needs.host_memory_bytes, held.host_memory_bytes),
        gpu_memory_bytes=held.gpu_memory_bytes,
    )


class MeasuredMemory:
    """The most memory that hosts of one context held while awake, by variant and device."""

    def __init__(self) -> None:
        self._most: dict[tuple[int, str], Held] = {}
        self.spots: dict[Room, Spot | None] = {}
        """Where a host fits into rooms, by all that is known here; ``rooms.fit`` notes it."""

    def add(self, variant: int, names: Iterable[str], held: Held) -> None:
        """Take in what a host on devices of these names holds."""
        for name in dict.fromkeys(names):
            most = self.on(variant, name)
            if (more := _larger(most, _rounded(held))) != most:
                self._most[variant, name] = more
                self.spots.clear()

    def on(self, variant: int, name: str) -> Held:
        """Return the most that was measured on devices of this name."""
        return self._most.get((variant, name), NOTHING_HELD)

    def on_all(self, variant: int, names: Iterable[str]) -> Held:
        """Return the most that was measured on devices of any of these names."""
        most = NOTHING_HELD
        for name in names:
            most = _larger(most, self.on(variant, name))
        return most

    def anywhere(self) -> Held:
        """Return the most that was measured, in any variant on any device."""
        most = NOTHING_HELD
        for held in self._most.values():
            most = _larger(most, held)
        return most


def _larger(one: Held, other: Held) -> Held:
    return Held(*map(max, one, other))


def _rounded(held: Held) -> Held:
    return Held(*(-(-each // GRAIN_BYTES) * GRAIN_BYTES for each in held))
