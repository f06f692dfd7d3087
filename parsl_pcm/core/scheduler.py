"""The scheduler: ``handle(event, now) -> actions``.

Flow of a call: ``_on_task_submitted`` lets its piece wait in the backlog of its context; the
dispatcher (``dispatch.py``) leases it to a warm host, or starts one; ``_on_piece_finished``
delivers the result and dispatches again. What is lost goes back to its place in the backlog; what
raised or killed its host is for ``endings.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from parsl_pcm.core import actions, events
from parsl_pcm.core.actions import Action
from parsl_pcm.core.cluster import Cluster
from parsl_pcm.core.departures import Departures
from parsl_pcm.core.dispatch import Dispatcher
from parsl_pcm.core.endings import Endings
from parsl_pcm.core.events import Event
from parsl_pcm.core.host_events import HostEvents
from parsl_pcm.core.policy import DefaultPolicy, Policy
from parsl_pcm.core.records import (
    ContextRecord,
    HostRecord,
    ManagerRecord,
    TaskRecord,
)
from parsl_pcm.core.speeds import learn
from parsl_pcm.core.timers import CONTEXT_TIMERS, TimerKind, Timers
from parsl_pcm.core.transitions import ManagerState, TaskState
from parsl_pcm.types import ContextKey, ManagerId, NodeResources


class Scheduler:
    """All decisions of a run. Same events at the same times, same actions.

    Parameters
    ----------
    policy
        Answers what is best; what is legal is decided here.
    max_attempts
        A piece that was running when so many hosts died is given up.
    heartbeat_threshold_s
        A manager unheard for so long is lost.
    notice_s
        From the site's notice to the end of a node, where it does not say.
    possible_nodes
        Kinds of nodes that may still come: what fits none of them, and none that was there, fails
        at once. What is not known of them is more than any node has. Empty: nothing is known of
        them, so what fits no node that was there fails.
    """

    def __init__(
        self,
        *,
        policy: Policy | None = None,
        max_attempts: int = 3,
        heartbeat_threshold_s: float = 120.0,
        notice_s: float = 10.0,
        possible_nodes: Sequence[NodeResources] = (),
    ) -> None:
        self.cluster = Cluster(possible_nodes)
        """For reading: only the scheduler changes it."""
        self.policy = policy or DefaultPolicy()
        self._heartbeat_threshold_s = heartbeat_threshold_s
        self._actions: list[Action] = []
        self._timers = Timers()
        self._dispatcher = Dispatcher(self.cluster, self.policy, self._timers, self._actions)
        self._placement = self._dispatcher.placement
        self._endings = Endings(
            self.cluster,
            self._dispatcher,
            self._actions,
            max_attempts=max_attempts,
            possible_nodes=possible_nodes,
        )
        self._departures = Departures(
            self.cluster,
            self._dispatcher,
            self._endings,
            self._timers,
            self._actions,
            notice_s=notice_s,
        )
        self._hosts = HostEvents(
            self.cluster,
            self._dispatcher,
            self._endings,
            self._departures,
            self._timers,
            max_attempts=max_attempts,
        )
        self._handlers: dict[type, Callable[[Any], None]] = {
            events.ContextDeclared: self._on_context_declared,
            events.WarmRequested: self._on_warm_requested,
            events.EvictRequested: self._on_evict_requested,
            events.TaskSubmitted: self._on_task_submitted,
            events.TaskCancelled: self._on_task_cancelled,
            events.ManagerRegistered: self._on_manager_registered,
            events.ManagerHeard: self._on_manager_heard,
            events.ManagerHeld: self._on_manager_held,
            events.ManagerClosing: self._on_manager_closing,
            events.ManagerLost: self._on_manager_lost,
            events.PieceFinished: self._on_piece_finished,
            events.PieceFailed: self._on_piece_failed,
            events.LeaseRevoked: self._on_lease_revoked,
            events.TimePassed: self._on_time_passed,
            **self._hosts.handlers(),
        }

    # --- the way in and out -------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take an event in and return what shall be done, in this order.

        Events about things that are over (a late result, a second goodbye) change nothing.

        Parameters
        ----------
        event
            What happened.
        now
            Monotonic seconds; never less than in the call before.
        """
        self.cluster.now = now
        self._handlers[type(event)](event)
        decided = self._actions.copy()
        self._actions.clear()
        return decided

    def next_deadline(self) -> float | None:
        """Return when ``TimePassed`` is wanted next; None if only events can change anything."""
        return self._timers.next()

    # --- contexts and tasks -------------------------------------------------------------------

    def _on_context_declared(self, event: events.ContextDeclared) -> None:
        if event.context_key not in self.cluster.contexts:
            context = ContextRecord(
                event.context_key, event.name, event.requirements, event.variants
            )
            self.cluster.contexts[event.context_key] = context

    def _on_warm_requested(self, event: events.WarmRequested) -> None:
        context = self.cluster.contexts.get(event.context_key)
        if context is not None:
            context.num_warm = event.num_hosts
            self._placement.keep_warm(context)

    def _on_evict_requested(self, event: events.EvictRequested) -> None:
        context = self.cluster.contexts.get(event.context_key)
        if context is not None:
            context.num_warm = 0
            self._placement.evict(context)

    def _on_task_submitted(self, event: events.TaskSubmitted) -> None:
        context = self.cluster.contexts[event.context_key]
        task = TaskRecord(
            event.task_id,
            context,
            event.num_items,
            event.priority,
            is_mapped=event.is_mapped,
            is_tolerant=event.is_tolerant,
            function_key=event.function_key,
        )
        self.cluster.open_task(task, self.cluster.now)
        if context.hosts or self._endings.fits_somewhere(context):
            self._dispatcher.dispatch(context)
        if not context.hosts:
            self._endings.give_up_if_hopeless(context)

    def _on_task_cancelled(self, event: events.TaskCancelled) -> None:
        task = self.cluster.tasks.get(event.task_id)
        if task is not None:
            self._endings.end(task, TaskState.CANCELLED)

    # --- managers -----------------------------------------------------------------------------

    def _on_manager_registered(self, event: events.ManagerRegistered) -> None:
        manager_id = event.manager_id
        if manager_id in self.cluster.managers:
            return
        whole_s = math.inf if event.remaining_s is None else event.remaining_s
        manager = ManagerRecord(
            manager_id,
            event.block_id,
            event.resources,
            self.cluster.now,
            idle_since=self.cluster.now,
            ends_at=self.cluster.now + whole_s,
            whole_s=whole_s,
        )
        self.cluster.add_manager(manager)
        silent_at = self.cluster.now + self._heartbeat_threshold_s
        self._timers.set(TimerKind.HEARTBEAT, "", silent_at)
        self._departures.plan(manager, event.drain_s)
        contexts = self.cluster.contexts.values()
        wanting = [c for c in contexts if c.num_waiting or c.num_warm > c.num_hosts]
        fitting = [c for c in wanting if c.hosts or self._endings.fits_somewhere(c)]
        self._placement.share_out(fitting)

    def _on_manager_heard(self, event: events.ManagerHeard) -> None:
        manager = self.cluster.managers.get(event.manager_id)
        if manager is not None:
            self.cluster.roll.heard(manager, self.cluster.now)

    def _on_manager_held(self, event: events.ManagerHeld) -> None:
        manager = self.cluster.managers.get(event.manager_id)
        if manager is not None and manager.state is ManagerState.ACTIVE:
            self._departures.hold(manager)

    def _on_manager_closing(self, event: events.ManagerClosing) -> None:
        manager = self.cluster.managers.get(event.manager_id)
        if manager is not None:
            self._departures.take_back(manager, event.remaining_s)

    def _on_manager_lost(self, event: events.ManagerLost) -> None:
        manager = self.cluster.managers.get(event.manager_id)
        if manager is not None:
            self._departures.lose(manager)

    # --- pieces -------------------------------------------------------------------------------

    def _on_piece_finished(self, event: events.PieceFinished) -> None:
        lease = self.cluster.leases.get(event.lease_id)
        if lease is None or event.start != lease.next_item:
            return
        task = lease.piece.task
        num_items = event.stop - event.start
        learn(lease, num_items, event.run_s, self.cluster.now)
        start = self.cluster.advance(lease, event.stop, self.cluster.now)
        if task.is_open and start < event.stop:
            self._actions.append(
                actions.DeliverRange(
                    task_id=task.task_id, start=start, stop=event.stop, variant=lease.host.variant
                )
            )
        if event.stop == lease.piece.stop:
            if lease.rival is not None:
                self._dispatcher.revoke(lease.rival)
            self.cluster.release(lease, self.cluster.now)
            self._endings.finish_if_done(task)
            self._after_release(lease.host)

    def _on_piece_failed(self, event: events.PieceFailed) -> None:
        lease = self.cluster.leases.get(event.lease_id)
        if lease is None:
            return
        if event.is_misaligned:
            self.cluster.release(lease, self.cluster.now)
            self._endings.distrust(lease.piece.task)
        elif lease.is_answerable:
            self.cluster.release(lease, self.cluster.now)
            self._endings.blame_exception(lease)
        else:
            self.cluster.give_back(lease, self.cluster.now)
        self._after_release(lease.host)

    def _on_lease_revoked(self, event: events.LeaseRevoked) -> None:
        lease = self.cluster.leases.get(event.lease_id)
        if lease is None:
            return
        self.cluster.give_back(lease, self.cluster.now)
        self._after_release(lease.host)

    def _after_release(self, host: HostRecord) -> None:
        if not host.leases:
            self._placement.settle(host)
        self._dispatcher.dispatch(host.context)
        if host.host_id in self.cluster.idle:
            self._placement.feed_hungry(host.manager)
        if host.manager.state is not ManagerState.ACTIVE:
            self._departures.wind_down(host.manager)

    # --- time ---------------------------------------------------------------------------------

    def _on_time_passed(self, event: events.TimePassed) -> None:
        for timer in self._timers.pop_due(self.cluster.now):
            if timer.kind is TimerKind.USE:
                self._departures.dismiss_useless()
            elif timer.kind is TimerKind.HEARTBEAT:
                self._lose_silent_managers()
            elif timer.kind in CONTEXT_TIMERS:
                self._look_at_context(timer.kind, self.cluster.contexts[ContextKey(timer.subject)])
            elif manager := self.cluster.managers.get(ManagerId(timer.subject)):
                self._departures.look(timer.kind, manager)

    def _look_at_context(self, kind: TimerKind, context: ContextRecord) -> None:
        if kind is TimerKind.REBALANCE:
            self._dispatcher.rebalance(context)
        elif kind is TimerKind.RELIEF:
            self._dispatcher.relieve(context)
        elif kind is TimerKind.RACE:
            self._dispatcher.race(context)
        elif kind is TimerKind.RETRY:
            self._hosts.retry(context)
        else:
            self._placement.grow(context)

    def _lose_silent_managers(self) -> None:
        """Give up managers that were not heard for too long; look again when one may be so next."""
        while self.cluster.roll.by_silence:
            manager = next(iter(self.cluster.roll.by_silence.values()))
            lost_at = manager.last_heard + self._heartbeat_threshold_s
            if lost_at > self.cluster.now:
                self._timers.set(TimerKind.HEARTBEAT, "", lost_at)
                return
            reason = f"not heard for {self.cluster.now - manager.last_heard:.0f} s"
            self._actions.append(
                actions.DismissManager(manager_id=manager.manager_id, reason=reason, is_lost=True)
            )
            self._departures.lose(manager)
