"""A pool in virtual time to which everything happens at once, and what must hold all the same.

Nodes come, go with notice and without, end with their walltime, vanish a third of them at a time,
are slow, build nothing, are missed late; hosts die; users change their minds; messages come twice
and late. A few healthy nodes stay, so that all work must end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from random import Random
from typing import TypeVar

from storm_ledger import Ledger
from storm_parts import KINDS, WANTED, models

from parsl_pcm.core import actions, events
from parsl_pcm.core.check import check
from parsl_pcm.eventlog import EventLog, LogHeader, LogRecord
from parsl_pcm.metrics import Metrics
from parsl_pcm.simulator.engine.parts import GB, Node
from parsl_pcm.simulator.engine.pool import NEVER_SILENT_S, VirtualPool
from parsl_pcm.simulator.engine.staging import Staging
from parsl_pcm.simulator.engine.timeline import Timeline
from parsl_pcm.types import BlockId, HostId, ManagerId, TaskId
from parsl_pcm.worktime import WorkTime

T = TypeVar("T")

NOBODY = HostId(-1)
KILLED_AFTER_S = 0.05
"""A host dies so long after a call came to it that kills."""

MAX_EVENTS = 300_000
"""Ten times as many as the largest storm here has."""
SETTLE_S = 10_000.0
"""After the last task: whatever is on its way has come by then."""


@dataclass(frozen=True, kw_only=True)
class Weather:
    """How much of everything happens in a storm.

    Attributes
    ----------
    num_nodes
        That come and go, beside those that stay.
    num_calls, num_maps, map_items
        What users submit; the items of the largest map.
    contexts
        Names of those that users need. Empty: all.
    horizon_s
        All that is no work happens within this time.
    num_squalls
        So often a third of all nodes goes at the same moment.
    num_disturbances
        Deaths of hosts, calls that raise, nodes held or lost, wishes of users.
    poison_frac
        Of calls: so many kill the hosts that run them.
    noise_frac
        Of messages: so many are followed by one that is late or comes twice.
    latency_s
        Of a message, each way: the longer, the more of them cross each other.
    """

    seed: int = 1
    num_nodes: int = 12
    num_calls: int = 60
    num_maps: int = 4
    map_items: int = 300
    contexts: Sequence[str] = ()
    horizon_s: float = 300.0
    num_squalls: int = 2
    num_disturbances: int = 40
    poison_frac: float = 0.03
    noise_frac: float = 0.2
    max_attempts: int = 3
    latency_s: float = 0.5


def header_of(weather: Weather) -> LogHeader:
    """Return the settings of the scheduler in a storm."""
    return LogHeader(
        label=f"storm {weather.seed}",
        started_wall_s=0.0,
        max_attempts=weather.max_attempts,
        heartbeat_threshold_s=NEVER_SILENT_S,
        fixed_prefetch=None,
        notice_s=10.0,
        possible_nodes=(),
    )


class Storm:
    """A run; everything is planned when it is built.

    Parameters
    ----------
    log
        Where all that is heard and decided is written, if anywhere.
    check_every
        So many events are between two checks of the scheduler's records, which take linear time.
    """

    def __init__(
        self, weather: Weather, *, log: EventLog | None = None, check_every: int = 1
    ) -> None:
        self.weather = weather
        self.ledger, self.metrics, self.worktime = Ledger(), Metrics(), WorkTime()
        self.num_late_words = 0
        self.num_checks = 0
        self._random = Random(weather.seed)
        self._check_every = check_every
        self._poisonous: set[TaskId] = set()
        self._is_in_vain = False
        """Whether what is said now is late, or comes twice."""
        contexts, time = models(self._random), Timeline()
        self.pool = VirtualPool(
            [Node(kind) for kind in KINDS],
            contexts,
            header=header_of(weather),
            latency_s=weather.latency_s,
            time=time,
            staging=Staging(time, shared_bytes_per_s=10.0 * GB, node_bytes_per_s=GB, num_peers=2),
            random=self._random,
            log=log,
            observe=self._observe,
            watch=self._watch,
        )
        self._names = list(weather.contexts or chain(*([name] * n for name, n in WANTED.items())))
        self._passing = [self.pool.add_node(self._passing_node()) for _ in range(weather.num_nodes)]
        self._plan_squalls()
        self._plan_work()
        self._plan_disturbances()

    def run(self) -> None:
        """Let everything happen, until the last word is said; then nothing may be left open."""
        self.pool.run()
        self.pool.run_until(max(self.pool.now, self.weather.horizon_s) + SETTLE_S)
        self.ledger.close()
        cluster = self.pool.scheduler.cluster
        check(cluster)
        assert not cluster.tasks
        assert not cluster.leases
        self._compare_books()

    def _observe(self, record: LogRecord) -> None:
        """Take a line into all books; now and then, let something be heard late or twice."""
        for books in (self.ledger, self.metrics, self.worktime):
            books.observe(record)
        self._poison(record)
        if self._is_in_vain or not 0.0 < record.now < self.weather.horizon_s:
            return
        if self._random.random() < self.weather.noise_frac:
            self.pool.at(record.now + self._random.expovariate(1.0), self._say_late)

    def _poison(self, record: LogRecord) -> None:
        """Choose calls that kill the hosts that run them, and let them."""
        task = record.event if isinstance(record.event, events.TaskSubmitted) else None
        if task and not task.is_mapped and self._random.random() < self.weather.poison_frac:
            self._poisonous.add(task.task_id)
        for action in record.actions:
            if isinstance(action, actions.SendPiece) and action.task_id in self._poisonous:
                kill = partial(self._kill, action.host_id)
                self.pool.at(record.now + self.weather.latency_s + KILLED_AFTER_S, kill)

    def _watch(self, pool: VirtualPool) -> None:
        assert pool.num_events < MAX_EVENTS, "this storm never ends"
        if pool.num_events % self._check_every == 0:
            self.num_checks += 1
            check(pool.scheduler.cluster)
            self._check_nobody_waits_in_vain(pool)

    def _check_nobody_waits_in_vain(self, pool: VirtualPool) -> None:
        """No host is idle while work for it waits; but for one whose node ends too soon for it."""
        for context in pool.scheduler.cluster.contexts.values():
            host = context.loads.least_loaded() if context.backlog else None
            if host is not None and host.manager.ends_at == math.inf:
                assert host.load, f"host {host.host_id} is idle while {context.name!r} waits"

    def _compare_books(self) -> None:
        """Whoever counts, from the log or from what really happened, counts the same."""
        tallies, counts = self.pool.tallies.values(), self.ledger.counts
        _, num_delivered = self.ledger.num_items()
        assert num_delivered == sum(tally.num_items for tally in tallies)
        assert num_delivered == self.metrics.num_items_delivered
        assert num_delivered == self.worktime.total.num_delivered
        assert self.worktime.num_delivered_twice == 0
        ends = self.ledger.ends()
        num_failed = ends.total() - ends["finished"] - ends["cancelled"]
        assert num_failed == sum(tally.num_failed_tasks for tally in tallies)
        assert num_failed == self.metrics.num_failed
        assert ends["finished"] == self.metrics.num_finished
        assert ends["cancelled"] == self.metrics.num_cancelled
        assert counts["StartHost"] == self.metrics.num_hosts_started
        # The rest was ordered from nodes that were gone when the order came.
        assert len(self.pool.hosts) <= counts["StartHost"]
        assert self.metrics.num_cold_starts <= sum(tally.num_loads for tally in tallies)

    # --- what is planned ----------------------------------------------------------------------

    def _when(self) -> float:
        return self._random.uniform(0.0, self.weather.horizon_s)

    def _passing_node(self) -> Node:
        random = self._random
        joins_at = random.choice([0.0, self._when()])
        return Node(
            random.choice(KINDS),
            joins_at=joins_at,
            leaves_at=joins_at + random.expovariate(2.0 / self.weather.horizon_s),
            notice_s=random.choice([None, None, 0.0, 5.0, 30.0]),
            walltime_s=random.choice([None, None, None, 20.0, self.weather.horizon_s / 2]),
            detect_s=random.choice([0.0, 0.0, 5.0, 30.0]),
            speed=random.choice([1.0, 1.0, 1.3, 0.1]),
            cannot_build=random.choice([(), (), (), ("whole", "cpu")]),
            is_broken=random.random() < 0.03,
            is_yielding=random.random() < 0.3,
        )

    def _plan_squalls(self) -> None:
        """Plan moments in which a third of the nodes goes, most of them without a word."""
        for _ in range(self.weather.num_squalls):
            when = self._when()
            for manager_id in self._random.sample(self._passing, len(self._passing) // 3):
                act = self._random.choice([self._lose, self._lose, self._close])
                self.pool.at(when, partial(act, manager_id))

    def _plan_work(self) -> None:
        random, weather = self._random, self.weather
        burst = 1 + weather.num_calls // 50
        for _ in range(0, weather.num_calls, burst):
            self.pool.submit_calls(
                random.choice(self._names),
                burst,
                at=self._when(),
                every_s=random.choice([0.0, 0.5]),
                priority=random.choice([0, 0, 0, 1, -1]),
                effort=random.choice([1.0, 1.0, 0.0, 10.0]),
            )
        for _ in range(weather.num_maps):
            num_items = math.ceil(weather.map_items * (1.0 - random.random() ** 0.5))
            self.pool.submit_map(
                random.choice(self._names),
                max(1, num_items),
                at=self._when(),
                segment_items=random.choice([None, 1 + num_items // 3]),
                priority=random.choice([0, 0, 1]),
            )

    def _plan_disturbances(self) -> None:
        acts: dict[Callable[[], object], int] = {
            self._kill: 6,
            self._raise: 4,
            self._cancel: 3,
            self._warm: 2,
            self._evict: 1,
            self._hold: 1,
            self._lose: 3,
            self._close: 3,
            self._fail_to_sleep: 2,
            self._measure: 2,
            self._register_again: 2,
        }
        names, weights = list(acts), list(acts.values())
        for act in self._random.choices(names, weights, k=self.weather.num_disturbances):
            self.pool.at(self._when(), act)

    def _any(self, things: Iterable[T]) -> T | None:
        """Return any of them, if there is one. They are in an order that is always the same."""
        found = list(things)
        return self._random.choice(found) if found else None

    # --- what the site and hosts do -----------------------------------------------------------

    def _lose(self, manager_id: ManagerId | None = None) -> None:
        if victim := manager_id or self._any(self._passing):
            self.pool.lose(victim, "lost in a storm")

    def _close(self, manager_id: ManagerId | None = None) -> None:
        if victim := manager_id or self._any(self._passing):
            self.pool.close(victim, self._random.choice([0.0, 5.0, 60.0]))

    def _hold(self) -> None:
        if victim := self._any(self._passing):
            self.pool.hold(victim)

    def _kill(self, host_id: HostId | None = None) -> None:
        host = self.pool.hosts.get(host_id or self._any(self.ledger.hosts) or NOBODY)
        if host is not None and not host.is_gone:
            self.pool.kill(host)

    def _raise(self) -> None:
        """Let the user's function raise on the first piece of a host.

        The host in virtual time does not know: what it says of that piece afterwards comes too
        late. It is none that may be put to sleep, since it would still be at work then.
        """
        host = self.pool.hosts.get(self._any(self.ledger.hosts) or NOBODY)
        if host is None or host.way.requirements.can_sleep:
            return
        if leases := self.ledger.hosts[host.host_id].leases:
            self.pool.feed(events.PieceFailed(lease_id=min(leases)))

    def _fail_to_sleep(self) -> None:
        if host_id := self._any(self.ledger.dozing()):
            self.pool.feed(events.SleepFailed(host_id=host_id, message="no bed"))

    def _measure(self) -> None:
        """Let a host hold a tenth more than it should."""
        host = self.pool.hosts.get(self._any(self.ledger.hosts) or NOBODY)
        if host is not None and not host.is_gone:
            on_device, in_main = host.memory_bytes()
            self.pool.feed(
                events.HostMeasured(
                    host_id=host.host_id,
                    gpu_memory_bytes=on_device * 11 // 10,
                    host_memory_bytes=in_main * 11 // 10,
                )
            )

    # --- what users do, and messages that come twice ------------------------------------------

    def _cancel(self) -> None:
        if task_id := self._any(self.pool.scheduler.cluster.tasks):
            self.pool.feed(events.TaskCancelled(task_id=task_id))

    def _warm(self) -> None:
        num_hosts = self._random.choice([0, 1, 5])
        self.pool.warm(self._random.choice(self._names), num_hosts, at=self.pool.now)

    def _evict(self) -> None:
        self.pool.evict(self._random.choice(self._names), at=self.pool.now)

    def _register_again(self) -> None:
        """Let a node that is there register again, as another one: that must change nothing."""
        if manager_id := self._any(self.ledger.managers):
            again = events.ManagerRegistered(
                manager_id=manager_id,
                block_id=BlockId("another"),
                resources=self._random.choice(KINDS),
                remaining_s=1.0,
            )
            self._say_in_vain(again)

    def _say_late(self) -> None:
        self._say_in_vain(self.ledger.late_word(self._random))

    def _say_in_vain(self, event: events.Event) -> None:
        self.num_late_words += 1
        self._is_in_vain = True
        assert not self.pool.feed(event), f"{event} changes something"
        self._is_in_vain = False
