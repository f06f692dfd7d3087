"""The managers of a pool in virtual time, and their hosts: they do what they are told, and tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from parsl_pcm.core import actions, events
from parsl_pcm.simulator.engine.files import Files
from parsl_pcm.simulator.engine.memory import Memory
from parsl_pcm.simulator.engine.parts import Model, Node, VirtualHost, new_host
from parsl_pcm.simulator.engine.staging import Staging
from parsl_pcm.simulator.engine.users import Users
from parsl_pcm.simulator.engine.working import Working, World
from parsl_pcm.simulator.scenario import Keeps
from parsl_pcm.types import BlockId, ContextKey, HostId, ManagerId

LATENCY_S = 0.002
"""Of a message, each way, where nothing else is said."""
NEVER = -1.0
"""Before all times."""

HostOrder = (
    actions.StopHost
    | actions.SleepHost
    | actions.WakeHost
    | actions.RevokeLease
    | actions.AbandonLease
)


@dataclass(eq=False, slots=True)
class Manager:
    """A node that is there."""

    node: Node
    hosts: dict[HostId, VirtualHost] = field(default_factory=dict)
    booting: list[VirtualHost] = field(default_factory=list)
    """Hosts that build, and those that wait until their devices are free for it, in order."""


class Managers:
    """All nodes and their hosts.

    Parameters
    ----------
    world
        What all stands on.
    models
        By the names that the scheduler uses.
    users
        What happens to hosts is counted in their tallies.
    staging
        By which files come to nodes.
    """

    def __init__(
        self,
        world: World,
        models: Mapping[ContextKey, Model],
        *,
        users: Users,
        staging: Staging,
    ) -> None:
        self.memory = Memory(world.time)
        self.hosts: dict[HostId, VirtualHost] = {}
        """All that ever were."""
        self._sent: list[tuple[float, HostId, int]] | None = None
        self.on_gone: Callable[[ManagerId], object] | None = None
        """Called when a node has gone: vanished, taken back, or dismissed. Once for each."""
        self._managers: dict[ManagerId, Manager] = {}
        """Of nodes that are there."""
        self._missed: dict[ManagerId, str] = {}
        """Those that are gone without the scheduler's knowledge, and why."""
        self._models = models
        self._tallies = users.tallies
        self._tasks = users.tasks
        self._time = world.time
        self._random = world.random
        self._latency_s = world.latency_s
        self._say = world.say
        self._files = Files(world.time, staging)
        self._working = Working(world, self._files)

    def record(self) -> list[tuple[float, HostId, int]]:
        """Keep (time, host, items) of each piece that arrives from now on, in the list returned."""
        self._sent = []
        return self._sent

    # --- nodes --------------------------------------------------------------------------------

    def join(self, manager_id: ManagerId, block_id: BlockId, node: Node) -> None:
        """Let a node be there from now on, and plan its end."""
        self._managers[manager_id] = Manager(node)
        now = self._time.now
        joined = events.ManagerRegistered(
            manager_id=manager_id,
            block_id=block_id,
            resources=node.resources,
            remaining_s=node.walltime_s,
        )
        self._say(joined)
        if node.walltime_s is not None and now + node.walltime_s <= node.leaves_at:
            over = partial(self.lose, manager_id, "its walltime is over")
            self._time.after(node.walltime_s, over)
            return
        if node.notice_s is not None:
            close = partial(self._notice, manager_id)
            self._time.at(node.leaves_at - node.notice_s, close)
        self._time.at(node.leaves_at, partial(self.lose, manager_id, "vanished"))

    def _notice(self, manager_id: ManagerId) -> None:
        manager = self._managers.get(manager_id)
        if manager is not None:
            remaining_s = manager.node.leaves_at - self._time.now
            self._say(events.ManagerClosing(manager_id=manager_id, remaining_s=remaining_s))

    def close(self, manager_id: ManagerId, remaining_s: float) -> None:
        """Let the site say that it takes a node back, and take it."""
        if manager_id in self._managers:
            self._say(events.ManagerClosing(manager_id=manager_id, remaining_s=remaining_s))
            self._time.after(remaining_s, partial(self.lose, manager_id, "the site took it back"))

    def lose(self, manager_id: ManagerId, reason: str = "vanished") -> None:
        """Let a node vanish with all that is on it; if it has, let the scheduler know now."""
        manager = self._managers.get(manager_id)
        if manager is None:
            self._miss(manager_id)
            return
        detect_s = manager.node.detect_s
        self._go(manager_id, heard_until=self._time.now + self._latency_s if detect_s else NEVER)
        self._missed[manager_id] = reason
        if detect_s:
            self._time.after(detect_s, partial(self._miss, manager_id))
        else:
            self._miss(manager_id)
        self._tell_gone(manager_id)

    def dismiss(self, manager_id: ManagerId) -> None:
        """Let a node leave that the scheduler needs no more."""
        if manager_id in self._managers:
            self._go(manager_id, heard_until=NEVER)
            self._missed[manager_id] = "dismissed"
            self._time.after(self._latency_s, partial(self._miss, manager_id))
            self._tell_gone(manager_id)

    def _go(self, manager_id: ManagerId, *, heard_until: float) -> None:
        manager = self._managers.pop(manager_id)
        manager.booting.clear()
        for host in list(manager.hosts.values()):
            self._forget(manager, host)
            host.heard_until = heard_until
        self.memory.forget(manager_id, len(manager.node.resources.devices))
        self._files.forget(manager_id)

    def _miss(self, manager_id: ManagerId) -> None:
        """Let the scheduler know of a node that is gone, unless it does."""
        reason = self._missed.pop(manager_id, None)
        if reason is not None:
            self._say(events.ManagerLost(manager_id=manager_id, reason=reason))

    def _tell_gone(self, manager_id: ManagerId) -> None:
        if self.on_gone is not None:
            self.on_gone(manager_id)

    # --- orders -------------------------------------------------------------------------------

    def obey(self, orders: Sequence[actions.Action]) -> None:
        """Do what the scheduler has decided, as soon as it arrives, in this order."""
        for order in orders:
            if isinstance(order, actions.StartHost):
                self._start(order)
            elif isinstance(order, actions.DismissManager):
                self.dismiss(order.manager_id)
            elif isinstance(order, HostOrder):
                host = self.hosts.get(order.host_id)
                if host is not None and not host.is_gone:
                    self._obey_for_host(host, order)

    def take(self, order: actions.SendPiece, at: float) -> None:
        """Let a host have one more piece from that time on, which is not before now."""
        host = self.hosts.get(order.host_id)
        if host is not None and not host.is_gone:
            if self._sent is not None:
                self._sent.append((at, host.host_id, order.stop - order.start))
            self._working.take(host, order, self._tasks[order.task_id], at)

    def _obey_for_host(self, host: VirtualHost, order: HostOrder) -> None:
        tally = self._tallies[host.model.name]
        match order:
            case actions.RevokeLease(lease_id=lease_id) | actions.AbandonLease(lease_id=lease_id):
                self._working.give_back(host, lease_id)
            case actions.StopHost(is_eviction=is_eviction):
                tally.num_stops += 1
                tally.num_evictions += is_eviction
                self._exit(host, "stopped")
            case actions.SleepHost():
                self._working.catch_up(host)
                assert not host.held, "a host that has work is put to sleep"
                self._time.after(host.way.sleep_s, partial(self._fall_asleep, host))
            case actions.WakeHost():
                tally.num_wakes += 1
                self._change_memory(host, is_asleep=False)
                self._time.after(host.way.wake_s, partial(self._wake_up, host))

    # --- hosts that come ----------------------------------------------------------------------

    def _start(self, order: actions.StartHost) -> None:
        manager = self._managers.get(order.manager_id)
        if manager is None:
            return
        model = self._models[order.context_key]
        host = new_host(order.manager_id, manager.node, order, model)
        self.hosts[host.host_id] = manager.hosts[host.host_id] = host
        manager.booting.append(host)
        self._boot(manager)

    def _boot(self, manager: Manager) -> None:
        """Let hosts build whose devices nobody before them builds on."""
        taken: set[int] = set()
        for host in manager.booting:
            if not host.is_building and taken.isdisjoint(host.positions):
                host.is_building = True
                self.memory.hold(host, *host.memory_bytes())
                self._begin_boot(host)
            taken.update(host.positions)

    def _begin_boot(self, host: VirtualHost) -> None:
        if host.model.keeps is Keeps.CONTEXT:
            self._files.bring(host, partial(self._set_up, host, self._time.now))
        else:
            self._time.after(0.0, partial(self._end_boot, host, 0.0))

    def _set_up(self, host: VirtualHost, began_at: float) -> None:
        if not host.is_gone:
            setup_s = host.draw_setup_s(self._random)
            whole_s = self._time.now - began_at + setup_s
            self._time.after(setup_s, partial(self._end_boot, host, whole_s))

    def _end_boot(self, host: VirtualHost, setup_s: float) -> None:
        if host.is_gone:
            return
        manager = self._managers[host.manager_id]
        tally = self._tallies[host.model.name]
        if not host.can_build:
            tally.num_failed_loads += 1
            failed = events.SetupFailed(host_id=host.host_id, message=host.why_not())
            self._forget(manager, host)
            self._say(failed)
            return
        tally.num_loads += 1
        on_device, in_main = host.memory_bytes()
        manager.booting.remove(host)
        self._boot(manager)
        self._say(
            events.HostReady(
                host_id=host.host_id,
                setup_s=setup_s,
                gpu_memory_bytes=on_device,
                host_memory_bytes=in_main,
            )
        )

    # --- hosts that sleep, and that go --------------------------------------------------------

    def _fall_asleep(self, host: VirtualHost) -> None:
        if host.is_gone:
            return
        self._tallies[host.model.name].num_sleeps += 1
        self._change_memory(host, is_asleep=True)
        on_device, in_main = host.memory_bytes()
        self._say(
            events.HostAsleep(
                host_id=host.host_id,
                sleep_s=host.way.sleep_s,
                gpu_memory_bytes=on_device,
                host_memory_bytes=in_main,
            )
        )

    def _wake_up(self, host: VirtualHost) -> None:
        if not host.is_gone:
            self._say(events.HostAwake(host_id=host.host_id, wake_s=host.way.wake_s))

    def _change_memory(self, host: VirtualHost, *, is_asleep: bool) -> None:
        before = host.memory_bytes()
        host.is_asleep = is_asleep
        on_device, in_main = host.memory_bytes()
        self.memory.hold(host, on_device - before[0], in_main - before[1])

    def kill(self, host: VirtualHost) -> None:
        """Let a host die."""
        self._exit(host, "killed by SIGKILL")

    def _exit(self, host: VirtualHost, description: str) -> None:
        self._forget(self._managers[host.manager_id], host)
        exited = events.HostExited(host_id=host.host_id, description=description)
        self._time.after(self._latency_s, partial(self._say, exited))

    def _forget(self, manager: Manager, host: VirtualHost) -> None:
        host.is_gone = True
        host.heard_until = NEVER
        host.held.clear()
        del manager.hosts[host.host_id]
        if host.is_building:
            on_device, in_main = host.memory_bytes()
            self.memory.hold(host, -on_device, -in_main)
        if host in manager.booting:
            manager.booting.remove(host)
            self._boot(manager)
