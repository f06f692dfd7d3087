"""Files on their way to nodes: what a shared file system, networks and peers make of it.

Transfers are fluids. Those into one node have equal parts of its bandwidth, those from one peer
equal parts of the peer's; the shared file system gives all that it serves equal parts, and what one
cannot take goes to the others. So the rate of a transfer depends on nothing but its *class*: where
it comes from, and the largest number of transfers with which it shares a node. Each class has a
clock that counts the bytes that any transfer of the class has got so far; a change of rates
then costs as much as there are classes, however many transfers there are.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from parsl_pcm.simulator.engine.timeline import Timeline
from parsl_pcm.types import ManagerId


@dataclass(eq=False, slots=True)
class _Transfer:
    """Files on their way to a node, or that wait for somebody who serves them."""

    to: _Station
    key: str
    num_bytes: float
    left_bytes: float
    """When it was last moved from one class to another."""
    waiters: list[Callable[[], object]]
    source: _Station | None = None
    """The peer that serves it; None: the shared file system, or nobody yet."""
    is_moving: bool = False
    group: _Class | None = None
    stops_at_bytes: float = 0.0
    """On the clock of its class."""


@dataclass(eq=False, slots=True)
class _Station:
    """A node: what it has, gets and serves."""

    manager_id: ManagerId
    held: dict[str, None] = field(default_factory=dict)
    coming: dict[str, _Transfer] = field(default_factory=dict)
    num_moving: int = 0
    """Of what comes."""
    served: dict[_Transfer, None] = field(default_factory=dict)
    is_gone: bool = False


@dataclass(eq=False, slots=True)
class _Class:
    """Transfers of one rate."""

    is_shared: bool
    """Whether they come from the shared file system."""
    num_sharing: int
    """With so many others, itself included, each shares a node."""
    clock_bytes: float = 0.0
    bytes_per_s: float = 0.0
    num_transfers: int = 0
    heap: list[tuple[float, int, _Transfer]] = field(default_factory=list)
    """By the end on its clock; with those that have left the class or been moved since."""


class Staging:
    """All files on their way, and where they have arrived.

    Parameters
    ----------
    time
        Where what takes time is planned.
    shared_bytes_per_s
        Of the shared file system, for all that read from it together.
    node_bytes_per_s
        Into each node, and out of each that serves others.
    num_peers
        So many others at a time may fetch files from a node that has them. Above 0, the shared
        file system serves only as many at a time as it can serve at the bandwidth of a node, so
        that the first ones soon serve the others; the rest wait, in order. 0: all read from the
        shared file system, at once.
    """

    def __init__(
        self,
        time: Timeline,
        *,
        shared_bytes_per_s: float = math.inf,
        node_bytes_per_s: float = math.inf,
        num_peers: int = 0,
    ) -> None:
        self._time = time
        self._shared_bytes_per_s = shared_bytes_per_s
        self._node_bytes_per_s = node_bytes_per_s
        self._num_peers = num_peers
        self._max_shared = _max_shared(shared_bytes_per_s, node_bytes_per_s, num_peers)
        self._num_shared = 0
        """Transfers from the shared file system."""
        self._stations: dict[ManagerId, _Station] = {}
        self._classes: dict[tuple[bool, int], _Class] = {}
        self._idle: dict[str, deque[_Station]] = {}
        """Of each key: those that have it and may serve one more, once for each place."""
        self._waiting: dict[_Transfer, None] = {}
        """All that nobody serves yet, in order."""
        self._wanting: dict[str, dict[_Transfer, None]] = {}
        """The same, by key."""
        self._changed_keys: dict[str, None] = {}
        """Those for which a peer may be free now, or somebody waits now."""
        self._updated_at = time.now
        self._wakes_at = math.inf
        self._num_moved = 0

    def has(self, manager_id: ManagerId, key: str) -> bool:
        """Whether a node has the files."""
        station = self._stations.get(manager_id)
        return station is not None and key in station.held

    def fetch(
        self, manager_id: ManagerId, key: str, num_bytes: float, done: Callable[[], object]
    ) -> None:
        """Bring files to a node, unless they are there or on their way.

        Parameters
        ----------
        done
            Called once when they are there: now, if they are there already or take no time.
        """
        station = self._stations.get(manager_id)
        if station is None:
            station = self._stations[manager_id] = _Station(manager_id)
        if key in station.held:
            done()
        elif key in station.coming:
            station.coming[key].waiters.append(done)
        else:
            transfer = _Transfer(station, key, num_bytes, num_bytes, [done])
            station.coming[key] = transfer
            self._catch_up()
            self._wait(transfer)
            self._go_on()

    def drop(self, manager_id: ManagerId, key: str) -> None:
        """Let a node delete files that it has; those that it serves are served to the end."""
        station = self._stations.get(manager_id)
        if station is not None:
            station.held.pop(key, None)

    def forget(self, manager_id: ManagerId) -> None:
        """Take a node away: what came to it is off, what it served begins again elsewhere."""
        station = self._stations.pop(manager_id, None)
        if station is None:
            return
        station.is_gone = True
        self._catch_up()
        for transfer in station.coming.values():
            self._call_off(transfer)
        for transfer in list(station.served):
            self._stop(transfer)
            transfer.left_bytes = transfer.num_bytes
            self._wait(transfer)
        self._go_on()

    # --- who is served ------------------------------------------------------------------------

    def _wait(self, transfer: _Transfer) -> None:
        self._waiting[transfer] = None
        self._wanting.setdefault(transfer.key, {})[transfer] = None
        self._changed_keys[transfer.key] = None

    def _call_off(self, transfer: _Transfer) -> None:
        if transfer.is_moving:
            self._stop(transfer)
        else:
            self._wait_no_more(transfer)

    def _wait_no_more(self, transfer: _Transfer) -> None:
        del self._waiting[transfer]
        wanting = self._wanting[transfer.key]
        del wanting[transfer]
        if not wanting:
            del self._wanting[transfer.key]

    def _serve(self) -> None:
        """Let those begin that somebody can serve: peers first."""
        for key in self._changed_keys:
            self._serve_by_peers(key)
        self._changed_keys.clear()
        while self._waiting and self._num_shared < self._max_shared:
            self._begin(next(iter(self._waiting)), None)

    def _serve_by_peers(self, key: str) -> None:
        idle = self._idle.get(key)
        while idle and key in self._wanting:
            peer = idle.popleft()
            if not peer.is_gone and key in peer.held:
                self._begin(next(iter(self._wanting[key])), peer)

    def _begin(self, transfer: _Transfer, source: _Station | None) -> None:
        self._wait_no_more(transfer)
        transfer.source = source
        transfer.is_moving = True
        transfer.to.num_moving += 1
        if source is None:
            self._num_shared += 1
        else:
            source.served[transfer] = None
        self._sort_around(transfer)

    def _stop(self, transfer: _Transfer) -> None:
        """Serve a transfer no more, whether it is done or not."""
        self._leave_class(transfer)
        source, transfer.source = transfer.source, None
        transfer.is_moving = False
        transfer.to.num_moving -= 1
        if source is None:
            self._num_shared -= 1
        else:
            del source.served[transfer]
            self._offer(source, transfer.key, 1)
        self._sort_station(transfer.to)
        if source is not None:
            self._sort_station(source)

    def _arrive(self, transfer: _Transfer) -> None:
        self._stop(transfer)
        station = transfer.to
        del station.coming[transfer.key]
        station.held[transfer.key] = None
        self._offer(station, transfer.key, self._num_peers)

    def _offer(self, peer: _Station, key: str, num_places: int) -> None:
        """Let others fetch files from a node that has them, if it is there when they want to."""
        if num_places:
            self._idle.setdefault(key, deque()).extend([peer] * num_places)
            self._changed_keys[key] = None

    # --- rates --------------------------------------------------------------------------------

    def _sort_around(self, transfer: _Transfer) -> None:
        """Put a transfer, and those that share a node with it, into their classes."""
        self._sort_station(transfer.to)
        if transfer.source is not None:
            self._sort_station(transfer.source)

    def _sort_station(self, station: _Station) -> None:
        for transfer in station.coming.values():
            if transfer.is_moving:
                self._sort(transfer)
        for transfer in station.served:
            self._sort(transfer)

    def _sort(self, transfer: _Transfer) -> None:
        source = transfer.source
        num_sharing = max(transfer.to.num_moving, len(source.served) if source else 1)
        group = self._class_of(source is None, num_sharing)
        if transfer.group is not group:
            self._leave_class(transfer)
            self._num_moved += 1
            group.num_transfers += 1
            transfer.group = group
            transfer.stops_at_bytes = group.clock_bytes + transfer.left_bytes
            heapq.heappush(group.heap, (transfer.stops_at_bytes, self._num_moved, transfer))

    def _class_of(self, is_shared: bool, num_sharing: int) -> _Class:
        key = (is_shared, num_sharing)
        group = self._classes.get(key)
        if group is None:
            group = self._classes[key] = _Class(is_shared, num_sharing)
        return group

    def _leave_class(self, transfer: _Transfer) -> None:
        if transfer.group is not None:
            transfer.group.num_transfers -= 1
            transfer.left_bytes = max(0.0, transfer.stops_at_bytes - transfer.group.clock_bytes)
            transfer.group = None

    def _set_rates(self) -> None:
        """Give everyone what nodes allow, and of the shared file system equal parts at most."""
        left, num_left = self._shared_bytes_per_s, self._num_shared
        for group in sorted(self._classes.values(), key=lambda each: -each.num_sharing):
            group.bytes_per_s = self._node_bytes_per_s / group.num_sharing
            if group.is_shared and group.num_transfers:
                group.bytes_per_s = min(group.bytes_per_s, left / num_left)
                num_left -= group.num_transfers
                if left < math.inf:
                    left = max(0.0, left - group.bytes_per_s * group.num_transfers)

    # --- time ---------------------------------------------------------------------------------

    def _catch_up(self) -> None:
        """Count what was transferred since this was last done."""
        passed_s = self._time.now - self._updated_at
        self._updated_at = self._time.now
        if passed_s > 0.0:
            for group in self._classes.values():
                if group.num_transfers:
                    group.clock_bytes += passed_s * group.bytes_per_s

    def _go_on(self) -> None:
        """Let begin and end what can; then tell those who waited for it."""
        waiters: list[Callable[[], object]] = []
        while True:
            self._serve()
            self._set_rates()
            transfer = self._first_due()
            if transfer is None:
                break
            self._arrive(transfer)
            waiters += transfer.waiters
        self._plan()
        for done in waiters:
            done()

    def _first_due(self) -> _Transfer | None:
        """Return a transfer that ends now, if there is one."""
        for group in self._classes.values():
            transfer = _first(group)
            if transfer is not None and self._due_at(group, transfer) <= self._time.now:
                return transfer
        return None

    def _due_at(self, group: _Class, transfer: _Transfer) -> float:
        left_bytes = transfer.stops_at_bytes - group.clock_bytes
        return self._time.now + max(0.0, left_bytes) / group.bytes_per_s

    def _plan(self) -> None:
        firsts = [(group, _first(group)) for group in self._classes.values()]
        due = min((self._due_at(group, each) for group, each in firsts if each), default=math.inf)
        if due < self._wakes_at:
            self._wakes_at = due
            self._time.at(due, self._wake)

    def _wake(self) -> None:
        if self._time.now == self._wakes_at:  # else it was planned again, for earlier
            self._wakes_at = math.inf
            self._catch_up()
            self._go_on()


def _first(group: _Class) -> _Transfer | None:
    """Return the transfer of a class that ends first."""
    heap = group.heap
    while heap:
        stops_at_bytes, _, transfer = heap[0]
        if transfer.group is group and transfer.stops_at_bytes == stops_at_bytes:
            return transfer
        heapq.heappop(heap)
    return None


def _max_shared(shared_bytes_per_s: float, node_bytes_per_s: float, num_peers: int) -> float:
    """Return how many the shared file system serves at a time."""
    if num_peers == 0 or shared_bytes_per_s == math.inf:
        return math.inf
    return max(1, math.ceil(shared_bytes_per_s / node_bytes_per_s))
