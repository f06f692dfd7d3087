"""Which hosts may start now. Pure.

Engines that load at the same time on one device measure each other's memory as if it were theirs,
and many that load at once on a node wait for its cores and its disk. So there is a queue.
"""

from __future__ import annotations

from parsl_pcm.types import DeviceId, HostId
from parsl_pcm.wire.messages import StartHost


class BootGate:
    """Lets hosts start in the order of their orders: one a device, some at once.

    Parameters
    ----------
    max_boots
        How many may boot on this node at once.
    """

    def __init__(self, max_boots: int) -> None:
        self._max_boots = max_boots
        self._waiting: dict[HostId, StartHost] = {}
        self._booting: dict[HostId, tuple[DeviceId, ...]] = {}

    def add(self, start: StartHost) -> None:
        """Queue an order."""
        self._waiting[start.host_id] = start

    def next(self) -> StartHost | None:
        """Take the first order that may be carried out now; its host counts as booting then.

        Devices for which an earlier one waits are left to it: one that needs several at once would
        wait for ever if single ones overtook it.
        """
        if len(self._booting) >= self._max_boots:
            return None
        taken = {device_id for device_ids in self._booting.values() for device_id in device_ids}
        for start in self._waiting.values():
            if taken.isdisjoint(start.device_ids):
                self._booting[start.host_id] = start.device_ids
                return self._waiting.pop(start.host_id)
            taken.update(start.device_ids)
        return None

    def leave(self, host_id: HostId) -> None:
        """Take note that a host is ready, or gone; does nothing if it was before."""
        self._booting.pop(host_id, None)

    def drop(self, host_id: HostId) -> bool:
        """Forget an order; returns whether it was still waiting."""
        return self._waiting.pop(host_id, None) is not None

    def drop_all(self) -> list[HostId]:
        """Forget all orders that wait and return whose they were."""
        dropped = list(self._waiting)
        self._waiting.clear()
        return dropped
