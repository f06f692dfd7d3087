"""What an event log says of times: of items, set-ups, sleeps, and of when nodes were there."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from parsl_pcm.core import actions, events
from parsl_pcm.core.walltime import LEAVE_S
from parsl_pcm.eventlog import LogRecord
from parsl_pcm.simulator.site.gpus import CPU
from parsl_pcm.types import ContextKey, HostId, LeaseId, ManagerId, NodeResources, TaskId


@dataclass
class Times:
    """Times of the same kind: their mean, and how much they differ.

    A measure of several together counts as that many, each with their mean.
    """

    num: int = 0
    total_s: float = 0.0
    _num_measures: int = 0
    _squares: float = 0.0

    def add(self, duration_s: float, num: int = 1) -> None:
        """Take the time of so many together in."""
        self.num += num
        self.total_s += duration_s
        self._num_measures += 1
        self._squares += duration_s * duration_s / num

    @property
    def mean_s(self) -> float:
        """Mean of one; 0.0 if there was none."""
        return self.total_s / self.num if self.num else 0.0

    @property
    def cv(self) -> float:
        """Standard deviation of one over the mean; 0.0 if there were less than two measures."""
        if self._num_measures < 2 or not self.total_s:
            return 0.0
        variance = (self._squares - self.total_s * self.mean_s) / (self._num_measures - 1)
        return math.sqrt(max(0.0, variance)) / self.mean_s


class WorkKind(NamedTuple):
    """Tasks that are alike."""

    context_key: ContextKey
    function_key: str
    is_mapped: bool
    priority: int


@dataclass
class WorkSeen:
    """What was submitted of a kind: (time, items) of each task, and how long its items took."""

    tasks: dict[TaskId, tuple[float, int]] = field(default_factory=dict)
    item: Times = field(default_factory=Times)


@dataclass
class ContextSeen:
    """A context, with its times by the name of the GPU (``cpu``: none)."""

    declared: events.ContextDeclared
    items: dict[str, Times] = field(default_factory=lambda: defaultdict(Times))
    setups: dict[str, Times] = field(default_factory=lambda: defaultdict(Times))
    variant_items: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """Items done by the hosts of each way."""
    sleep: Times = field(default_factory=Times)
    wake: Times = field(default_factory=Times)
    boot_s: float = math.inf
    """The shortest time that a process took beside its set-up."""


@dataclass
class NodeLife:
    """A node, and when it was there."""

    resources: NodeResources
    from_s: float
    ends_s: float
    """When its walltime, or its drain period, would end it."""
    until_s: float = math.inf
    is_silent_loss: bool = False
    is_taken: bool = False
    """Whether the site has said that it takes it back."""
    is_given_back: bool = False
    """Whether we ended it: the site would have let us keep it."""

    @property
    def is_over_time(self) -> bool:
        """Whether its walltime ended it."""
        return self.until_s >= self.ends_s - LEAVE_S and self.until_s < math.inf


class _Host(NamedTuple):
    context: ContextSeen
    gpu: str
    variant: int
    started_s: float


class Measured:
    """Takes the lines of a log in, in order; then all that it has is what was measured."""

    def __init__(self) -> None:
        self.contexts: dict[ContextKey, ContextSeen] = {}
        self.work: dict[WorkKind, WorkSeen] = {}
        self.nodes: dict[ManagerId, NodeLife] = {}
        self.notices_s: list[float] = []
        """How long before a node was taken the site has said so."""
        self._now = 0.0
        self._over_s = 0.0
        self._kinds: dict[TaskId, WorkKind] = {}
        self._hosts: dict[HostId, _Host] = {}
        self._leases: dict[LeaseId, tuple[_Host, WorkSeen, int]] = {}
        self._observers: dict[type, Callable[[Any], None]] = {
            events.ContextDeclared: self._on_context_declared,
            events.TaskSubmitted: self._on_task_submitted,
            events.TaskCancelled: self._on_task_cancelled,
            events.ManagerRegistered: self._on_manager_registered,
            events.ManagerHeld: self._on_manager_held,
            events.ManagerClosing: self._on_manager_closing,
            events.ManagerLost: self._on_manager_lost,
            events.HostReady: self._on_host_ready,
            events.HostAsleep: self._on_host_asleep,
            events.HostAwake: self._on_host_awake,
            events.PieceFinished: self._on_piece_finished,
            actions.StartHost: self._on_start_host,
            actions.SendPiece: self._on_send_piece,
            actions.ForgetTask: self._on_forget_task,
            actions.DismissManager: self._on_dismiss_manager,
        }

    def observe(self, record: LogRecord) -> None:
        """Take the next line of a log in."""
        self._now = record.now
        for happened in (record.event, *record.actions):
            observer = self._observers.get(type(happened))
            if observer is not None:
                observer(happened)

    @property
    def ended_s(self) -> float:
        """When the last task was over; the end of the log if one is open."""
        return self._now if self._kinds else self._over_s

    @property
    def is_elastic(self) -> bool:
        """Whether a node was given back while there was work."""
        return any(
            life.is_given_back and not life.is_over_time and life.until_s < self.ended_s
            for life in self.nodes.values()
        )

    # --- work ---------------------------------------------------------------------------------

    def _on_context_declared(self, event: events.ContextDeclared) -> None:
        self.contexts.setdefault(event.context_key, ContextSeen(event))

    def _on_task_submitted(self, event: events.TaskSubmitted) -> None:
        kind = WorkKind(event.context_key, event.function_key, event.is_mapped, event.priority)
        seen = self.work.setdefault(kind, WorkSeen())
        seen.tasks[event.task_id] = (self._now, event.num_items)
        self._kinds[event.task_id] = kind

    def _on_task_cancelled(self, event: events.TaskCancelled) -> None:
        kind = self._kinds.get(event.task_id)
        if kind is not None:
            del self.work[kind].tasks[event.task_id]
            self._over(event.task_id)

    def _on_forget_task(self, action: actions.ForgetTask) -> None:
        self._over(action.task_id)

    def _over(self, task_id: TaskId) -> None:
        if self._kinds.pop(task_id, None) is not None:
            self._over_s = self._now

    def _on_send_piece(self, action: actions.SendPiece) -> None:
        kind = self._kinds.get(action.task_id)
        if kind is not None:
            host = self._hosts[action.host_id]
            self._leases[action.lease_id] = (host, self.work[kind], action.stop)

    def _on_piece_finished(self, event: events.PieceFinished) -> None:
        host, work, stop = self._leases.get(event.lease_id, (None, None, 0))
        if host is not None and work is not None:
            num_items = event.stop - event.start
            host.context.items[host.gpu].add(event.run_s, num_items)
            host.context.variant_items[host.variant] += num_items
            work.item.add(event.run_s, num_items)
            if event.stop == stop:
                del self._leases[event.lease_id]

    # --- hosts --------------------------------------------------------------------------------

    def _on_start_host(self, action: actions.StartHost) -> None:
        names = [
            device.name
            for device in self.nodes[action.manager_id].resources.devices
            if device.device_id in action.device_ids
        ]
        context = self.contexts[action.context_key]
        gpu = names[0] if names else CPU
        self._hosts[action.host_id] = _Host(context, gpu, action.variant, self._now)

    def _on_host_ready(self, event: events.HostReady) -> None:
        host = self._hosts.get(event.host_id)
        if host is not None:
            host.context.setups[host.gpu].add(event.setup_s)
            boot_s = max(0.0, self._now - host.started_s - event.setup_s)
            host.context.boot_s = min(host.context.boot_s, boot_s)

    def _on_host_asleep(self, event: events.HostAsleep) -> None:
        if event.host_id in self._hosts:
            self._hosts[event.host_id].context.sleep.add(event.sleep_s)

    def _on_host_awake(self, event: events.HostAwake) -> None:
        if event.host_id in self._hosts:
            self._hosts[event.host_id].context.wake.add(event.wake_s)

    # --- nodes --------------------------------------------------------------------------------

    def _on_manager_registered(self, event: events.ManagerRegistered) -> None:
        walltime_s = math.inf if event.remaining_s is None else event.remaining_s
        drain_s = math.inf if event.drain_s is None else event.drain_s + LEAVE_S
        life = NodeLife(event.resources, self._now, self._now + min(walltime_s, drain_s))
        self.nodes.setdefault(event.manager_id, life)

    def _on_manager_held(self, event: events.ManagerHeld) -> None:
        life = self.nodes.get(event.manager_id)
        if life is not None and not life.is_taken:
            life.is_given_back = True

    def _on_manager_closing(self, event: events.ManagerClosing) -> None:
        life = self.nodes.get(event.manager_id)
        if life is not None:
            life.is_taken = True
        is_early = life is not None and self._now < life.ends_s - LEAVE_S
        if event.remaining_s is not None and is_early:
            self.notices_s.append(event.remaining_s)

    def _on_manager_lost(self, event: events.ManagerLost) -> None:
        self._end_node(event.manager_id, is_silent=False)

    def _on_dismiss_manager(self, action: actions.DismissManager) -> None:
        life = self.nodes.get(action.manager_id)
        if life is not None and not (action.is_lost or life.is_taken):
            life.is_given_back = True
        self._end_node(action.manager_id, is_silent=action.is_lost)

    def _end_node(self, manager_id: ManagerId, *, is_silent: bool) -> None:
        life = self.nodes.get(manager_id)
        if life is not None and life.until_s == math.inf:
            life.until_s = self._now
            life.is_silent_loss = is_silent
