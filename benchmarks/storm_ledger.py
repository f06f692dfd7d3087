"""Books of a run of our own, kept from what the scheduler hears and decides: all of it must fit.

They know nothing of the scheduler's records, so that what is wrong there shows here: an item that
is delivered twice, an order for a host that is gone, a task that is over and gets another piece.
"""

from __future__ import annotations

import enum
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from parsl_pcm.core import actions, events
from parsl_pcm.core.events import Event
from parsl_pcm.eventlog import LogRecord
from parsl_pcm.types import HostId, LeaseId, ManagerId, TaskId

REMEMBERED = 500
"""Things that are over of which something may still be heard."""
UNKNOWN = 10**9


@dataclass(slots=True)
class TaskBook:
    """A task, and what became of each of its items."""

    delivered: bytearray
    is_mapped: bool
    end: str | None = None
    """How it ended; None: it has not."""
    is_forgotten: bool = False

    @property
    def num_delivered(self) -> int:
        """Items whose results were delivered."""
        return self.delivered.count(1)


@dataclass(slots=True)
class LeaseBook:
    """A piece at a host."""

    host_id: HostId
    task_id: TaskId
    start: int
    stop: int
    was_raced: bool


class HostState(enum.Enum):
    """What a host does, as far as the scheduler can know."""

    STARTING = enum.auto()
    READY = enum.auto()
    DOZING = enum.auto()
    ASLEEP = enum.auto()
    WAKING = enum.auto()
    STOPPING = enum.auto()


@dataclass(slots=True)
class HostBook:
    """A host that the scheduler has not heard the end of."""

    manager_id: ManagerId
    state: HostState = HostState.STARTING
    leases: set[LeaseId] = field(default_factory=set)


