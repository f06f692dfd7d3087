"""The nodes by what is asked of all of them, so that nobody has to look at each."""

from __future__ import annotations

import math
from collections import OrderedDict

from parsl_pcm.core.lifetimes import Lifetimes
from parsl_pcm.core.records import ManagerRecord
from parsl_pcm.core.transitions import ManagerState
from parsl_pcm.types import ManagerId


class Roll:
    """All managers, in the orders in which they are looked at."""

    def __init__(self) -> None:
        self.lifetimes = Lifetimes()
        """Of those that take work."""
        self.unused: dict[ManagerId, ManagerRecord] = {}
        """Those that take work and have no lease."""
        self.by_silence: OrderedDict[ManagerId, ManagerRecord] = OrderedDict()
        """All, the one that was not heard for longest first."""
        self.num_ending = 0
        """Those of which it is known when the site ends them."""

    def add(self, manager: ManagerRecord) -> None:
        """Take in one that has just come."""
        self.num_ending += manager.whole_s != math.inf
        self.lifetimes.add(manager)
        self.unused[manager.manager_id] = manager
        self.by_silence[manager.manager_id] = manager

    def close(self, manager: ManagerRecord) -> None:
        """Note that one takes no work any more. Repeating it is safe."""
        self.lifetimes.discard(manager)
        self.unused.pop(manager.manager_id, None)

    def remove(self, manager: ManagerRecord) -> None:
        """Forget one that is gone."""
        self.close(manager)
        self.num_ending -= manager.whole_s != math.inf
        del self.by_silence[manager.manager_id]

    def heard(self, manager: ManagerRecord, now: float) -> None:
        """Note that one is alive."""
        manager.last_heard = now
        self.by_silence.move_to_end(manager.manager_id)

    def begin_lease(self, manager: ManagerRecord) -> None:
        """Count a lease of one of its hosts."""
        if not manager.num_leases:
            self.unused.pop(manager.manager_id, None)
        manager.num_leases += 1

    def end_lease(self, manager: ManagerRecord, now: float) -> None:
        """Count one lease less."""
        manager.num_leases -= 1
        manager.idle_since = now
        if not manager.num_leases and manager.state is ManagerState.ACTIVE:
            self.unused[manager.manager_id] = manager
