"""Nodes on which a context could not be built: they are left alone for a while, ever longer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parsl_pcm.core.blame import Explanation
    from parsl_pcm.types import ManagerId

FIRST_S = 30.0
"""After the first failure: a full disk or a busy file server may be well again by then."""
LONGEST_S = 1800.0
"""Twice as long after each failure more, up to this: a try then costs next to nothing."""


@dataclass(slots=True, eq=False)
class Failure:
    """What went wrong on one node, since the context was last built there."""

    why: Explanation
    """The first time."""
    num_times: int
    until: float
    """When it may be tried there again."""


class Quarantine:
    """The nodes on which one context failed; those that leave are forgotten."""

    def __init__(self) -> None:
        self._failures: dict[ManagerId, Failure] = {}
        self.num_deaths: Counter[ManagerId] = Counter()
        """Hosts killed while they built the context, by the node, since one was ready there."""

    def __len__(self) -> int:
        return len(self._failures)

    def __contains__(self, manager_id: ManagerId) -> bool:
        return manager_id in self._failures

    def add(self, manager_id: ManagerId, why: Explanation, now: float) -> float:
        """Note that the context could not be built on a node; return when it may be tried again.

        Hosts that were started there at the same time, and fail one after the other, are one try.
        """
        failure = self._failures.setdefault(manager_id, Failure(why, 0, now))
        del self.num_deaths[manager_id]
        if self.may_try(manager_id, now):
            failure.until = now + min(LONGEST_S, FIRST_S * 2.0**failure.num_times)
            failure.num_times += 1
        return failure.until

    def forget(self, manager_id: ManagerId) -> None:
        """Forget a node: the context was built there after all, or the node leaves."""
        self._failures.pop(manager_id, None)
        del self.num_deaths[manager_id]

    def clear(self) -> None:
        """Forget all nodes: the next call tries again everywhere."""
        self._failures.clear()
        self.num_deaths.clear()

    def may_try(self, manager_id: ManagerId, now: float) -> bool:
        """Whether the context may be built on a node now."""
        failure = self._failures.get(manager_id)
        return failure is None or failure.until <= now

    def explanations(self) -> list[Explanation]:
        """Return what went wrong first on each node, in the order of their first failures."""
        return [failure.why for failure in self._failures.values()]

    def num_alike(self) -> int:
        """Return on how many nodes it went wrong in the same way, at most."""
        return max(Counter(map(gist, self.explanations())).values(), default=0)

    def ends(self, now: float) -> Iterator[tuple[ManagerId, float]]:
        """Yield the nodes that may not be tried now, and when they may."""
        for manager_id, failure in self._failures.items():
            if failure.until > now:
                yield manager_id, failure.until


def gist(why: Explanation) -> str:
    """Return what two failures of the same kind have in common: the last line that was told."""
    lines = (why.remote_traceback.strip() or why.message.strip()).splitlines()
    return lines[-1] if lines else ""
