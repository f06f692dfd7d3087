"""Virtual time: what is planned happens in order, and nothing else takes time."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable


class Timeline:
    """What is planned, in order; at the same time, in the order of planning."""

    __slots__ = ("_heap", "_num_planned", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._num_planned = 0

    def at(self, when: float, act: Callable[[], object]) -> None:
        """Plan something; what should have happened already happens now, what never comes never."""
        if when < math.inf:
            self._num_planned += 1
            heapq.heappush(
                self._heap, (when if when > self.now else self.now, self._num_planned, act)
            )

    def after(self, duration_s: float, act: Callable[[], object]) -> None:
        """Plan something for so much later."""
        self.at(self.now + duration_s, act)

    def next_at(self) -> float:
        """Return when something happens next; infinite if nothing is planned."""
        return self._heap[0][0] if self._heap else math.inf

    def step(self) -> None:
        """Let it happen."""
        self.now, _, act = heapq.heappop(self._heap)
        act()
