"""The scheduler on a pool in virtual time whose hosts take time: what decisions are worth.

Everything is exact and repeatable: no clock, no threads, no chance but that of a seeded
``Random``. Messages take a while each way, so pieces that were not sent ahead leave gaps, as they
would in a real run. A manager boots one host per device at a time, and hosts that share a device do
not slow each other down.

::

    pool = VirtualPool([Node(gpus(24 * GB))], [gpu_model("a", 0.1, 10.0, gpu_bytes=8 * GB)])
    pool.submit_calls("a", 100)
    pool.run()
    pool.ended_at, pool.tallies["a"].num_loads, pool.memory.overruns
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random

from parsl_pcm.core import events
from parsl_pcm.core.policy import Policy
from parsl_pcm.core.scheduler import Scheduler
from parsl_pcm.eventlog import EventLog, LogHeader, LogRecord, build_scheduler
from parsl_pcm.simulator.engine.driver import Driver, Post
from parsl_pcm.simulator.engine.managers import LATENCY_S, Managers
from parsl_pcm.simulator.engine.memory import Memory
from parsl_pcm.simulator.engine.parts import Model, Node, Tally, TaskTruth, VirtualHost
from parsl_pcm.simulator.engine.staging import Staging
from parsl_pcm.simulator.engine.timeline import Timeline
from parsl_pcm.simulator.engine.users import Users
from parsl_pcm.simulator.engine.working import World
from parsl_pcm.types import (
    BlockId,
    ContextKey,
    HostId,
    ManagerId,
    NodeResources,
    TaskId,
    Variant,
)

NEVER_SILENT_S = 1e9
"""The heartbeat threshold of a scheduler whose managers send no heartbeats."""


class VirtualPool:
    """A run of several contexts on several nodes.

    Parameters
    ----------
    nodes
        Where hosts run; ``add_node`` adds others.
    models
        All contexts; their names are their keys.
    policy
        Of the scheduler; None: its default.
    possible_nodes
        What may still come, as far as the scheduler is told.
    max_attempts
        As the scheduler's.
    header
        The scheduler's settings in place of the three above: with them, a log of this run can be
        replayed. Its heartbeat threshold should be ``NEVER_SILENT_S``.
    latency_s
        Of a message, each way.
    dispatch_s
        Of each piece that the central process sends, one after the other.
    staging
        Brings files to nodes, in the time of this pool: built from the ``Timeline`` given. None:
        they are there at once.
    time
        Where all is planned. None: a fresh one.
    random
        For how long builds take. None: seeded with 1.
    log, observe
        Get all that the scheduler hears and decides. ``observe`` must feed no event itself, but
        may plan.
    is_recording
        Whether ``sent`` and the ``waits_s`` of tallies are kept: an entry for each piece.
    watch
        Called after each event, when its actions are known: for what must always hold.
    """

    def __init__(  # noqa: PLR0913  the one place where a run is put together
        self,
        nodes: Sequence[Node],
        models: Sequence[Model],
        *,
        policy: Policy | None = None,
        possible_nodes: Sequence[NodeResources] = (),
        max_attempts: int = 3,
        header: LogHeader | None = None,
        latency_s: float = LATENCY_S,
        dispatch_s: float = 0.0,
        time: Timeline | None = None,
        staging: Staging | None = None,
        random: Random | None = None,
        log: EventLog | None = None,
        observe: Callable[[LogRecord], object] | None = None,
        is_recording: bool = False,
        watch: Callable[[VirtualPool], object] | None = None,
    ) -> None:
        scheduler = Scheduler(
            policy=policy,
            max_attempts=max_attempts,
            heartbeat_threshold_s=NEVER_SILENT_S,
            possible_nodes=possible_nodes,
        )
        if header is not None:
            scheduler = build_scheduler(header)
        self.time = time or Timeline()
        self.on_work: Callable[[], object] | None = None
        """Called after each submission."""
        self._num_coming = 0
        """Submissions that are planned."""
        self._models = {ContextKey(model.name): model for model in models}
        self._names: set[ManagerId] = set()
        """Of all nodes that ever were."""
        self._users = Users(self._models, is_recording=is_recording)
        self._driver = Driver(scheduler, self.time, self._users, log=log, observe=observe)
        self._driver.watch = None if watch is None else partial(watch, self)
        self.scheduler = scheduler
        self.feed = self._driver.feed
        self._managers = Managers(
            World(time=self.time, random=random or Random(1), latency_s=latency_s, say=self.feed),
            self._models,
            users=self._users,
            staging=staging or Staging(self.time),
        )
        self._driver.post = Post(
            self.time, self._managers, latency_s=latency_s, dispatch_s=dispatch_s
        )
        self.sent = self._managers.record() if is_recording else []
        """(time, host, items) of each piece that arrived, if that is recorded."""
        self._declare()
        for node in nodes:
            self.add_node(node)

    def _declare(self) -> None:
        for key, model in self._models.items():
            first, *others = model.ways
            variants = tuple(
                Variant(name=f"{model.name}-{index}", requirements=way.requirements)
                for index, way in enumerate(others, start=1)
            )
            self.feed(
                events.ContextDeclared(
                    context_key=key,
                    name=model.name,
                    requirements=first.requirements,
                    variants=variants,
                )
            )

    # --- what a site does ---------------------------------------------------------------------

    def add_node(
        self, node: Node, name: ManagerId | None = None, block_id: BlockId | None = None
    ) -> ManagerId:
        """Plan that a node joins, at once if its time has come, and leaves; return its name.

        Raises
        ------
        ValueError
            If there is, or was, a node of that name.
        """
        manager_id = name or ManagerId(f"node-{len(self._names)}")
        if manager_id in self._names:
            raise ValueError(f"a node named {manager_id!r} is, or was, in the pool already")
        self._names.add(manager_id)
        join = partial(self._managers.join, manager_id, block_id or BlockId(manager_id), node)
        self.time.at(node.joins_at, join)
        return manager_id

    def at(self, when: float, act: Callable[[], object]) -> None:
        """Plan something."""
        self.time.at(when, act)

    def hold(self, manager_id: ManagerId) -> None:
        """Let a node get nothing new; it stays."""
        self.feed(events.ManagerHeld(manager_id=manager_id))

    def close(self, manager_id: ManagerId, remaining_s: float) -> None:
        """Let the site say that it takes a node back, and take it then."""
        self._managers.close(manager_id, remaining_s)

    def lose(self, manager_id: ManagerId, reason: str = "vanished") -> None:
        """Let a node vanish; if it has, and the scheduler does not know yet, let it know now."""
        self._managers.lose(manager_id, reason)

    def kill(self, host: VirtualHost) -> None:
        """Let a host die."""
        self._managers.kill(host)

    @property
    def on_gone(self) -> Callable[[ManagerId], object] | None:
        """Called when a node has gone, whether the scheduler knows it yet or not; once for each."""
        return self._managers.on_gone

    @on_gone.setter
    def on_gone(self, hook: Callable[[ManagerId], object] | None) -> None:
        self._managers.on_gone = hook

    # --- what users do ------------------------------------------------------------------------

    def submit_calls(  # noqa: PLR0913  as few as a user may say of calls
        self,
        name: str,
        num_calls: int = 1,
        *,
        at: float = 0.0,
        every_s: float = 0.0,
        priority: int = 0,
        effort: float = 1.0,
        call_items: int = 1,
    ) -> None:
        """Plan ordinary calls of a context, one every so often, the first at that time.

        Parameters
        ----------
        effort
            So many times as long as usual each item takes; 0.0: no time.
        call_items
            The items of each call. Nobody may cut it: to the scheduler, it is one item.
        """
        truth = TaskTruth(self._users.tallies[name], effort, call_items)
        tasks = [
            self._users.new_task(name, truth, 1, is_mapped=False, priority=priority)
            for _ in range(num_calls)
        ]
        if every_s == 0.0:
            self._plan(at, tasks)
            return
        for number, task in enumerate(tasks):
            self._plan(at + number * every_s, [task])

    def submit_map(
        self,
        name: str,
        num_items: int,
        *,
        at: float = 0.0,
        segment_items: int | None = None,
        priority: int = 0,
        effort: float = 1.0,
    ) -> None:
        """Plan a map over a context, whose items come in segments, all at that time."""
        truth = TaskTruth(self._users.tallies[name], effort)
        size = num_items if segment_items is None else segment_items
        tasks = [
            self._users.new_task(
                name, truth, min(size, num_items - start), is_mapped=True, priority=priority
            )
            for start in range(0, num_items, size)
        ]
        self._plan(at, tasks)

    def warm(self, name: str, num_hosts: int = 1, *, at: float = 0.0) -> None:
        """Plan that so many hosts of a context shall be warm from then on."""
        wanted = events.WarmRequested(context_key=ContextKey(name), num_hosts=num_hosts)
        self.time.at(at, partial(self.feed, wanted))

    def evict(self, name: str, *, at: float = 0.0) -> None:
        """Plan that the hosts of a context shall end."""
        self.time.at(at, partial(self.feed, events.EvictRequested(context_key=ContextKey(name))))

    def _plan(self, at: float, tasks: Sequence[events.TaskSubmitted]) -> None:
        self._num_coming += 1
        self.time.at(at, partial(self._submit, tasks))

    def _submit(self, tasks: Sequence[events.TaskSubmitted]) -> None:
        self._num_coming -= 1
        for task in tasks:
            self._users.note_submission(task.task_id, self.now)
            self.feed(task)
        if self.on_work is not None:
            self.on_work()

    # --- time ---------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """The present time."""
        return self.time.now

    @property
    def is_done(self) -> bool:
        """Whether every task is over, and no other one is planned."""
        return not self._num_coming and not self.scheduler.cluster.tasks

    def run(self, stop_s: float | None = None) -> float:
        """Go on until every task is over, that time has come, or nothing will happen any more.

        Returns
        -------
        float
            When the last task ended. ``is_done`` says whether all have; if nothing will happen any
            more, ``now`` is when the last thing did.
        """
        until = NEVER_SILENT_S / 2 if stop_s is None else stop_s
        tasks, step = self.scheduler.cluster.tasks, self._driver.step
        while (tasks or self._num_coming) and step(until):
            pass
        if not self.is_done and stop_s is not None:
            self.time.now = max(self.now, stop_s)
        return self.ended_at

    def run_until(self, when: float) -> None:
        """Go on until that time, whatever there is to do."""
        while self._driver.step(when):
            pass
        self.time.now = max(self.now, when)

    # --- what became of it --------------------------------------------------------------------

    @property
    def ended_at(self) -> float:
        """When the last task ended, or the last result was delivered."""
        return self._users.ended_at

    @property
    def tallies(self) -> Mapping[str, Tally]:
        """What became of each context, by its name."""
        return self._users.tallies

    @property
    def call_items(self) -> Mapping[TaskId, int]:
        """Of calls that nobody may cut: how many items the one item of each really is."""
        return self._users.call_items

    @property
    def troubles(self) -> Sequence[tuple[float, str, str]]:
        """(time, context, what the user was told)."""
        return self._users.troubles

    @property
    def memory(self) -> Memory:
        """What hosts really held."""
        return self._managers.memory

    @property
    def hosts(self) -> Mapping[HostId, VirtualHost]:
        """All that ever were."""
        return self._managers.hosts

    @property
    def num_events(self) -> int:
        """That the scheduler has heard."""
        return self._driver.num_events
