"""Where the time of a run's devices went, computed from its event log, live or simulated.

``WorkTime.observe`` takes the next line of the log in. At each moment a device is *working* (a host
on it has a piece), else *loading* (a host on it builds or wakes its context), else *idle*; a node
without devices counts as one. Of the working time, what was spent on results that nobody got is
*wasted*: pieces that were lost with their host, and those that another host finished first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from parsl_pcm.core import actions, events
from parsl_pcm.core.walltime import LEAVE_S
from parsl_pcm.eventlog import LogRecord, read_log
from parsl_pcm.types import ContextKey, HostId, LeaseId, ManagerId, TaskId
from parsl_pcm.worktime_records import (
    DeviceSeen,
    History,
    HostSeen,
    LeaseSeen,
    NodeSeen,
    Spent,
    State,
    TaskSeen,
)

JOURNEY_S = 0.1
"""What a piece takes from the scheduler to its host and back; what takes longer was held up."""


class WorkTime:
    """Where the time of the devices went. All times are seconds.

    Parameters
    ----------
    call_items
        So many items are in the one call of a task, where that is not 1; looked at when the task
        is submitted.
    """

    def __init__(self, call_items: Mapping[TaskId, int] | None = None) -> None:
        self.history = History()
        self.total = Spent()
        """From the start of the log until a device last changed its state."""
        self.num_items = 0
        """Of all tasks that were submitted and not cancelled."""
        self.num_delivered_twice = 0
        self.num_items_lost = 0
        """Begun and not told of when their host was gone, or would be too soon: they run again."""
        self.num_nodes = 0
        self.num_devices = 0
        """The most that were there at the same time."""
        self.first_join_s: float | None = None
        self.last_new_piece_s: float | None = None
        """When a piece was last sent that was not at another host: from then on, it ends."""
        self._call_items = {} if call_items is None else call_items
        self._now = 0.0
        self._counts = [0, 0, 0]
        self._at_end = Spent()
        self._record: LogRecord
        self._concurrency: dict[ContextKey, list[int]] = {}
        self._nodes: dict[ManagerId, NodeSeen] = {}
        self._hosts: dict[HostId, HostSeen] = {}
        self._leases: dict[LeaseId, LeaseSeen] = {}
        self._changed: list[DeviceSeen] = []
        """Devices to be looked at anew when the present line is over: a host that ends a piece and
        gets the next one has worked all the time."""
        self._open: dict[TaskId, TaskSeen] = {}
        self._observers: dict[type, Callable[[Any], None]] = {
            events.ContextDeclared: self._on_context_declared,
            events.TaskSubmitted: self._on_task_submitted,
            events.TaskCancelled: self._on_task_cancelled,
            events.ManagerRegistered: self._on_manager_registered,
            events.ManagerHeld: self._on_manager_held,
            events.ManagerClosing: self._on_manager_closing,
            events.ManagerLost: self._on_manager_lost,
            events.HostReady: self._on_host_live,
            events.HostAwake: self._on_host_live,
            events.SetupFailed: self._on_host_gone,
            events.HostExited: self._on_host_gone,
            events.PieceFinished: self._on_piece_finished,
            events.PieceFailed: self._on_piece_failed,
            events.LeaseRevoked: self._on_lease_revoked,
            actions.StartHost: self._on_start_host,
            actions.WakeHost: self._on_wake_host,
            actions.SendPiece: self._on_send_piece,
            actions.AbandonLease: self._on_abandon_lease,
            actions.DeliverRange: self._on_deliver_range,
            actions.ForgetTask: self._on_forget_task,
            actions.DismissManager: self._on_dismiss_manager,
        }

    @classmethod
    def from_log(cls, path: Path) -> WorkTime:
        """Compute it of a log, finished or not.

        Raises
        ------
        EventLogError
            If it cannot be read.
        """
        worktime = cls()
        for record in read_log(path).records:
            worktime.observe(record)
        return worktime

    def observe(self, record: LogRecord) -> None:
        """Take the next line of a log in."""
        self._record = record
        observers = self._observers
        observer = observers.get(type(record.event))
        if observer is not None:
            observer(record.event)
        for action in record.actions:
            observer = observers.get(type(action))
            if observer is not None:
                observer(action)
        if self._changed:
            self._update()

    # --- out ----------------------------------------------------------------------------------

    def until_done(self, now: float = 0.0) -> Spent:
        """Return what was spent until the last task was over.

        If one is open: until the last line of the log, or until ``now`` if that is later.
        """
        if self._open:
            self._advance(now)
            return self.total
        return self._at_end

    def idle_since(self, when: float) -> float:
        """Return the device-seconds that were idle after a moment, as exactly as the bins are."""
        first, begun = divmod(when / self.history.bin_s, 1.0)
        bins = self.history.bins[int(first) :]
        return sum(spent.idle_s for spent in bins) - (begun * bins[0].idle_s if bins else 0.0)

    # --- time ---------------------------------------------------------------------------------

    def _advance(self, now: float = 0.0) -> None:
        """Spend the time until now in the states that devices have been in since then."""
        before, self._now = self._now, max(self._now, self._record.now, now)
        if self._now > before:
            is_empty = bool(self._open) and not self._nodes
            self.history.spend(before, self._now, self._counts, is_empty=is_empty)
            self.total.spend(self._now - before, self._counts, is_empty=is_empty)

    def _update(self) -> None:
        """Look anew at what devices do whose hosts have changed."""
        for device in self._changed:
            state = device.what_it_does()
            if state is not device.state:
                self._advance()
                self._counts[device.state] -= 1
                self._counts[state] += 1
                device.state = state
        self._changed.clear()

    def _waste(self, lease: LeaseSeen, share: float = 1.0) -> None:
        """Write down that what a lease has done since it told last was in vain."""
        if lease.since is not None:
            host = lease.host
            num_running = min(len(host.leases), host.concurrency)
            wasted_s = share * (self._record.now - lease.since) * len(host.devices) / num_running
            self.total.wasted_s += wasted_s
            self.history.at(self._record.now).wasted_s += wasted_s

    def _lose(self, lease: LeaseSeen) -> None:
        """Write down that what a lease has begun runs again elsewhere."""
        self._waste(lease)
        task = self._open.get(lease.task_id)
        if task is not None and lease.since is not None:
            self.num_items_lost += (lease.stop - lease.start) * task.call_items

    # --- nodes --------------------------------------------------------------------------------

    def _on_manager_registered(self, event: events.ManagerRegistered) -> None:
        if event.manager_id in self._nodes:
            return
        self._advance()
        now = self._record.now
        self.num_nodes += 1
        self.first_join_s = now if self.first_join_s is None else self.first_join_s
        walltime_s = math.inf if event.remaining_s is None else event.remaining_s - LEAVE_S
        drain_s = math.inf if event.drain_s is None else event.drain_s
        ids = [device.device_id for device in event.resources.devices]
        devices = [DeviceSeen() for _ in ids or (None,)]
        by_id = dict(zip(ids, devices, strict=False))
        node = NodeSeen(devices, by_id, closed_at=now + min(walltime_s, drain_s))
        self._nodes[event.manager_id] = node
        self._counts[State.IDLE] += len(devices)
        self.num_devices = max(self.num_devices, sum(self._counts))

    def _on_manager_held(self, event: events.ManagerHeld) -> None:
        self._close(event.manager_id, is_taken=False)

    def _on_manager_closing(self, event: events.ManagerClosing) -> None:
        self._close(event.manager_id, is_taken=True)

    def _on_manager_lost(self, event: events.ManagerLost) -> None:
        self._remove_node(event.manager_id, is_taken=True)

    def _on_dismiss_manager(self, action: actions.DismissManager) -> None:
        self._remove_node(action.manager_id, is_taken=action.is_lost)

    def _close(self, manager_id: ManagerId, *, is_taken: bool) -> None:
        """Expect the end of a node; it is preempted if the site takes it before that."""
        node = self._nodes.get(manager_id)
        if node is not None and self._record.now < node.closed_at:
            node.closed_at = self._record.now
            self.total.num_preempted += is_taken
            self.history.at(self._record.now).num_preempted += is_taken

    def _remove_node(self, manager_id: ManagerId, *, is_taken: bool) -> None:
        self._close(manager_id, is_taken=is_taken)
        node = self._nodes.get(manager_id)
        if node is not None:
            for host_id in list(node.hosts):
                self._remove_host(host_id)
            self._update()
            self._advance()
            self._counts[State.IDLE] -= len(node.devices)
            del self._nodes[manager_id]

    # --- hosts --------------------------------------------------------------------------------

    def _on_context_declared(self, event: events.ContextDeclared) -> None:
        ways = [event.requirements, *(variant.requirements for variant in event.variants)]
        self._concurrency[event.context_key] = [way.max_concurrency for way in ways]

    def _on_start_host(self, action: actions.StartHost) -> None:
        node = self._nodes[action.manager_id]
        concurrency = self._concurrency[action.context_key][action.variant]
        host = HostSeen(node, node.devices_of(action.device_ids), concurrency)
        self._hosts[action.host_id] = node.hosts[action.host_id] = host
        self._set_loading(host, is_loading=True)

    def _on_wake_host(self, action: actions.WakeHost) -> None:
        self._set_loading(self._hosts[action.host_id], is_loading=True)

    def _on_host_live(self, event: events.HostReady | events.HostAwake) -> None:
        host = self._hosts.get(event.host_id)
        if host is not None:
            self._set_loading(host, is_loading=False)

    def _on_host_gone(self, event: events.SetupFailed | events.HostExited) -> None:
        self._remove_host(event.host_id)

    def _set_loading(self, host: HostSeen, *, is_loading: bool) -> None:
        if host.is_loading != is_loading:
            host.is_loading = is_loading
            for device in host.devices:
                device.num_loading += 1 if is_loading else -1
            self._changed += host.devices

    def _remove_host(self, host_id: HostId) -> None:
        host = self._hosts.pop(host_id, None)
        if host is None:
            return
        for lease in host.leases.values():
            self._lose(lease)
        for lease_id in list(host.leases):
            self._release(lease_id)
        self._set_loading(host, is_loading=False)
        del host.node.hosts[host_id]

    # --- pieces -------------------------------------------------------------------------------

    def _on_send_piece(self, action: actions.SendPiece) -> None:
        now = self._record.now
        if action.rival_id is None:
            self.last_new_piece_s = now
        host = self._hosts[action.host_id]
        since = now if len(host.leases) < host.concurrency else None
        lease = LeaseSeen(host, action.task_id, action.start, action.stop, since)
        self._leases[action.lease_id] = host.leases[action.lease_id] = lease
        if len(host.leases) == 1:
            self._set_working(host, is_working=True)

    def _on_piece_finished(self, event: events.PieceFinished) -> None:
        lease = self._leases.get(event.lease_id)
        if lease is None or lease.start != event.start:
            return
        self._note_waiting(lease, event.run_s)
        num_items = num_old = event.stop - event.start
        for action in self._record.actions:
            if type(action) is actions.DeliverRange:
                num_old -= action.stop - action.start
        if num_old > 0:
            self._waste(lease, num_old / num_items)
        lease.start, lease.since = event.stop, self._record.now
        if lease.start >= lease.stop:
            self._release(event.lease_id)

    def _note_waiting(self, lease: LeaseSeen, run_s: float) -> None:
        """Write down as idle the time in which a piece was still on its way to its host."""
        host, now = lease.host, self._record.now
        if lease.since is None or host.concurrency > 1:
            return
        waited_s = now - lease.since - run_s
        if waited_s > JOURNEY_S and all(device.num_working == 1 for device in host.devices):
            self._advance()
            num = len(host.devices)
            self.total.spend(waited_s, (-num, 0, num), is_empty=False)
            began_at = lease.since + waited_s
            self.history.spend(lease.since, began_at, (-num, 0, num), is_empty=False)

    def _on_piece_failed(self, event: events.PieceFailed) -> None:
        self._release(event.lease_id)

    def _on_lease_revoked(self, event: events.LeaseRevoked) -> None:
        self._release(event.lease_id)

    def _on_abandon_lease(self, action: actions.AbandonLease) -> None:
        lease = self._leases.get(action.lease_id)
        if lease is not None:
            self._lose(lease)
            self._release(action.lease_id)

    def _release(self, lease_id: LeaseId) -> None:
        lease = self._leases.pop(lease_id, None)
        if lease is None:
            return
        host = lease.host
        del host.leases[lease_id]
        if not host.leases:
            self._set_working(host, is_working=False)
            return
        for begun in islice(host.leases.values(), host.concurrency - 1, host.concurrency):
            begun.since = self._record.now if begun.since is None else begun.since

    def _set_working(self, host: HostSeen, *, is_working: bool) -> None:
        for device in host.devices:
            device.num_working += 1 if is_working else -1
        self._changed += host.devices

    # --- tasks --------------------------------------------------------------------------------

    def _on_task_submitted(self, event: events.TaskSubmitted) -> None:
        if not self._open:
            self._advance()
        task = TaskSeen(event.num_items, self._call_items.get(event.task_id, 1))
        self._open[event.task_id] = task
        self.num_items += task.num_items * task.call_items

    def _on_task_cancelled(self, event: events.TaskCancelled) -> None:
        task = self._open.get(event.task_id)
        if task is not None:
            self.num_items -= task.num_items * task.call_items
            self._end_task(event.task_id)

    def _on_deliver_range(self, action: actions.DeliverRange) -> None:
        task = self._open.get(action.task_id)
        if task is None:
            self.num_delivered_twice += action.stop - action.start
            return
        num_twice = task.delivered.add(action.start, action.stop)
        self.num_delivered_twice += num_twice * task.call_items
        num_new = (action.stop - action.start - num_twice) * task.call_items
        self.total.num_delivered += num_new
        self.history.at(self._record.now).num_delivered += num_new

    def _on_forget_task(self, action: actions.ForgetTask) -> None:
        self._end_task(action.task_id)

    def _end_task(self, task_id: TaskId) -> None:
        if len(self._open) == 1:
            self._advance()  # as long as somebody waits
        if self._open.pop(task_id, None) is not None and not self._open:
            self._at_end = replace(self.total)
