"""What hosts in virtual time really hold of the memory of their nodes: the books."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from parsl_pcm.simulator.engine.parts import VirtualHost
from parsl_pcm.simulator.engine.timeline import Timeline
from parsl_pcm.types import ManagerId

MAIN_MEMORY = -1
"""Beside the positions of devices, in the books on memory."""


class Memory:
    """What hosts really hold, on every device and of the main memory of every node."""

    def __init__(self, time: Timeline) -> None:
        self.peaks_bytes: dict[tuple[ManagerId, int], int] = {}
        """The most that was held at once, by node and device; -1 is main memory. Of nodes that are
        there."""
        self.overruns: list[tuple[float, ManagerId, int, int]] = []
        """(time, node, device, bytes held): each time when more was held than is there."""
        self._time = time
        self._total_bytes: dict[tuple[ManagerId, int], int] = {}
        self._held_bytes: Counter[tuple[ManagerId, int]] = Counter()
        self._gone_frac = 0.0
        """The most that was held at once, as a part of what was there, on nodes that are gone."""

    def hold(self, host: VirtualHost, on_device: int, in_main: int) -> None:
        """Write down that a host holds so much more on each device, and of main memory."""
        resources = host.node.resources
        for position in host.positions:
            size = resources.devices[position].memory_bytes
            self._note((host.manager_id, position), on_device, size)
        self._note((host.manager_id, MAIN_MEMORY), in_main, resources.memory_bytes)

    def fullest(self) -> Iterator[float]:
        """Yield the most that was held at once of each, as a part of what is there."""
        yield self._gone_frac
        for where, peak_bytes in self.peaks_bytes.items():
            yield peak_bytes / self._total_bytes[where]

    def forget(self, manager_id: ManagerId, num_devices: int) -> None:
        """Close the books on a node that is gone, on which nothing is held any more."""
        for position in range(MAIN_MEMORY, num_devices):
            where = (manager_id, position)
            if where in self.peaks_bytes:
                peak_frac = self.peaks_bytes.pop(where) / self._total_bytes.pop(where)
                self._gone_frac = max(self._gone_frac, peak_frac)
                del self._held_bytes[where]

    def _note(self, where: tuple[ManagerId, int], more_bytes: int, total_bytes: int) -> None:
        self._total_bytes[where] = total_bytes
        self._held_bytes[where] += more_bytes
        held = self._held_bytes[where]
        self.peaks_bytes[where] = max(held, self.peaks_bytes.get(where, 0))
        if held > total_bytes and more_bytes > 0:
            self.overruns.append((self._time.now, *where, held))
