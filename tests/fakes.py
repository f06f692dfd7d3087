"""A pool in virtual time for the scheduler: it plays the driver, the managers and their hosts.

Every message of a manager travels in order, those of different managers overtake each other, and
nothing happens unless the owner of the pool asks for it. ``feed`` holds what the scheduler must
never break: every item is delivered once at most, a task ends once, and no action refers to a
host that is not there.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from parsl_pcm.core import actions, events
from parsl_pcm.core.actions import Action
from parsl_pcm.core.check import check
from parsl_pcm.core.departures import FORGIVE_S, WALLTIME_SIGNAL_S
from parsl_pcm.core.events import Event
from parsl_pcm.core.memory import NOTHING_HELD, Held
from parsl_pcm.core.policy import DefaultPolicy
from parsl_pcm.core.records import HostRecord, PieceRecord
from parsl_pcm.core.scheduler import Scheduler
from parsl_pcm.core.transitions import HostState
from parsl_pcm.core.walltime import LEAVE_S
from parsl_pcm.types import (
    BlockId,
    ContextKey,
    Device,
    DeviceId,
    HostId,
    LeaseId,
    ManagerId,
    NodeResources,
    Requirements,
    TaskId,
    Variant,
)

GB = 10**9
NOTICE_S = 10.0
PATIENCE = 20_000
"""Rounds in which a healthy pool must have ended everything."""


HostOrder = (
    actions.StopHost
    | actions.SleepHost
    | actions.WakeHost
    | actions.SendPiece
    | actions.RevokeLease
    | actions.AbandonLease
)


class PairCuttingPolicy(DefaultPolicy):
    """Gives two items at a time."""

    def cut(self, piece: PieceRecord, host: HostRecord, num_hosts: int) -> int:
        return min(piece.stop, piece.start + 2)


class WholePiecePolicy(DefaultPolicy):
    """Gives whole pieces."""

    def cut(self, piece: PieceRecord, host: HostRecord, num_hosts: int) -> int:
        return piece.stop


def cpu_node(cores: float = 1.0, memory_bytes: int = 16 * GB, **more: int) -> NodeResources:
    return NodeResources(cores=cores, memory_bytes=memory_bytes, **more)


def gpu_node(
    *gpu_gb: int, cores: float = 8.0, memory_bytes: int = 64 * GB, capability: float = 8.0
) -> NodeResources:
    devices = tuple(
        Device(
            device_id=DeviceId(f"GPU-{index}"),
            kind="cuda",
            name="gpu",
            memory_bytes=size * GB,
            compute_capability=capability,
        )
        for index, size in enumerate(gpu_gb)
    )
    return NodeResources(cores=cores, memory_bytes=memory_bytes, devices=devices)


@dataclass
class FakeLease:
    lease_id: LeaseId
    task_id: TaskId
    start: int
    stop: int
    first: int
    """Where it began."""


@dataclass
class FakeHost:
    host_id: HostId
    context_key: ContextKey
    concurrency: int = 1
    state: HostState = HostState.STARTING
    leases: list[FakeLease] = field(default_factory=list)

    @property
    def is_ready(self) -> bool:
        return self.state is HostState.READY

    def running(self) -> list[FakeLease]:
        return self.leases[: self.concurrency]


@dataclass
class FakeManager:
    manager_id: ManagerId
    hosts: dict[HostId, FakeHost] = field(default_factory=dict)
    inbox: deque[Action] = field(default_factory=deque)
    outbox: deque[Event] = field(default_factory=deque)
    is_silent: bool = False


@dataclass
class FakePool:
    """See the module. Contexts that are ``broken`` never build; ``poison`` tasks kill hosts.

    On nodes in ``bad_nodes`` nothing can be built. ``sleepless`` contexts cannot be put to sleep,
    and those that are ``unwakeable`` do not wake up. ``held`` is what hosts are measured to hold.

    Of mapped tasks, the items in ``poison_items`` kill hosts and those in ``bad_items`` raise; the
    app of those in ``yielding`` returns results one by one.
    """

    random: Random
    max_attempts: int = 3
    policy: DefaultPolicy = field(default_factory=DefaultPolicy)
    possible_nodes: tuple[NodeResources, ...] = ()
    run_s: Sequence[float] = (0.001, 0.01, 0.1, 1.0, 100.0)
    """What hosts say that pieces took."""
    now: float = 0.0
    managers: dict[ManagerId, FakeManager] = field(default_factory=dict)
    gone: list[FakeManager] = field(default_factory=list)
    """Lost managers, some of whose messages may still be on their way."""
    ways: dict[ContextKey, tuple[Requirements, ...]] = field(default_factory=dict)
    broken: set[ContextKey] = field(default_factory=set)
    bad_nodes: set[ManagerId] = field(default_factory=set)
    sleepless: set[ContextKey] = field(default_factory=set)
    unwakeable: set[ContextKey] = field(default_factory=set)
    held: dict[ContextKey, Held] = field(default_factory=dict)
    told: list[actions.TellTrouble] = field(default_factory=list)
    poison: set[TaskId] = field(default_factory=set)
    poison_items: set[tuple[TaskId, int]] = field(default_factory=set)
    bad_items: set[tuple[TaskId, int]] = field(default_factory=set)
    mapped: set[TaskId] = field(default_factory=set)
    tolerant: set[TaskId] = field(default_factory=set)
    yielding: set[TaskId] = field(default_factory=set)
    failed_items: dict[TaskId, set[int]] = field(default_factory=dict)
    raced: set[LeaseId] = field(default_factory=set)
    num_items: dict[TaskId, int] = field(default_factory=dict)
    delivered: dict[TaskId, set[int]] = field(default_factory=dict)
    ended: dict[TaskId, str] = field(default_factory=dict)
    forgotten: set[TaskId] = field(default_factory=set)
    kills: Counter[tuple[TaskId, int]] = field(default_factory=Counter)
    """Hosts that died, as far as the scheduler was told, while running from this item on."""
    dying_words: dict[HostId, list[tuple[TaskId, int]]] = field(default_factory=dict)
    history: list[tuple[float, Event, list[Action]]] = field(default_factory=list)
    known_hosts: dict[HostId, ManagerId] = field(default_factory=dict)
    """Hosts that the driver was told to start and that are not known to be gone."""
    ready_hosts: set[HostId] = field(default_factory=set)
    sleeping_hosts: set[HostId] = field(default_factory=set)
    closed: set[ManagerId] = field(default_factory=set)
    """Managers that were held or are taken back: nothing new for them."""
    leave_at: dict[ManagerId, float] = field(default_factory=dict)
    """When nothing new goes to a manager any more, by its walltime."""
    gone_by: dict[ManagerId, float] = field(default_factory=dict)
    """When a manager that is taken back must be dismissed or lost."""
    recent_kills: list[tuple[float, ManagerId, list[tuple[TaskId, int]]]] = field(
        default_factory=list
    )
    abandoned: set[LeaseId] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(
            policy=self.policy,
            max_attempts=self.max_attempts,
            heartbeat_threshold_s=60.0,
            notice_s=NOTICE_S,
            possible_nodes=self.possible_nodes,
        )

    # --- the driver ---------------------------------------------------------------------------

    def feed(self, event: Event) -> list[Action]:
        """Give the scheduler an event, carry its actions out, and check everything."""
        self._note(event)
        decided = self.scheduler.handle(event, self.now)
        self.history.append((self.now, event, decided))
        for action in decided:
            self._perform(action, event)
        self._forgive()
        check(self.scheduler.cluster)
        return decided

    def declare(self, key: str, requirements: Requirements, *variants: Requirements) -> ContextKey:
        """Declare a context; its variants are called v1, v2, ..."""
        context_key = ContextKey(key)
        self.ways[context_key] = (requirements, *variants)
        self.feed(
            events.ContextDeclared(
                context_key=context_key,
                name=key,
                requirements=requirements,
                variants=tuple(
                    Variant(name=f"v{number}", requirements=needs)
                    for number, needs in enumerate(variants, start=1)
                ),
            )
        )
        return context_key

    def submit(self, context_key: ContextKey, num_items: int = 1, priority: int = 0) -> TaskId:
        return self._submit(
            events.TaskSubmitted(
                task_id=TaskId(len(self.num_items)),
                context_key=context_key,
                num_items=num_items,
                priority=priority,
            )
        )

    def submit_map(
        self,
        context_key: ContextKey,
        num_items: int,
        *,
        is_tolerant: bool = False,
        is_yielding: bool = False,
        function_key: str = "",
        poison: Sequence[int] = (),
        bad: Sequence[int] = (),
    ) -> TaskId:
        task_id = TaskId(len(self.num_items))
        self.mapped.add(task_id)
        self.tolerant |= {task_id} if is_tolerant else set()
        self.yielding |= {task_id} if is_yielding else set()
        self.poison_items |= {(task_id, item) for item in poison}
        self.bad_items |= {(task_id, item) for item in bad}
        return self._submit(
            events.TaskSubmitted(
                task_id=task_id,
                context_key=context_key,
                num_items=num_items,
                is_mapped=True,
                is_tolerant=is_tolerant,
                function_key=function_key,
            )
        )

    def _submit(self, event: events.TaskSubmitted) -> TaskId:
        self.num_items[event.task_id] = event.num_items
        self.delivered[event.task_id] = set()
        self.failed_items[event.task_id] = set()
        self.feed(event)
        return event.task_id

    def cancel(self, task_id: TaskId) -> None:
        if task_id not in self.ended:
            self.ended[task_id] = "cancelled"
        self.feed(events.TaskCancelled(task_id=task_id))

    def register(
        self,
        resources: NodeResources,
        remaining_s: float | None = None,
        drain_s: float | None = None,
    ) -> FakeManager:
        manager_id = ManagerId(f"m{len(self.managers) + len(self.gone)}")
        self.managers[manager_id] = FakeManager(manager_id)
        if remaining_s is not None:
            self.leave_at[manager_id] = self.now + remaining_s - LEAVE_S
        self.feed(
            events.ManagerRegistered(
                manager_id=manager_id,
                block_id=BlockId("0"),
                resources=resources,
                remaining_s=remaining_s,
                drain_s=drain_s,
            )
        )
        return self.managers[manager_id]

    def lose(self, manager: FakeManager) -> None:
        """Let a node vanish; what it has sent may still arrive."""
        self._bury(manager.manager_id)
        self.feed(events.ManagerLost(manager_id=manager.manager_id, reason="preempted"))

    def take_back(self, manager: FakeManager, remaining_s: float | None) -> list[Action]:
        """Let the site say that it takes a node back."""
        manager_id = manager.manager_id
        before = self.gone_by.get(manager_id)
        if remaining_s is not None:
            self.gone_by[manager_id] = self.now + remaining_s
        elif before is None:
            walltime = self.leave_at.get(manager_id, math.inf) + LEAVE_S
            is_about_walltime = walltime - self.now <= WALLTIME_SIGNAL_S
            self.gone_by[manager_id] = walltime if is_about_walltime else self.now + NOTICE_S
        return self.feed(events.ManagerClosing(manager_id=manager_id, remaining_s=remaining_s))

    def let_time_pass(self, duration_s: float) -> None:
        """Go on in time, with a sign of life from every manager that is not silent."""
        end = self.now + duration_s
        for manager in list(self.managers.values()):
            if not manager.is_silent:
                self.feed(events.ManagerHeard(manager_id=manager.manager_id))
        while (deadline := self.scheduler.next_deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.feed(events.TimePassed())
            self._check_gone()
        self.now = end

    def _check_gone(self) -> None:
        overdue = [m for m in self.managers if self.now >= self.gone_by.get(m, math.inf)]
        assert not overdue, f"still there at {self.now}: {overdue}"

    def deliver_message(self, manager: FakeManager) -> bool:
        """Let the oldest message of a manager arrive; say whether there was one."""
        if not manager.outbox:
            return False
        event = manager.outbox.popleft()
        self.feed(event)
        return True

    def repeat_an_event(self) -> None:
        """Let something that a manager has sent arrive again: that must change nothing."""
        repeatable = [
            event
            for _, event, _ in self.history[-20:]
            if not isinstance(
                event,
                events.TaskSubmitted
                | events.WarmRequested
                | events.EvictRequested
                | events.HostAsleep
                | events.HostAwake
                | events.SleepFailed
                | events.ManagerRegistered
                | events.ManagerClosing
                | events.TimePassed,
            )
        ]
        if repeatable:
            decided = self.feed(self.random.choice(repeatable))
            assert decided == []

    # --- managers and hosts -------------------------------------------------------------------

    def obey(self, manager: FakeManager) -> bool:
        """Let a manager carry out its oldest order; say whether there was one."""
        if not manager.inbox:
            return False
        order = manager.inbox.popleft()
        if isinstance(order, actions.StartHost):
            way = self.ways[order.context_key][order.variant]
            manager.hosts[order.host_id] = FakeHost(
                order.host_id, order.context_key, way.max_concurrency
            )
        elif isinstance(order, HostOrder):
            host = manager.hosts.get(order.host_id)
            if host is not None:
                self._obey_for_host(manager, host, order)
        return True

    def get_ready(self, manager: FakeManager, host: FakeHost) -> None:
        """Build the context of a host, or fail to."""
        if host.context_key in self.broken or manager.manager_id in self.bad_nodes:
            self.fail_setup(manager, host)
        else:
            host.state = HostState.READY
            held = self.held.get(host.context_key, NOTHING_HELD)
            manager.outbox.append(
                events.HostReady(host_id=host.host_id, setup_s=10.0, **held._asdict())
            )

    def measure(self, manager: FakeManager, host: FakeHost, held: Held) -> None:
        """Let a host be found to hold so much."""
        manager.outbox.append(events.HostMeasured(host_id=host.host_id, **held._asdict()))

    def fall_asleep(self, manager: FakeManager, host: FakeHost) -> None:
        """Put the context of a host to sleep, or fail to."""
        if host.context_key in self.sleepless:
            manager.outbox.append(events.SleepFailed(host_id=host.host_id, message="wide awake"))
            return
        host.state = HostState.ASLEEP
        manager.outbox.append(
            events.HostAsleep(
                host_id=host.host_id, sleep_s=1.0, gpu_memory_bytes=GB // 2, host_memory_bytes=GB
            )
        )

    def wake(self, manager: FakeManager, host: FakeHost) -> None:
        """Wake the context of a host, or fail to."""
        if host.context_key in self.unwakeable:
            self.die(manager, host)
        else:
            host.state = HostState.READY
            manager.outbox.append(events.HostAwake(host_id=host.host_id, wake_s=1.0))

    def change(self, manager: FakeManager, host: FakeHost) -> bool:
        """Let a host that starts, dozes or wakes up come to an end with it, if it does."""
        match host.state:
            case HostState.STARTING:
                self.get_ready(manager, host)
            case HostState.DOZING:
                self.fall_asleep(manager, host)
            case HostState.WAKING:
                self.wake(manager, host)
            case _:
                return False
        return True

    def fail_setup(self, manager: FakeManager, host: FakeHost) -> None:
        del manager.hosts[host.host_id]
        manager.outbox.append(
            events.SetupFailed(
                host_id=host.host_id,
                message=f"set-up failed on {manager.manager_id}",
                remote_traceback=f"Traceback of {manager.manager_id}",
            )
        )

    def work(self, manager: FakeManager, host: FakeHost) -> bool:
        """Run one of the pieces of a host a bit further; say whether it had one."""
        running = host.running()
        if not running:
            return False
        lease = self.random.choice(running)
        stop = self._first_trouble(lease)
        if stop == lease.start or (stop < lease.stop and not self._may_stop_early(lease)):
            if self._kills(lease, stop):
                self.die(manager, host)
            else:
                self._raise(manager, host, lease)
            return True
        if self._may_stop_early(lease):
            stop = self.random.randint(lease.start + 1, stop)
        manager.outbox.append(
            events.PieceFinished(
                lease_id=lease.lease_id, start=lease.start, stop=stop, run_s=self._run_s()
            )
        )
        lease.start = stop
        if lease.start == lease.stop:
            host.leases.remove(lease)
        return True

    def raise_error(self, manager: FakeManager, host: FakeHost) -> None:
        """Let the user's function raise."""
        if running := host.running():
            self._raise(manager, host, self.random.choice(running))

    def _raise(self, manager: FakeManager, host: FakeHost, lease: FakeLease) -> None:
        host.leases.remove(lease)
        manager.outbox.append(events.PieceFailed(lease_id=lease.lease_id))

    def _first_trouble(self, lease: FakeLease) -> int:
        """Return the first item that raises or kills; the end of the piece if there is none."""
        if lease.task_id in self.poison:
            return lease.start
        items = range(lease.start, lease.stop)
        trouble = self.bad_items | self.poison_items
        return next((item for item in items if (lease.task_id, item) in trouble), lease.stop)

    def _kills(self, lease: FakeLease, item: int) -> bool:
        return lease.task_id in self.poison or (lease.task_id, item) in self.poison_items

    def _may_stop_early(self, lease: FakeLease) -> bool:
        """Whether a piece reports its results in parts."""
        return lease.task_id not in self.mapped or lease.task_id in self.yielding

    def die(self, manager: FakeManager, host: FakeHost) -> None:
        self.dying_words[host.host_id] = [
            (lease.task_id, lease.start)
            for lease in host.running()
            if lease.task_id not in self.mapped or self._is_alone(lease)
        ]
        del manager.hosts[host.host_id]
        manager.outbox.append(
            events.HostExited(host_id=host.host_id, description="killed by SIGKILL")
        )

    def _is_alone(self, lease: FakeLease) -> bool:
        """Whether a lease is of one item of a map, and nobody else had it meanwhile."""
        return lease.stop - lease.first == 1 and lease.lease_id not in self.raced

    def _obey_for_host(self, manager: FakeManager, host: FakeHost, order: HostOrder) -> None:
        if isinstance(order, actions.StopHost):
            held = {lease.lease_id for lease in host.leases}
            assert held <= self.abandoned, "a host was stopped while it had a piece"
            del manager.hosts[host.host_id]
            manager.outbox.append(events.HostExited(host_id=host.host_id, description="stopped"))
        elif isinstance(order, actions.SleepHost):
            assert host.is_ready
            assert not host.leases
            host.state = HostState.DOZING
        elif isinstance(order, actions.WakeHost):
            assert host.state is HostState.ASLEEP
            host.state = HostState.WAKING
        elif isinstance(order, actions.SendPiece):
            host.leases.append(
                FakeLease(order.lease_id, order.task_id, order.start, order.stop, order.start)
            )
        else:
            queued = host.leases[host.concurrency :]
            for lease in list(host.leases):
                may_stop = lease in queued or lease.task_id in self.yielding
                if lease.lease_id == order.lease_id and may_stop:
                    host.leases.remove(lease)
                    manager.outbox.append(events.LeaseRevoked(lease_id=lease.lease_id))

    def _run_s(self) -> float:
        return self.random.choice(self.run_s)

    # --- a pool that recovers -----------------------------------------------------------------

    def finish(self) -> None:
        """Let everything go well from now on, until every task has ended."""
        for manager in list(self.managers.values()):
            manager.is_silent = False
        for _ in range(PATIENCE):
            if self.ended.keys() == self.num_items.keys():
                break
            if not self.go_on():
                self.let_time_pass(30.0)
        open_tasks = self.num_items.keys() - self.ended.keys()
        assert not open_tasks, f"waiting for ever: {sorted(open_tasks)}"

    def settle(self) -> None:
        """Do all that can be done without time passing."""
        for _ in range(PATIENCE):
            if not self.go_on():
                return
        raise AssertionError("the pool never comes to rest")

    def go_on(self, slow: Callable[[FakeHost], bool] = lambda host: False) -> bool:
        """Let all messages arrive and every host work a bit; say whether anything happened.

        Hosts that are ``slow`` this time do nothing.
        """
        is_busy = False
        for manager in [*self.managers.values(), *self.gone]:
            while self.deliver_message(manager):
                is_busy = True
            while manager.manager_id in self.managers and self.obey(manager):
                is_busy = True
        for manager in list(self.managers.values()):
            for host in list(manager.hosts.values()):
                if self.change(manager, host) or (not slow(host) and self.work(manager, host)):
                    is_busy = True
        return is_busy

    # --- what must never happen ---------------------------------------------------------------

    def _note(self, event: Event) -> None:
        if isinstance(event, events.HostReady | events.HostAwake):
            if event.host_id in self.known_hosts:
                self.ready_hosts.add(event.host_id)
        elif isinstance(event, events.HostAsleep) and event.host_id in self.known_hosts:
            self.sleeping_hosts.add(event.host_id)
        elif isinstance(event, events.HostExited | events.SetupFailed):
            if event.host_id in self.known_hosts:
                self._note_death(event.host_id)
            self._forget_host(event.host_id)
        elif isinstance(event, events.ManagerLost):
            self._bury(event.manager_id)
        elif isinstance(event, events.ManagerHeld | events.ManagerClosing):
            self.closed.add(event.manager_id)

    def _note_death(self, host_id: HostId) -> None:
        manager_id = self.known_hosts[host_id]
        if not self.scheduler.cluster.managers[manager_id].is_closing:
            words = self.dying_words.get(host_id, [])
            self.kills.update(words)
            self.recent_kills.append((self.now, manager_id, words))
        assert max(self.kills.values(), default=0) <= self.max_attempts

    def _forgive(self) -> None:
        """Count no death that was shortly before the end of its node."""
        managers = self.scheduler.cluster.managers
        recent, self.recent_kills = self.recent_kills, []
        for death in recent:
            at, manager_id, words = death
            if manager_id in managers and not managers[manager_id].is_closing:
                self.recent_kills.append(death)
            elif self.now - at <= FORGIVE_S:
                self.kills.subtract(words)

    def _may_get_something(self, manager_id: ManagerId) -> bool:
        has_time = self.now < self.leave_at.get(manager_id, math.inf)
        return has_time and manager_id not in self.closed

    def _perform(self, action: Action, event: Event) -> None:
        match action:
            case actions.StartHost():
                assert action.manager_id in self.managers
                assert self._may_get_something(action.manager_id)
                assert action.host_id not in self.known_hosts
                self.known_hosts[action.host_id] = action.manager_id
                self.managers[action.manager_id].inbox.append(action)
            case actions.StopHost() | actions.SleepHost() | actions.WakeHost():
                self._note_order(action)
                self.managers[action.manager_id].inbox.append(action)
            case actions.SendPiece() | actions.RevokeLease() | actions.AbandonLease():
                self._note_lease(action)
                self.managers[action.manager_id].inbox.append(action)
            case actions.DismissManager():
                self._bury(action.manager_id)
                if not action.is_lost:
                    self.feed_later(action.manager_id)
            case actions.ForgetTask():
                assert action.task_id not in self.forgotten
                self.forgotten.add(action.task_id)
            case actions.TellTrouble():
                self.told.append(action)
            case _:
                self._deliver(action, event)

    def _note_order(self, action: actions.StopHost | actions.SleepHost | actions.WakeHost) -> None:
        assert self.known_hosts[action.host_id] == action.manager_id
        match action:
            case actions.StopHost():
                self.ready_hosts.discard(action.host_id)
                self.sleeping_hosts.discard(action.host_id)
            case actions.SleepHost():
                self.ready_hosts.remove(action.host_id)
            case actions.WakeHost():
                assert self._may_get_something(action.manager_id)
                self.sleeping_hosts.remove(action.host_id)

    def _note_lease(
        self, action: actions.SendPiece | actions.RevokeLease | actions.AbandonLease
    ) -> None:
        assert self.known_hosts[action.host_id] == action.manager_id
        match action:
            case actions.SendPiece():
                assert action.host_id in self.ready_hosts
                assert action.task_id not in self.forgotten
                assert self._may_get_something(action.manager_id)
                if action.rival_id is not None:
                    assert action.task_id in self.mapped
                    assert not {action.rival_id, action.lease_id} & self.raced, "raced twice"
                    self.raced |= {action.rival_id, action.lease_id}
            case actions.AbandonLease():
                self.abandoned.add(action.lease_id)

    def _deliver(self, action: Action, event: Event) -> None:
        match action:
            case actions.DeliverRange(task_id=task_id, start=start, stop=stop):
                assert isinstance(event, events.PieceFinished)
                assert event.stop == stop
                assert event.start == start or (event.start < start and task_id in self.mapped)
                self._take(task_id, set(range(start, stop)), self.delivered)
            case actions.DeliverItemException(task_id=task_id, item=item):
                assert isinstance(event, events.PieceFailed)
                assert task_id in self.tolerant
                self._take(task_id, {item}, self.failed_items)
            case actions.FailItem(task_id=task_id, item=item):
                assert task_id in self.tolerant
                self._take(task_id, {item}, self.failed_items)
            case actions.DeliverException(task_id=task_id, item=blamed):
                assert isinstance(event, events.PieceFailed)
                is_item = task_id in self.mapped and not event.is_misaligned
                assert (blamed is not None) == is_item
                assert event.is_misaligned or task_id not in self.tolerant
                self._end(task_id, "raised")
            case actions.FailTask(task_id=task_id, reason=reason):
                self._end(task_id, reason.value)
            case _:
                raise AssertionError(action)

    def _take(self, task_id: TaskId, items: set[int], outcome: dict[TaskId, set[int]]) -> None:
        """Note what became of items of an open task: nothing was known of them before."""
        assert task_id not in self.ended
        known = self.delivered[task_id] | self.failed_items[task_id]
        assert not items & known, "told twice"
        outcome[task_id] |= items
        if len(known | items) == self.num_items[task_id]:
            self.ended[task_id] = "finished"

    def _end(self, task_id: TaskId, how: str) -> None:
        assert task_id not in self.ended, "a task ended twice"
        self.ended[task_id] = how

    def feed_later(self, manager_id: ManagerId) -> None:
        """Let the goodbye of a dismissed manager arrive at some time."""
        for manager in self.gone:
            if manager.manager_id == manager_id:
                manager.outbox.append(events.ManagerLost(manager_id=manager_id, reason="left"))

    def _bury(self, manager_id: ManagerId) -> None:
        manager = self.managers.pop(manager_id, None)
        if manager is not None:
            self.gone.append(manager)
        for host_id, where in list(self.known_hosts.items()):
            if where == manager_id:
                self._forget_host(host_id)

    def _forget_host(self, host_id: HostId) -> None:
        self.known_hosts.pop(host_id, None)
        self.ready_hosts.discard(host_id)
        self.sleeping_hosts.discard(host_id)