class Ledger:
    """The books; ``observe`` raises AssertionError where a line does not fit."""

    def __init__(self) -> None:
        self.tasks: dict[TaskId, TaskBook] = {}
        self.hosts: dict[HostId, HostBook] = {}
        self.leases: dict[LeaseId, LeaseBook] = {}
        self.managers: dict[ManagerId, dict[HostId, None]] = {}
        """The hosts of each node that the scheduler knows."""
        self.counts: Counter[str] = Counter()
        """Of events and actions, by their kinds."""
        self.over: deque[Event] = deque(maxlen=REMEMBERED)
        """What may still be heard of things that are over, and must change nothing."""
        self._closed: set[ManagerId] = set()
        self._event: Event = events.TimePassed()
        self._on: dict[type, Callable[[Any], object]] = {
            events.TaskSubmitted: self._on_task_submitted,
            events.TaskCancelled: self._on_task_cancelled,
            events.ManagerRegistered: self._on_manager_registered,
            events.ManagerHeld: self._on_manager_closing,
            events.ManagerClosing: self._on_manager_closing,
            events.ManagerLost: self._on_manager_lost,
            events.HostReady: self._on_host_ready,
            events.HostAwake: self._on_host_awake,
            events.HostAsleep: self._on_host_asleep,
            events.SetupFailed: self._on_host_gone,
            events.HostExited: self._on_host_gone,
            events.PieceFinished: self._on_piece_finished,
            events.PieceFailed: self._on_piece_over,
            events.LeaseRevoked: self._on_piece_over,
            actions.StartHost: self._on_start_host,
            actions.StopHost: self._on_stop_host,
            actions.SleepHost: self._on_sleep_host,
            actions.WakeHost: self._on_wake_host,
            actions.SendPiece: self._on_send_piece,
            actions.RevokeLease: self._on_revoke_lease,
            actions.AbandonLease: self._on_abandon_lease,
            actions.DeliverRange: self._on_deliver_range,
            actions.DeliverException: self._on_deliver_exception,
            actions.FailTask: self._on_fail_task,
            actions.ForgetTask: self._on_forget_task,
            actions.DismissManager: self._on_dismiss_manager,
        }

    def observe(self, record: LogRecord) -> None:
        """Take the next line in."""
        self._event = record.event
        for part in (record.event, *record.actions):
            kind = type(part)
            self.counts[kind.__name__] += 1
            observer = self._on.get(kind)
            if observer is not None:
                observer(part)

    def ends(self) -> Counter[str]:
        """Return how tasks ended; those that have not are ``open``."""
        return Counter(task.end or "open" for task in self.tasks.values())

    def num_items(self) -> tuple[int, int]:
        """Return the items of all tasks, and those of them that were delivered."""
        tasks = self.tasks.values()
        return sum(len(task.delivered) for task in tasks), sum(t.num_delivered for t in tasks)

    def close(self) -> None:
        """Check that all has come to an end, and every item that was promised was delivered."""
        for task_id, task in self.tasks.items():
            assert task.end is not None, f"task {task_id} waits for ever"
            assert task.is_forgotten, f"task {task_id} is over and not forgotten"
            is_whole = task.num_delivered == len(task.delivered)
            assert (task.end == "finished") == is_whole, f"task {task_id}: {task.end}"
        assert not self.leases, f"{len(self.leases)} leases never end: {list(self.leases)[:5]}"

    def dozing(self) -> list[HostId]:
        """Return the hosts that were told to sleep and have not said that they do."""
        return [each for each, host in self.hosts.items() if host.state is HostState.DOZING]

    def late_word(self, random: Random) -> Event:
        """Return something that is heard of what is over or never was."""
        if not self.over or random.random() < 0.1:
            return random.choice(list(_of_strangers()))
        num_recent = random.choice([5, 50, REMEMBERED])
        return self.over[-random.randint(1, min(num_recent, len(self.over)))]

    # --- nodes and hosts ----------------------------------------------------------------------

    def _on_manager_registered(self, event: events.ManagerRegistered) -> None:
        self.managers.setdefault(event.manager_id, {})

    def _on_manager_closing(self, event: events.ManagerHeld | events.ManagerClosing) -> None:
        if event.manager_id in self.managers:
            self._closed.add(event.manager_id)

    def _on_manager_lost(self, event: events.ManagerLost) -> None:
        self._remove_manager(event.manager_id)

    def _on_dismiss_manager(self, action: actions.DismissManager) -> None:
        assert action.manager_id in self.managers, action
        self._closed.add(action.manager_id)
        if action.is_lost:
            self._remove_manager(action.manager_id)

    def _remove_manager(self, manager_id: ManagerId) -> None:
        hosts = self.managers.pop(manager_id, None)
        if hosts is None:
            return
        self.over.append(events.ManagerLost(manager_id=manager_id, reason="again"))
        self.over.append(events.ManagerClosing(manager_id=manager_id, remaining_s=1.0))
        self.over.append(events.ManagerHeld(manager_id=manager_id))
        for host_id in hosts:
            self._remove_host(host_id)

    def _on_start_host(self, action: actions.StartHost) -> None:
        assert action.host_id not in self.hosts, action
        assert action.manager_id not in self._closed, action
        self.managers[action.manager_id][action.host_id] = None
        self.hosts[action.host_id] = HostBook(action.manager_id)

    def _on_host_ready(self, event: events.HostReady) -> None:
        self._pass(event.host_id, HostState.STARTING, HostState.READY)
        self.over.append(event)

    def _on_host_awake(self, event: events.HostAwake) -> None:
        self._pass(event.host_id, HostState.WAKING, HostState.READY)

    def _on_host_asleep(self, event: events.HostAsleep) -> None:
        self._pass(event.host_id, HostState.DOZING, HostState.ASLEEP)

    def _pass(self, host_id: HostId, before: HostState, after: HostState) -> None:
        """Note what a host says of itself, if that can be: else it was said before."""
        host = self.hosts.get(host_id)
        if host is not None and host.state is before:
            host.state = after

    def _on_sleep_host(self, action: actions.SleepHost) -> None:
        self._order(action, HostState.DOZING, HostState.READY)

    def _on_wake_host(self, action: actions.WakeHost) -> None:
        assert self.hosts[action.host_id].manager_id not in self._closed, action
        self._order(action, HostState.WAKING, HostState.ASLEEP)

    def _on_stop_host(self, action: actions.StopHost) -> None:
        self._order(action, HostState.STOPPING, *set(HostState) - {HostState.STOPPING})

    def _order(
        self,
        action: actions.StopHost | actions.SleepHost | actions.WakeHost,
        after: HostState,
        *before: HostState,
    ) -> None:
        host = self.hosts[action.host_id]
        assert host.manager_id == action.manager_id, action
        assert host.state in before, (action, host.state)
        assert not host.leases, f"{action} while it has pieces"
        host.state = after

    def _on_host_gone(self, event: events.SetupFailed | events.HostExited) -> None:
        host = self._remove_host(event.host_id)
        if host is not None:
            self.managers[host.manager_id].pop(event.host_id)

    def _remove_host(self, host_id: HostId) -> HostBook | None:
        host = self.hosts.pop(host_id, None)
        if host is not None:
            self.over.append(events.HostExited(host_id=host_id, description="again"))
            self.over.append(events.SetupFailed(host_id=host_id, message="late"))
            self.over.append(events.HostReady(host_id=host_id, setup_s=1.0))
            self.over.append(events.HostAsleep(host_id=host_id, sleep_s=1.0))
            self.over.append(events.HostAwake(host_id=host_id, wake_s=1.0))
            self.over.append(events.HostMeasured(host_id=host_id, host_memory_bytes=UNKNOWN))
            for lease_id in sorted(host.leases):
                self._remove_lease(lease_id)
        return host

    # --- pieces -------------------------------------------------------------------------------

    def _on_send_piece(self, action: actions.SendPiece) -> None:
        host, task = self.hosts[action.host_id], self.tasks[action.task_id]
        assert host.state is HostState.READY, action
        assert host.manager_id == action.manager_id, action
        assert host.manager_id not in self._closed, action
        assert task.end is None, f"{action} of a task that is over"
        assert action.lease_id not in self.leases, action
        assert 0 <= action.start < action.stop <= len(task.delivered), action
        assert action.rival_id is None or task.is_mapped, action
        if action.rival_id is not None:
            rival = self.leases[action.rival_id]
            assert not rival.was_raced, action
            rival.was_raced = True
        else:
            assert not task.delivered.count(1, action.start, action.stop), f"{action} is done"
        self.leases[action.lease_id] = LeaseBook(
            action.host_id, action.task_id, action.start, action.stop, action.rival_id is not None
        )
        host.leases.add(action.lease_id)

    def _on_revoke_lease(self, action: actions.RevokeLease) -> None:
        assert self.leases[action.lease_id].host_id == action.host_id, action

    def _on_abandon_lease(self, action: actions.AbandonLease) -> None:
        assert self.leases[action.lease_id].host_id == action.host_id, action
        self._remove_lease(action.lease_id)

    def _on_piece_finished(self, event: events.PieceFinished) -> None:
        lease = self.leases.get(event.lease_id)
        if lease is not None and lease.start == event.start:
            lease.start = event.stop
            self.over.append(event)
            if lease.start == lease.stop:
                self._remove_lease(event.lease_id)

    def _on_piece_over(self, event: events.PieceFailed | events.LeaseRevoked) -> None:
        self._remove_lease(event.lease_id)

    def _remove_lease(self, lease_id: LeaseId) -> None:
        lease = self.leases.pop(lease_id, None)
        if lease is None:
            return
        if lease.host_id in self.hosts:
            self.hosts[lease.host_id].leases.discard(lease_id)
        self.over.append(
            events.PieceFinished(lease_id=lease_id, start=lease.start, stop=lease.stop, run_s=1.0)
        )
        self.over.append(events.PieceFailed(lease_id=lease_id))
        self.over.append(events.LeaseRevoked(lease_id=lease_id))

    # --- tasks --------------------------------------------------------------------------------

    def _on_task_submitted(self, event: events.TaskSubmitted) -> None:
        assert event.task_id not in self.tasks, event
        self.tasks[event.task_id] = TaskBook(bytearray(event.num_items), event.is_mapped)

    def _on_task_cancelled(self, event: events.TaskCancelled) -> None:
        task = self.tasks.get(event.task_id)
        if task is not None and task.end is None:
            task.end = "cancelled"

    def _on_deliver_range(self, action: actions.DeliverRange) -> None:
        task, told = self.tasks[action.task_id], self._event
        assert isinstance(told, events.PieceFinished), told
        assert told.start <= action.start < action.stop == told.stop, (told, action)
        assert task.end is None, f"{action} of a task that is over"
        assert not task.delivered.count(1, action.start, action.stop), f"{action} comes twice"
        task.delivered[action.start : action.stop] = b"\1" * (action.stop - action.start)

    def _on_deliver_exception(self, action: actions.DeliverException) -> None:
        assert isinstance(self._event, events.PieceFailed), self._event
        self._end(action.task_id, "raised")

    def _on_fail_task(self, action: actions.FailTask) -> None:
        assert action.message, action
        self._end(action.task_id, action.reason.value)

    def _end(self, task_id: TaskId, how: str) -> None:
        """Note a failure: the task is forgotten just before, and counted as finished there."""
        task = self.tasks[task_id]
        assert task.is_forgotten, task_id
        assert task.end == "finished", f"task {task_id} ends twice: {task.end}, {how}"
        assert task.num_delivered < len(task.delivered), f"task {task_id} is done and fails: {how}"
        task.end = how

    def _on_forget_task(self, action: actions.ForgetTask) -> None:
        task = self.tasks[action.task_id]
        assert not task.is_forgotten, action
        task.is_forgotten = True
        task.end = task.end or "finished"
        self.over.append(events.TaskCancelled(task_id=action.task_id))


def _of_strangers() -> Iterator[Event]:
    """Yield what is heard of things that never were."""
    host_id, lease_id, manager_id = HostId(UNKNOWN), LeaseId(UNKNOWN), ManagerId("nobody")
    yield events.PieceFinished(lease_id=lease_id, start=0, stop=1, run_s=1.0)
    yield events.PieceFailed(lease_id=lease_id)
    yield events.PieceFailed(lease_id=lease_id, is_misaligned=True)
    yield events.LeaseRevoked(lease_id=lease_id)
    yield events.HostReady(host_id=host_id, setup_s=1.0)
    yield events.HostExited(host_id=host_id, description="never was")
    yield events.SleepFailed(host_id=host_id, message="never was")
    yield events.ManagerHeard(manager_id=manager_id)
    yield events.ManagerLost(manager_id=manager_id, reason="never was")
    yield events.TaskCancelled(task_id=TaskId(UNKNOWN))
