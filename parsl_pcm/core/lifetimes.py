"""How long nodes last, by kind: the longest that could hold a context is found without a search."""

from __future__ import annotations

from bisect import bisect_left, insort

from parsl_pcm.core.records import ContextRecord, ManagerRecord
from parsl_pcm.core.rooms import Room, fit, whole_room
from parsl_pcm.types import ManagerId


class Lifetimes:
    """The walltimes of the nodes that take work; those without one last for ever."""

    def __init__(self) -> None:
        self._by_kind: dict[Room, list[tuple[float, ManagerId]]] = {}
        """(minus the walltime, node), the longest first, of nodes that are alike when empty."""

    def add(self, manager: ManagerRecord) -> None:
        """Count a node."""
        of_kind = self._by_kind.setdefault(whole_room(manager.resources), [])
        insort(of_kind, (-manager.whole_s, manager.manager_id))

    def discard(self, manager: ManagerRecord) -> None:
        """Count a node no more, if it is counted."""
        kind, entry = whole_room(manager.resources), (-manager.whole_s, manager.manager_id)
        of_kind = self._by_kind.get(kind, [])
        index = bisect_left(of_kind, entry)
        if index < len(of_kind) and of_kind[index] == entry:
            del of_kind[index]
            if not of_kind:
                del self._by_kind[kind]

    def longest_s(self, context: ContextRecord) -> float:
        """Return the longest walltime of nodes that could hold a context; 0.0 if none could."""
        return max((self._longest_s(kind, context) for kind in self._by_kind), default=0.0)

    def _longest_s(self, kind: Room, context: ContextRecord) -> float:
        if fit(kind, context) is None:
            return 0.0
        usable = (e for e in self._by_kind[kind] if e[1] not in context.quarantine)
        return -next(usable, (0.0, ""))[0]

    def __len__(self) -> int:
        return sum(map(len, self._by_kind.values()))
