"""The managers of a pool in virtual time, and their hosts: they do what they are told, and tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from parsl_pcm.core import actions, events
from parsl_pcm.simulator.parts import Held, Model, Node, Tally, VirtualHost
from parsl_pcm.simulator.timeline import Timeline
from parsl_pcm.types import ContextKey, HostId, LeaseId, ManagerId

LATENCY_S = 0.002
"""Of a message, each way."""
MAIN_MEMORY = -1
"""Beside the positions of devices, in the books on memory."""

HostOrder = (
    actions.StopHost
    | actions.SleepHost
    | actions.WakeHost
    | actions.SendPiece
    | actions.RevokeLease
    | actions.AbandonLease
)


class Memory:
    """What hosts really hold, on every device and of the main memory of every node."""

    def __init__(self, time: Timeline) -> None:
        self.peaks_bytes: dict[tuple[ManagerId, int], int] = {}
        """The most that was held at once, by node and device; -1 is main memory."""
        self.overruns: list[tuple[float, ManagerId, int, int]] = []
        """(time, node, device, bytes held): each time when more was held than is there."""
        self._time = time
        self._total_bytes: dict[tuple[ManagerId, int], int] = {}
        self._held_bytes: Counter[tuple[ManagerId, int]] = Counter()

    def hold(self, host: VirtualHost, on_device: int, in_main: int) -> None:
        """Write down that a host holds so much more on each device, and of main memory."""
        resources = host.node.resources
        for position in host.positions:
            size = resources.devices[position].memory_bytes
            self._note((host.manager_id, position), on_device, size)
        self._note((host.manager_id, MAIN_MEMORY), in_main, resources.memory_bytes)

    def fullest(self) -> Iterator[float]:
        """Yield the most that was held at once of each, as a part of what is there."""
        return (peak / self._total_bytes[where] for where, peak in self.peaks_bytes.items())

    def _note(self, where: tuple[ManagerId, int], more_bytes: int, total_bytes: int) -> None:
        self._total_bytes[where] = total_bytes
        self._held_bytes[where] += more_bytes
        held = self._held_bytes[where]
        self.peaks_bytes[where] = max(held, self.peaks_bytes.get(where, 0))
        if held > total_bytes and more_bytes > 0:
            self.overruns.append((self._time.now, *where, held))


class Managers:
    """All nodes and their hosts.

    Parameters
    ----------
    nodes, models
        By the names that the scheduler uses.
    time
        Where what takes time is planned.
    memory
        Where what hosts hold is written down.
    tallies
        By the names of models; what happens to hosts is counted there.
    say
        Tells the scheduler.
    """

    def __init__(
        self,
        nodes: Mapping[ManagerId, Node],
        models: Mapping[ContextKey, Model],
        *,
        time: Timeline,
        memory: Memory,
        tallies: Mapping[str, Tally],
        say: Callable[[events.Event], object],
    ) -> None:
        self.hosts: dict[HostId, VirtualHost] = {}
        """All that ever were."""
        self.sent: list[tuple[float, HostId, int]] = []
        """(time, host, items) of each piece that was sent."""
        self._nodes = nodes
        self._models = models
        self._time = time
        self._memory = memory
        self._tallies = tallies
        self._say = say
        self._booting: dict[ManagerId, list[VirtualHost]] = {name: [] for name in nodes}
        """Hosts that build, and those that wait until their devices are free for it, in order."""
        self._building: set[HostId] = set()
        """Those that have begun to."""

    def obey(self, action: actions.Action) -> None:
        """Do what the scheduler has decided, as soon as it arrives."""
        if isinstance(action, actions.StartHost):
            self._start(action)
        elif isinstance(action, HostOrder):
            host = self.hosts.get(action.host_id)
            if host is not None and not host.is_gone:
                self._obey_for_host(host, action)

    def _obey_for_host(self, host: VirtualHost, order: HostOrder) -> None:
        tally = self._tallies[host.model.name]
        match order:
            case actions.StopHost(is_eviction=is_eviction):
                tally.num_stops += 1
                tally.num_evictions += is_eviction
                self._exit(host, "stopped")
            case actions.SleepHost():
                assert not host.held, "a host that has work is put to sleep"
                self._time.after(host.way.sleep_s, partial(self._fall_asleep, host))
            case actions.WakeHost():
                tally.num_wakes += 1
                self._change_memory(host, is_asleep=False)
                awake = events.HostAwake(host_id=host.host_id, wake_s=host.way.wake_s)
                self._time.after(host.way.wake_s, partial(self._tell, host, awake))
            case actions.SendPiece(lease_id=lease_id, start=start, stop=stop):
                self.sent.append((self._time.now, host.host_id, stop - start))
                host.held.append(Held(lease_id, start, stop))
                self._run_next(host)
            case actions.RevokeLease(lease_id=lease_id) | actions.AbandonLease(lease_id=lease_id):
                self._give_back(host, lease_id)

    def _start(self, order: actions.StartHost) -> None:
        node = self._nodes[order.manager_id]
        model = self._models[order.context_key]
        ids = [device.device_id for device in node.resources.devices]
        host = VirtualHost(
            manager_id=order.manager_id,
            node=node,
            order=order,
            model=model,
            way=model.ways[order.variant],
            positions=tuple(ids.index(device_id) for device_id in order.device_ids),
        )
        self.hosts[host.host_id] = host
        self._booting[host.manager_id].append(host)
        self._boot(host.manager_id)

    def _boot(self, manager_id: ManagerId) -> None:
        """Let hosts build whose devices nobody before them builds on."""
        taken: set[int] = set()
        for host in self._booting[manager_id]:
            if host.host_id not in self._building and taken.isdisjoint(host.positions):
                self._building.add(host.host_id)
                self._memory.hold(host, *host.memory_bytes())
                self._time.after(host.setup_s, partial(self._end_boot, host))
            taken.update(host.positions)

    def _end_boot(self, host: VirtualHost) -> None:
        if host.is_gone:
            return
        tally = self._tallies[host.model.name]
        if not host.can_build:
            tally.num_failed_loads += 1
            failed = events.SetupFailed(host_id=host.host_id, message=host.why_not())
            self._forget(host)
            self._say(failed)
            return
        tally.num_loads += 1
        on_device, in_main = host.memory_bytes()
        self._booting[host.manager_id].remove(host)
        self._boot(host.manager_id)
        self._say(
            events.HostReady(
                host_id=host.host_id,
                setup_s=host.setup_s,
                gpu_memory_bytes=on_device,
                host_memory_bytes=in_main,
            )
        )

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

    def _tell(self, host: VirtualHost, event: events.Event) -> None:
        """Let a host say something, if it still lives."""
        if not host.is_gone:
            self._say(event)

    def kill(self, host: VirtualHost) -> None:
        """Let a host die."""
        self._exit(host, "killed by SIGKILL")

    def _exit(self, host: VirtualHost, description: str) -> None:
        self._forget(host)
        exited = events.HostExited(host_id=host.host_id, description=description)
        self._time.after(LATENCY_S, partial(self._say, exited))

    def lose(self, manager_id: ManagerId) -> None:
        """Let a node vanish with all that is on it."""
        for host in self.hosts.values():
            if host.manager_id == manager_id and not host.is_gone:
                self._forget(host)
        self._say(events.ManagerLost(manager_id=manager_id, reason="vanished"))

    def _forget(self, host: VirtualHost) -> None:
        host.is_gone = True
        booting = self._booting[host.manager_id]
        if host.host_id in self._building or host not in booting:
            on_device, in_main = host.memory_bytes()
            self._memory.hold(host, -on_device, -in_main)
        if host in booting:
            booting.remove(host)
            self._boot(host.manager_id)

    def _change_memory(self, host: VirtualHost, *, is_asleep: bool) -> None:
        before = host.memory_bytes()
        host.is_asleep = is_asleep
        on_device, in_main = host.memory_bytes()
        self._memory.hold(host, on_device - before[0], in_main - before[1])

    # --- pieces -------------------------------------------------------------------------------

    def _run_next(self, host: VirtualHost) -> None:
        concurrency = host.way.requirements.max_concurrency
        while host.num_running < min(len(host.held), concurrency):
            held = host.held[host.num_running]
            host.num_running += 1
            run_s = host.run_s(held.stop - held.start, self._time.now)
            host.busy_s += run_s
            self._report(host, held, run_s)
            self._time.after(run_s, partial(self._end_piece, host, held))

    def _report(self, host: VirtualHost, held: Held, run_s: float) -> None:
        """Plan what a host says of a piece: all at its end, or each item when it is done."""
        size = held.stop - held.start
        step = 1 if host.node.is_yielding else size
        for stop in range(held.start + step, held.stop + 1, step):
            done = events.PieceFinished(
                lease_id=held.lease_id, start=stop - step, stop=stop, run_s=run_s * step / size
            )
            after_s = run_s * (stop - held.start) / size
            self._time.after(after_s + LATENCY_S, partial(self._tell, host, done))

    def _end_piece(self, host: VirtualHost, held: Held) -> None:
        if not host.is_gone:
            host.held.remove(held)
            host.num_running -= 1
            self._run_next(host)

    def _give_back(self, host: VirtualHost, lease_id: LeaseId) -> None:
        for held in host.held[host.num_running :]:
            if held.lease_id == lease_id:
                host.held.remove(held)
                back = events.LeaseRevoked(lease_id=lease_id)
                self._time.after(LATENCY_S, partial(self._tell, host, back))
