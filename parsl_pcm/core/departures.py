"""How nodes leave: held, drained, at the end of their walltime, taken back, or lost.

A node that the site takes back gets nothing new and keeps what it will have done by then, as far
as we can estimate; all else runs elsewhere at once. What nobody can estimate yet is kept too,
unless a warm host is free for it. When nothing is left, or the time is over, its
manager is dismissed. A node that has no time left for anything that waits is dismissed too, so that
a fresh one may come in its place.
"""

from __future__ import annotations

import math

from parsl_pcm.core import actions
from parsl_pcm.core.actions import Action
from parsl_pcm.core.blame import Blame
from parsl_pcm.core.capacity import could_hold
from parsl_pcm.core.cluster import Cluster
from parsl_pcm.core.dispatch import Dispatcher
from parsl_pcm.core.endings import Endings
from parsl_pcm.core.records import HostRecord, LeaseRecord, ManagerRecord, PieceRecord
from parsl_pcm.core.timers import TimerKind, Timers
from parsl_pcm.core.transitions import HostState, ManagerState
from parsl_pcm.core.walltime import LEAVE_S, enough_s, left_s, rest_s

SETTLE_S = 1.0
"""How long an exact notice may take after one that says nothing exact: the scheduler shows it
within 0.6 s of the preemption (Slurm 22.05), if anybody looks."""
WALLTIME_SIGNAL_S = 90.0
"""A notice so shortly before the end of a walltime is about that end: ``--signal=B:TERM@30``, which
Slurm may send 60 s early."""
FORGIVE_S = 2.0
"""A host that died so shortly before its node did was killed with the node."""
USE_CHECK_S = 5.0
"""How often nodes without time are sought: an idle one costs a look that takes microseconds."""
_OF_MANAGER = (
    TimerKind.DRAIN,
    TimerKind.WALLTIME,
    TimerKind.SETTLE,
    TimerKind.END,
)

_ON_THE_WAY = (HostState.STARTING, HostState.DOZING, HostState.WAKING)


