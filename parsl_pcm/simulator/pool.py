"""The scheduler on a pool in virtual time whose hosts take time: what decisions are worth.

Everything is exact and repeatable: no clock, no threads, no chance. Messages take ``LATENCY_S``
each way, so pieces that were not sent ahead leave gaps, as they would in a real run. A manager
boots one host per device at a time, and hosts that share a device do not slow each other down.

::

    pool = VirtualPool([Node(gpus(24 * GB))], [gpu_model("a", 0.1, 10.0, gpu_bytes=8 * GB)])
    pool.submit_calls("a", 100)
    pool.run()
    pool.ended_at, pool.tallies["a"].num_loads, pool.memory.overruns
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from parsl_pcm.core import actions, events
from parsl_pcm.core.policy import Policy
from parsl_pcm.core.scheduler import Scheduler
from parsl_pcm.simulator.managers import LATENCY_S, Managers, Memory
from parsl_pcm.simulator.parts import Model, Node, Tally
from parsl_pcm.simulator.timeline import Timeline
from parsl_pcm.types import (
    BlockId,
    ContextKey,
    ManagerId,
    NodeResources,
    TaskId,
    Variant,
)

NEVER_SILENT_S = 1e9
MAX_WAKES_IN_A_MOMENT = 1000
"""A scheduler that wants ``TimePassed`` so often at the same time would never end."""


class VirtualPool:
    """A run of several contexts on several nodes.

    Parameters
    ----------
    nodes
        Where hosts run.
    models
        All contexts; their names are their keys.
    policy
        Of the scheduler; None: its default.
    possible_nodes
        What may still come, as far as the scheduler is told.
    watch
        Called after each event, when its actions are known: for what must always hold.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        models: Sequence[Model],
        *,
        policy: Policy | None = None,
        possible_nodes: Sequence[NodeResources] = (),
        watch: Callable[[VirtualPool], object] | None = None,
    ) -> None:
        self.scheduler = Scheduler(
            policy=policy,
            heartbeat_threshold_s=NEVER_SILENT_S,
            possible_nodes=possible_nodes,
        )
        self.time = Timeline()
        self.memory = Memory(self.time)
        self.tallies = {model.name: Tally() for model in models}
        self.ended_at = 0.0
        """When the last task ended."""
        self.num_events = 0
        self.troubles: list[tuple[float, str, str]] = []
        """(time, context, what the user was told)."""
        self._watch = watch
        self._models = {ContextKey(model.name): model for model in models}
        self._nodes = {ManagerId(f"node-{index}"): node for index, node in enumerate(nodes)}
        self._tasks: dict[TaskId, tuple[str, float]] = {}
        self._num_tasks = 0
        self._num_wakes = 0
        self._managers = Managers(
            self._nodes,
            self._models,
            time=self.time,
            memory=self.memory,
            tallies=self.tallies,
            say=self.feed,
        )
        self.hosts = self._managers.hosts
        self.sent = self._managers.sent
        self.kill = self._managers.kill
        self._declare()
        self._join()

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

    def _join(self) -> None:
        for name, node in self._nodes.items():
            joined = events.ManagerRegistered(
                manager_id=name, block_id=BlockId(name), resources=node.resources
            )
            self.time.at(node.joins_at, partial(self.feed, joined))
            if node.leaves_at < math.inf:
                self.time.at(node.leaves_at, partial(self._managers.lose, name))

    # --- what users do ------------------------------------------------------------------------

    def submit_calls(
        self,
        name: str,
        num_calls: int = 1,
        *,
        at: float = 0.0,
        every_s: float = 0.0,
        priority: int = 0,
    ) -> None:
        """Plan ordinary calls of a context, one every so often, the first at that time."""
        for number in range(num_calls):
            task = self._task(name, 1, is_mapped=False, priority=priority)
            self.time.at(at + number * every_s, partial(self._submit, task))

    def submit_map(
        self,
        name: str,
        num_items: int,
        *,
        at: float = 0.0,
        segment_items: int | None = None,
        priority: int = 0,
    ) -> None:
        """Plan a map over a context, whose items come in segments, all at that time."""
        size = num_items if segment_items is None else segment_items
        for start in range(0, num_items, size):
            task = self._task(name, min(size, num_items - start), is_mapped=True, priority=priority)
            self.time.at(at, partial(self._submit, task))

    def warm(self, name: str, num_hosts: int = 1, *, at: float = 0.0) -> None:
        """Plan that so many hosts of a context shall be warm from then on."""
        wanted = events.WarmRequested(context_key=ContextKey(name), num_hosts=num_hosts)
        self.time.at(at, partial(self.feed, wanted))

    def evict(self, name: str, *, at: float = 0.0) -> None:
        """Plan that the hosts of a context shall end."""
        self.time.at(at, partial(self.feed, events.EvictRequested(context_key=ContextKey(name))))

    def _task(
        self, name: str, num_items: int, *, is_mapped: bool, priority: int
    ) -> events.TaskSubmitted:
        self._num_tasks += 1
        return events.TaskSubmitted(
            task_id=TaskId(self._num_tasks),
            context_key=ContextKey(name),
            num_items=num_items,
            is_mapped=is_mapped,
            priority=priority,
        )

    def _submit(self, task: events.TaskSubmitted) -> None:
        self._tasks[task.task_id] = (self._models[task.context_key].name, self.now)
        self.feed(task)

    # --- time ---------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """The present time."""
        return self.time.now

    def run(self) -> float:
        """Go on until every task is over and nothing is planned; return when the last one ended."""
        while self.time.next_at() is not None or self.scheduler.cluster.tasks:
            self._step()
        return self.ended_at

    def run_until(self, when: float) -> None:
        """Go on until that time."""
        has_come: list[bool] = []
        self.time.at(when, lambda: has_come.append(True))
        while not has_come:
            self._step()

    def _step(self) -> None:
        """Let the next thing happen: what is planned, or what the scheduler waits for."""
        due, planned = self.scheduler.next_deadline(), self.time.next_at()
        if planned is not None and (due is None or planned <= due):
            self._num_wakes = 0
            self.time.step()
            return
        assert due is not None, f"{len(self.scheduler.cluster.tasks)} tasks wait for ever"
        self._num_wakes = self._num_wakes + 1 if due <= self.now else 0
        assert self._num_wakes < MAX_WAKES_IN_A_MOMENT, f"time does not go on at {self.now}"
        self.time.now = max(self.now, due)
        self.feed(events.TimePassed())

    # --- the driver ---------------------------------------------------------------------------

    def feed(self, event: events.Event) -> None:
        """Give the scheduler an event, and let what it decides come about."""
        self.num_events += 1
        for action in self.scheduler.handle(event, self.now):
            match action:
                case actions.DeliverRange(task_id=task_id, start=start, stop=stop):
                    self._deliver(task_id, stop - start, action.variant)
                case actions.FailTask() | actions.DeliverException():
                    self._fail(action.task_id)
                case actions.TellTrouble(context_key=key, message=message):
                    self.troubles.append((self.now, self._models[key].name, message))
                case _:
                    self.time.after(LATENCY_S, partial(self._managers.obey, action))
        if self._watch is not None:
            self._watch(self)

    def _deliver(self, task_id: TaskId, num_items: int, variant: int) -> None:
        name, submitted_at = self._tasks[task_id]
        tally = self.tallies[name]
        tally.num_items += num_items
        tally.by_variant[variant] += num_items
        tally.waits_s.append(self.now - submitted_at)
        tally.ended_at = self.ended_at = self.now

    def _fail(self, task_id: TaskId) -> None:
        name, _ = self._tasks[task_id]
        tally = self.tallies[name]
        tally.num_failed_tasks += 1
        tally.ended_at = self.ended_at = self.now
