"""What a run was like, computed from its event log: live, line by line, or afterwards.

``Metrics`` holds the numbers; ``observe`` takes the next line of the log in. It keeps something
for every node, host, lease and task that is there now, and nothing of those that are over.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parsl_pcm.core import actions, events
from parsl_pcm.core.walltime import LEAVE_S
from parsl_pcm.eventlog import LogRecord, read_log
from parsl_pcm.metrics_records import ContextLoads, HostSeen, LeaseSeen, ManagerSeen
from parsl_pcm.summary import describe_run
from parsl_pcm.types import ContextKey, HostId, LeaseId, ManagerId, TaskId


@dataclass
class Metrics:
    """The numbers of a run. All times are seconds."""

    num_submitted: int = 0
    num_finished: int = 0
    num_failed: int = 0
    """Tasks that ended with an exception, the user's or ours."""
    num_cancelled: int = 0
    num_items_delivered: int = 0
    num_items_failed: int = 0
    """Items of mapped tasks that raised or killed their hosts, and whose tasks went on."""
    first_submit_s: float | None = None
    last_delivery_s: float | None = None
    num_hosts_started: int = 0
    contexts: dict[ContextKey, ContextLoads] = field(default_factory=dict)
    num_setups_failed: int = 0
    num_managers: int = 0
    num_managers_lost: int = 0
    """Those that went while they were taking work; not those that were held or drained first."""
    num_managers_preempted: int = 0
    """Those that the site took back before their time and said so; they are not lost ones."""
    num_hosts_died: int = 0
    """Hosts that ended unasked after they had become ready, on nodes that stayed."""
    num_leases_lost: int = 0
    """Pieces that were put back because their host or node was gone, or would be too soon."""
    num_pieces_repeated: int = 0
    """Those of them that were finished by another host."""
    num_duplicates_dropped: int = 0
    """Results that came from hosts after their pieces had been given to others."""
    num_races: int = 0
    """Pieces that were given to a second host while the first one was still at them."""
    num_items_raced_in_vain: int = 0
    """Items whose results came from both hosts of a race."""
    num_items_repeated: int = 0
    """Items whose results came and were dropped: those of races, and late ones."""
    num_leases_revoked: int = 0
    num_evictions: int = 0
    """Hosts that were ended to make room for another context, or since a person wished it."""
    num_sleeps: int = 0
    """Ready hosts whose context was put to sleep, mostly to make room for another one."""
    num_sleeps_failed: int = 0
    run_s: float = 0.0
    """Time that the users' functions took, all together."""

    def __post_init__(self) -> None:
        self._now = 0.0
        self._ended_slot_s = 0.0
        self._concurrency: dict[ContextKey, list[int]] = {}
        """Of the ways to build each context."""
        self._open_tasks: set[TaskId] = set()
        self._lost_starts: dict[TaskId, set[int]] = {}
        """First items of the pieces of open tasks that were lost, to be run again."""
        self._leases: dict[LeaseId, LeaseSeen] = {}
        self._hosts: dict[HostId, HostSeen] = {}
        self._managers: dict[ManagerId, ManagerSeen] = {}
        self._lost: list[LeaseSeen] = []
        """Leases lost in the present line; whether they were put back shows at its end."""
        self._num_known = 0
        """Items of races that the present line reports and does not deliver."""
        self._observers: dict[type, Callable[[Any], None]] = {
            events.ContextDeclared: self._on_context_declared,
            events.TaskSubmitted: self._on_task_submitted,
            events.TaskCancelled: self._on_task_cancelled,
            events.ManagerRegistered: self._on_manager_registered,
            events.ManagerHeld: self._on_manager_held,
            events.ManagerClosing: self._on_manager_closing,
            events.ManagerLost: self._on_manager_lost,
            events.HostReady: self._on_host_ready,
            events.HostAwake: self._on_host_awake,
            events.SleepFailed: self._on_sleep_failed,
            events.SetupFailed: self._on_setup_failed,
            events.HostExited: self._on_host_exited,
            events.PieceFinished: self._on_piece_finished,
            events.PieceFailed: self._on_piece_failed,
            events.LeaseRevoked: self._on_lease_revoked,
            actions.StartHost: self._on_start_host,
            actions.StopHost: self._on_stop_host,
            actions.SleepHost: self._on_sleep_host,
            actions.SendPiece: self._on_send_piece,
            actions.AbandonLease: self._on_abandon_lease,
            actions.DeliverRange: self._on_deliver_range,
            actions.DeliverException: self._on_failure,
            actions.DeliverItemException: self._on_item_failure,
            actions.FailTask: self._on_failure,
            actions.FailItem: self._on_item_failure,
            actions.ForgetTask: self._on_forget_task,
            actions.DismissManager: self._on_dismiss_manager,
        }

    # --- in -----------------------------------------------------------------------------------

    @classmethod
    def from_log(cls, path: Path) -> Metrics:
        """Compute the numbers of a log, finished or not.

        Raises
        ------
        EventLogError
            If it cannot be read.
        """
        metrics = cls()
        for record in read_log(path).records:
            metrics.observe(record)
        return metrics

    def observe(self, record: LogRecord) -> None:
        """Take the next line of a log in."""
        self._now = record.now
        for happened in (record.event, *record.actions):
            observer = self._observers.get(type(happened))
            if observer is not None:
                observer(happened)
        if self._lost:
            self.num_leases_lost += sum(lease.task_id in self._open_tasks for lease in self._lost)
            self._lost.clear()
        if self._num_known:
            self.num_items_raced_in_vain += self._num_known
            self.num_items_repeated += self._num_known
            self._num_known = 0

    # --- out ----------------------------------------------------------------------------------

    @property
    def num_cold_starts(self) -> int:
        """Hosts that became ready."""
        return sum(context.num_loads for context in self.contexts.values())

    @property
    def loading_s(self) -> float:
        """Time that hosts spent on set-ups and wakings, all together."""
        return sum(context.loading_s for context in self.contexts.values())

    @property
    def makespan_s(self) -> float | None:
        """From the first submit to the last delivery; None if nothing was delivered."""
        if self.first_submit_s is None or self.last_delivery_s is None:
            return None
        return self.last_delivery_s - self.first_submit_s

    @property
    def goodput_per_s(self) -> float | None:
        """Items delivered, once each, a second; None if nothing was, or in no time."""
        return self.num_items_delivered / self.makespan_s if self.makespan_s else None

    @property
    def busy_frac(self) -> float | None:
        """Share of the hosts' ready time in which users' functions ran, so far.

        A host that may run several pieces at once counts as often. None if no host was ready.
        """
        slot_s = self._ended_slot_s + sum(host.slot_s(self._now) for host in self._hosts.values())
        return self.run_s / slot_s if slot_s else None

    def summary(self, log_path: str) -> str:
        """Return five lines for a person, the last one saying where the log is."""
        return "\n".join((*describe_run(self), f"Event log: {log_path}"))

    # --- events -------------------------------------------------------------------------------

    def _on_context_declared(self, event: events.ContextDeclared) -> None:
        if event.context_key not in self.contexts:
            ways = [event.requirements, *(variant.requirements for variant in event.variants)]
            self._concurrency[event.context_key] = [way.max_concurrency for way in ways]
            most = max(self._concurrency[event.context_key])
            self.contexts[event.context_key] = ContextLoads(event.name, most)

    def _on_task_submitted(self, event: events.TaskSubmitted) -> None:
        self.num_submitted += 1
        if self.first_submit_s is None:
            self.first_submit_s = self._now
        self._open_tasks.add(event.task_id)

    def _on_task_cancelled(self, event: events.TaskCancelled) -> None:
        self.num_cancelled += self._end_task(event.task_id)

    def _on_manager_registered(self, event: events.ManagerRegistered) -> None:
        if event.manager_id not in self._managers:
            self.num_managers += 1
            drain_s = math.inf if event.drain_s is None else event.drain_s
            walltime_s = math.inf if event.remaining_s is None else event.remaining_s - LEAVE_S
            self._managers[event.manager_id] = ManagerSeen(self._now + min(drain_s, walltime_s))

    def _on_manager_held(self, event: events.ManagerHeld) -> None:
        manager = self._managers.get(event.manager_id)
        if manager is not None:
            manager.closed_at = min(manager.closed_at, self._now)

    def _on_manager_closing(self, event: events.ManagerClosing) -> None:
        manager = self._managers.get(event.manager_id)
        if manager is not None:
            self.num_managers_preempted += self._now < manager.closed_at
            manager.closed_at = min(manager.closed_at, self._now)
            manager.is_closing = True

    def _on_manager_lost(self, event: events.ManagerLost) -> None:
        self._remove_manager(event.manager_id, is_lost=True)

    def _on_host_ready(self, event: events.HostReady) -> None:
        host = self._hosts.get(event.host_id)
        if host is not None and not host.was_ready and not host.is_stopping:
            host.ready_at = self._now
            host.was_ready = True
            host.context.add(event.setup_s)

    def _on_host_awake(self, event: events.HostAwake) -> None:
        host = self._hosts.get(event.host_id)
        if host is not None and host.ready_at is None and not host.is_stopping:
            host.ready_at = self._now
            host.context.add_wake(event.wake_s)

    def _on_sleep_failed(self, event: events.SleepFailed) -> None:
        self.num_sleeps_failed += event.host_id in self._hosts

    def _on_setup_failed(self, event: events.SetupFailed) -> None:
        host = self._remove_host(event.host_id)
        if host is not None and not host.is_stopping:
            self.num_setups_failed += 1

    def _on_host_exited(self, event: events.HostExited) -> None:
        host = self._remove_host(event.host_id)
        if host is None or host.is_stopping:
            return
        if not host.was_ready:
            self.num_setups_failed += 1
        else:
            self.num_hosts_died += not host.manager.is_closing

    def _on_piece_finished(self, event: events.PieceFinished) -> None:
        lease = self._leases.get(event.lease_id)
        if lease is None or lease.start != event.start:
            self.num_duplicates_dropped += 1
            self.num_items_repeated += event.stop - event.start
            return
        self.run_s += event.run_s
        self._num_known = event.stop - event.start if lease.was_raced else 0
        lease.start = event.stop
        if lease.start == lease.stop:
            if lease.rival is not None:
                lease.rival.is_over = True
            self._release(event.lease_id)
            self.num_pieces_repeated += lease.is_repeat

    def _on_piece_failed(self, event: events.PieceFailed) -> None:
        self._release(event.lease_id)

    def _on_lease_revoked(self, event: events.LeaseRevoked) -> None:
        self.num_leases_revoked += self._release(event.lease_id)

    # --- actions ------------------------------------------------------------------------------

    def _on_start_host(self, action: actions.StartHost) -> None:
        self.num_hosts_started += 1
        manager = self._managers[action.manager_id]
        key = action.context_key
        concurrency = self._concurrency[key][action.variant]
        host = HostSeen(self.contexts[key], manager, concurrency)
        self._hosts[action.host_id] = manager.hosts[action.host_id] = host

    def _on_stop_host(self, action: actions.StopHost) -> None:
        host = self._hosts[action.host_id]
        host.is_stopping = True
        self.num_evictions += action.is_eviction
        host.context.num_evictions += action.is_eviction

    def _on_sleep_host(self, action: actions.SleepHost) -> None:
        host = self._hosts[action.host_id]
        self._ended_slot_s += host.slot_s(self._now)
        host.ready_at = None
        self.num_sleeps += 1
        host.context.num_sleeps += 1

    def _on_send_piece(self, action: actions.SendPiece) -> None:
        host = self._hosts[action.host_id]
        host.context.num_pieces += 1
        host.context.num_hits += host.ready_at is not None and host.ready_at < self._now
        is_repeat = action.start in self._lost_starts.get(action.task_id, ())
        lease = LeaseSeen(action.task_id, action.start, action.stop, host, is_repeat)
        self._leases[action.lease_id] = host.leases[action.lease_id] = lease
        if action.rival_id is not None:
            self.num_races += 1
            rival = self._leases[action.rival_id]
            lease.rival, rival.rival = rival, lease
            lease.was_raced = rival.was_raced = True

    def _on_abandon_lease(self, action: actions.AbandonLease) -> None:
        self._note_loss(self._leases[action.lease_id])
        self._release(action.lease_id)

    def _on_deliver_range(self, action: actions.DeliverRange) -> None:
        num_items = action.stop - action.start
        self.num_items_delivered += num_items
        self.last_delivery_s = self._now
        if self._num_known:
            self._num_known -= num_items

    def _on_failure(self, action: actions.FailTask | actions.DeliverException) -> None:
        # It is forgotten just before, and was counted as finished there.
        self.num_finished -= 1
        self.num_failed += 1

    def _on_item_failure(self, action: actions.FailItem | actions.DeliverItemException) -> None:
        self.num_items_failed += 1

    def _on_forget_task(self, action: actions.ForgetTask) -> None:
        # A cancelled one is counted already.
        self.num_finished += self._end_task(action.task_id)

    def _on_dismiss_manager(self, action: actions.DismissManager) -> None:
        self._remove_manager(action.manager_id, is_lost=action.is_lost)

    # --- what is there now --------------------------------------------------------------------

    def _end_task(self, task_id: TaskId) -> bool:
        is_open = task_id in self._open_tasks
        self._open_tasks.discard(task_id)
        self._lost_starts.pop(task_id, None)
        return is_open

    def _remove_manager(self, manager_id: ManagerId, *, is_lost: bool) -> None:
        manager = self._managers.pop(manager_id, None)
        if manager is not None:
            self.num_managers_lost += is_lost and self._now < manager.closed_at
            for host_id in list(manager.hosts):
                self._remove_host(host_id)

    def _remove_host(self, host_id: HostId) -> HostSeen | None:
        host = self._hosts.pop(host_id, None)
        if host is not None:
            del host.manager.hosts[host_id]
            self._ended_slot_s += host.slot_s(self._now)
            for lease_id, lease in list(host.leases.items()):
                self._note_loss(lease)
                self._release(lease_id)
        return host

    def _note_loss(self, lease: LeaseSeen) -> None:
        is_wanted = lease.rival is None and not lease.is_over
        if is_wanted and lease.task_id in self._open_tasks:
            self._lost.append(lease)
            self._lost_starts.setdefault(lease.task_id, set()).add(lease.start)

    def _release(self, lease_id: LeaseId) -> bool:
        lease = self._leases.pop(lease_id, None)
        if lease is None:
            return False
        del lease.host.leases[lease_id]
        if lease.rival is not None:
            lease.rival.rival = None
            lease.rival = None
        return True