class Departures:
    """The decisions about nodes that leave.

    Parameters
    ----------
    cluster, dispatcher, endings, timers
        The state of the run, and who else changes it.
    decided
        Where decisions are appended; the scheduler hands them out.
    notice_s
        From the site's notice to the end of a node, where it does not say.
    """

    def __init__(
        self,
        cluster: Cluster,
        dispatcher: Dispatcher,
        endings: Endings,
        timers: Timers,
        decided: list[Action],
        *,
        notice_s: float,
    ) -> None:
        self._cluster = cluster
        self._dispatcher = dispatcher
        self._placement = dispatcher.placement
        self._endings = endings
        self._timers = timers
        self._decided = decided
        self._notice_s = notice_s

    # --- reasons to leave ---------------------------------------------------------------------

    def plan(self, manager: ManagerRecord, drain_s: float | None) -> None:
        """Plan the end of a node that has just come."""
        now = self._cluster.now
        if drain_s is not None:
            self._timers.set(TimerKind.DRAIN, manager.manager_id, now + drain_s)
        if manager.ends_at != math.inf:
            last_call = max(now, manager.ends_at - LEAVE_S)
            self._timers.set(TimerKind.WALLTIME, manager.manager_id, last_call)
            self._timers.set(TimerKind.USE, "", now + USE_CHECK_S)

    def hold(self, manager: ManagerRecord) -> None:
        """Give a node nothing new; it stays."""
        self._stop_taking(manager, ManagerState.HELD)
        self._make_up_for_a_node()

    def drain(self, manager: ManagerRecord) -> None:
        """Give a node nothing new, and dismiss it when nothing is left."""
        if manager.state is not ManagerState.DRAINING:
            self._stop_taking(manager, ManagerState.DRAINING)
            self.wind_down(manager)
            self._make_up_for_a_node()

    def take_back(self, manager: ManagerRecord, remaining_s: float | None) -> None:
        """Bring to a good end what can be, on a node that the site takes back; move the rest."""
        now = self._cluster.now
        if remaining_s is None and manager.is_closing:
            return
        if remaining_s is None and manager.ends_at - now <= WALLTIME_SIGNAL_S:
            remaining_s = manager.ends_at - now
        if remaining_s is None:
            manager.ends_at = min(manager.ends_at, now + self._notice_s)
            self._timers.set(TimerKind.SETTLE, manager.manager_id, now + SETTLE_S)
        else:
            manager.ends_at = now + max(0.0, remaining_s)
            self._timers.cancel(TimerKind.SETTLE, manager.manager_id)
        self._timers.move(TimerKind.END, manager.manager_id, manager.ends_at)
        manager.is_closing = True
        self._forgive(manager)
        if manager.state is not ManagerState.DRAINING:
            self._stop_taking(manager, ManagerState.DRAINING)
        if remaining_s is None:
            self.wind_down(manager)
            self._make_up_for_a_node()
        else:
            self._move_what_ends_too_late(manager)

    def lose(self, manager: ManagerRecord) -> None:
        """Forget a node that is gone; what it held waits again."""
        for kind in _OF_MANAGER:
            self._timers.cancel(kind, manager.manager_id)
        self._forgive(manager)
        self._cluster.remove_manager(manager, self._cluster.now)
        self._make_up_for_a_node()

    # --- time ---------------------------------------------------------------------------------

    def look(self, kind: TimerKind, manager: ManagerRecord) -> None:
        """Do what is due now for a manager."""
        if kind is TimerKind.DRAIN:
            self.drain(manager)
        elif kind is TimerKind.WALLTIME and not manager.is_closing:
            self.take_back(manager, manager.ends_at - self._cluster.now)
        elif kind is TimerKind.SETTLE:
            self._move_what_ends_too_late(manager)
        elif kind is TimerKind.END:
            self._move_all(manager)

    def dismiss_useless(self) -> None:
        """Drain nodes without work that have no time left for anything that waits."""
        waiting = [c for c in self._cluster.contexts.values() if c.num_waiting]
        unused = list(self._cluster.roll.unused.values()) if waiting else []
        needed_s = {c.context_key: enough_s(self._cluster, c) for c in waiting}
        for manager in unused:
            if manager.whole_s == math.inf or _is_about_to_work(manager):
                continue
            fitting = [c for c in waiting if could_hold(manager, c)]
            remaining_s = left_s(manager, self._cluster.now)
            if fitting and all(remaining_s <= needed_s[c.context_key] for c in fitting):
                self.drain(manager)
        if self._cluster.roll.num_ending:
            later = self._cluster.now + USE_CHECK_S
            self._timers.set(TimerKind.USE, "", later)

    # --- blame --------------------------------------------------------------------------------

    def blame(self, host: HostRecord, pieces: list[PieceRecord]) -> None:
        """Note that the death of a host was held against what it ran, or what it built."""
        manager = host.manager
        manager.blames = self._recent_blames(manager)
        manager.blames.append(Blame(self._cluster.now, host.context, pieces))

    def _forgive(self, manager: ManagerRecord) -> None:
        for blame in self._recent_blames(manager):
            blame.forgive()
        manager.blames.clear()

    def _recent_blames(self, manager: ManagerRecord) -> list[Blame]:
        earliest = self._cluster.now - FORGIVE_S
        return [blame for blame in manager.blames if blame.at >= earliest]

    # --- steps --------------------------------------------------------------------------------

    def _stop_taking(self, manager: ManagerRecord, state: ManagerState) -> None:
        self._stop_unused_hosts(manager)
        self._cluster.close_manager(manager, state)
        for host in manager.hosts.values():
            for lease in host.queued():
                self._dispatcher.revoke(lease)

    def _move_what_ends_too_late(self, manager: ManagerRecord) -> None:
        """Give up what will not be done in time; what was asked back is on its way already."""
        now = self._cluster.now
        for host in manager.hosts.values():
            for lease in list(host.leases.values()):
                if lease.started_at is not None and self._ends_too_late(lease, now):
                    self._dispatcher.abandon(lease)
        self.wind_down(manager)
        self._make_up_for_a_node()

    def _ends_too_late(self, lease: LeaseRecord, now: float) -> bool:
        """Whether a piece should begin again elsewhere now rather than be waited for.

        One of unknown length may end any moment: it goes only where a warm host is free at once.
        """
        rest = rest_s(lease, now)
        if rest is not None:
            return now + rest > lease.host.manager.ends_at
        least = lease.host.context.loads.least_loaded()
        return least is not None and least.load < least.num_places

    def _move_all(self, manager: ManagerRecord) -> None:
        for host in manager.hosts.values():
            for lease in list(host.leases.values()):
                self._dispatcher.abandon(lease)
        self.wind_down(manager)
        self._make_up_for_a_node()

    def wind_down(self, manager: ManagerRecord) -> None:
        """End what a closed manager needs no more, and the manager itself if it shall leave."""
        self._stop_unused_hosts(manager)
        is_leaving = manager.state is ManagerState.DRAINING and manager.num_leases == 0
        if is_leaving and not manager.is_dismissed:
            manager.is_dismissed = True
            reason = "the site takes this node back" if manager.is_closing else "drained"
            self._decided.append(
                actions.DismissManager(manager_id=manager.manager_id, reason=reason)
            )

    def _stop_unused_hosts(self, manager: ManagerRecord) -> None:
        for host in manager.hosts.values():
            if host.state is not HostState.STOPPING and host.load == 0:
                self._placement.stop_host(host)

    def _make_up_for_a_node(self) -> None:
        """See what becomes of the contexts now that a node takes no work any more."""
        for context in self._cluster.contexts.values():
            self._endings.give_up_if_hopeless(context)
            if context.num_waiting:
                self._dispatcher.dispatch(context)
            elif context.num_warm:
                self._placement.keep_warm(context)
        self._placement.feed_hungry()


def _is_about_to_work(manager: ManagerRecord) -> bool:
    return any(host.state in _ON_THE_WAY for host in manager.hosts.values())
