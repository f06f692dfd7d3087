"""Which node has room for what: managers grouped by what they have free.

Managers that have the same left are one group, so looking for room costs as much as there are
different leftovers (a handful on a real pool), not as much as there are managers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from parsl_pcm.core.memory import Claim
from parsl_pcm.core.records import ContextRecord, HostRecord, ManagerRecord
from parsl_pcm.core.rooms import Room, fit, has, returned, taken, whole_room
from parsl_pcm.types import ManagerId, NodeResources


class Place(NamedTuple):
    """Where a host would go, and what it would claim there."""

    manager: ManagerRecord
    device_positions: tuple[int, ...]
    variant: int
    claim: Claim


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
        room = self.room(host.manager)
        self._change(host.manager, taken(room, host.claim, host.device_positions))

    def vacate(self, host: HostRecord) -> None:
        """Note that a host's process ended and its share is free."""
        room = self.room(host.manager)
        self._change(host.manager, returned(room, host.claim, host.device_positions))

    def change_claim(self, host: HostRecord, claim: Claim) -> None:
        """Note that a host claims something else from now on, whether there is room for it."""
        self.vacate(host)
        host.claim = claim
        self.occupy(host)

    def fits_back(self, host: HostRecord) -> bool:
        """Whether a sleeping host may have again what it claims while awake."""
        positions = host.device_positions
        room = returned(self.room(host.manager), host.claim, positions)
        return has(room, host.awake_claim, positions)

    def is_overdrawn(self, host: HostRecord) -> bool:
        """Whether its devices, or its node, have less memory than the hosts there hold."""
        room = self.room(host.manager)
        devices = [room.devices[position] for position in host.device_positions]
        return room.memory_bytes < 0 or any(device.is_overdrawn for device in devices)

    def room(self, manager: ManagerRecord) -> Room:
        """Return what is free on a manager."""
        return self._room[manager.manager_id]

    def find(
        self,
        context: ContextRecord,
        accepts: Callable[[ManagerRecord], bool] = anywhere,
        rank: Callable[[str], float] | None = None,
    ) -> Place | None:
        """Return where a host of a context can go now; None if there is no room for it.

        Parameters
        ----------
        context
            What the host shall build.
        accepts
            Which managers may be taken.
        rank
            How good a kind of device (``HostRecord.device_kind``) is, lower is better. Among equal
            ones, and without it, the node with most left is taken.
        """
        places = self._places(context, accepts)
        if rank is None:
            return next(places, None)
        return min(places, key=lambda place: rank(kind_at(context, place)), default=None)

    def _places(
        self, context: ContextRecord, accepts: Callable[[ManagerRecord], bool]
    ) -> Iterator[Place]:
        """Yield one place for each kind of leftover, on the emptiest nodes first."""
        if self._emptiest_first is None:
            self._emptiest_first = sorted(self._groups, key=_emptiest_first)
        for room in self._emptiest_first:
            spot = fit(room, context)
            if spot is None:
                continue
            for manager in self._groups[room].values():
                if accepts(manager):
                    yield Place(manager, *spot)
                    break

    def find_victims(
        self, candidates: Iterable[HostRecord], context: ContextRecord
    ) -> list[HostRecord]:
        """Return hosts of one node that make room for one of a context when they end.

        Takes the first of the candidates that will do; empty if none of them helps.
        """
        room_of: dict[ManagerId, Room] = {}
        victims_of: dict[ManagerId, list[HostRecord]] = {}
        for host in candidates:
            manager_id = host.manager.manager_id
            room = room_of.get(manager_id, self._room[manager_id])
            room = room_of[manager_id] = returned(room, host.claim, host.device_positions)
            victims_of.setdefault(manager_id, []).append(host)
            if fit(room, context) is not None:
                return _needed(victims_of[manager_id], room, context)
        return []

    def could_ever_fit(self, context: ContextRecord) -> bool:
        """Whether a node that is known, or may come, could hold a host of a context alone.

        True while nothing is known of either.
        """
        rooms = [*self._kinds, *self._possible]
        return not rooms or any(fit(room, context) is not None for room in rooms)

    def kinds(self) -> list[Room]:
        """Return the different nodes that are or were connected, as they are when empty."""
        return list(self._kinds)

    def _change(self, manager: ManagerRecord, room: Room) -> None:
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


def could_hold(manager: ManagerRecord, context: ContextRecord) -> bool:
    """Whether a node with nothing on it has room for a host of a context."""
    return fit(whole_room(manager.resources), context) is not None


def kind_at(context: ContextRecord, place: Place) -> str:
    """Return the kind of device of a host at this place."""
    return context.kind(place.manager.device_kind(place.device_positions), place.variant)


def _needed(victims: list[HostRecord], room: Room, context: ContextRecord) -> list[HostRecord]:
    """Return the victims without those that may stay; ``room`` is what all of them leave."""
    needed = []
    for victim in victims:
        less = taken(room, victim.claim, victim.device_positions)
        if fit(less, context) is not None:
            room = less
        else:
            needed.append(victim)
    return needed


def _emptiest_first(room: Room) -> tuple[float, int, int, Room]:
    free_bytes = sum(device.free_bytes - device.asleep_bytes for device in room.devices)
    return (-room.cores, -free_bytes, -room.num_hosts, room)
