"""What a pool in virtual time is made of: nodes, and contexts with the truth about what they cost.

The scheduler is told no more of it than it would be told in a real run: requirements before,
measurements afterwards.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from random import Random

from parsl_pcm.core.actions import StartHost
from parsl_pcm.simulator.scenario import Keeps
from parsl_pcm.types import (
    Device,
    DeviceId,
    HostId,
    LeaseId,
    ManagerId,
    NodeResources,
    Requirements,
)

GB = 10**9
WHOLE_FRAC = 0.92
"""Of a device: what a context takes that has all of it, as vLLM does unless it is told otherwise;
others may sleep in the rest."""
CPU = "cpu"
"""The kind of a host without devices."""

PieceTime = Callable[[int, float, int], float]
"""How long a piece takes: by its number of items, the time now, and the pieces that run there.

A piece of no items takes what each piece costs besides its items.
"""


def each(item_s: float, piece_s: float = 0.0) -> PieceTime:
    """Return the times of a host that does one item after the other, and prepares each piece."""
    return lambda num_items, _now, _num_running: piece_s + num_items * item_s


def gamma_each(item_s: float, item_cv: float, piece_s: float, random: Random) -> PieceTime:
    """Return the times of a host whose items differ: gamma distributed, one after the other.

    Parameters
    ----------
    item_s
        The mean.
    item_cv
        Standard deviation over mean, of one item. A sum of gammas is a gamma, so a piece of any
        size is one draw.
    """
    if item_cv == 0.0 or item_s == 0.0:
        return each(item_s, piece_s)
    shape, scale_s = item_cv**-2, item_s * item_cv**2

    def time_of(num_items: int, _now: float, _num_running: int) -> float:
        return piece_s + (random.gammavariate(num_items * shape, scale_s) if num_items else 0.0)

    return time_of


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to build a context: what it asks for, and what it costs.

    Attributes
    ----------
    piece_time
        Of its pieces: everywhere, or by the kind of the host's devices (names, joined by ``, ``).
    setup_s
        Of each build, once the files are there: everywhere, or by the kind of the host's devices.
    setup_cv
        How much builds differ: standard deviation over mean; they are gamma distributed.
    files_bytes, unpack_s
        What a node fetches that has none of it, and unpacks then, for all its hosts: in a time
        that is the same everywhere, or by the kind of the devices.
    gpu_bytes
        What a live host really holds on each of its devices. None: what it asked for, or nearly all
        of the device if it did not say.
    host_bytes
        What it really holds of main memory. None: what it asked for.
    asleep_gpu_bytes, asleep_host_bytes
        The same while it sleeps.
    """

    requirements: Requirements
    piece_time: PieceTime | Mapping[str, PieceTime]
    setup_s: float | Mapping[str, float] = 0.0
    setup_cv: float = 0.0
    files_bytes: int = 0
    unpack_s: float | Mapping[str, float] = 0.0
    gpu_bytes: int | None = None
    host_bytes: int | None = None
    sleep_s: float = 0.0
    wake_s: float = 0.0
    asleep_gpu_bytes: int = 0
    asleep_host_bytes: int = 0

    def time_on(self, kind: str) -> PieceTime:
        """Return the times of its pieces on devices of a kind."""
        return self.piece_time if callable(self.piece_time) else self.piece_time[kind]

    def unpack_on(self, kind: str) -> float:
        """Return how long its files take to unpack on a node with devices of a kind."""
        return _on(self.unpack_s, kind)

    def setup_on(self, kind: str, random: Random) -> float:
        """Return how long one build takes on devices of a kind."""
        mean_s = _on(self.setup_s, kind)
        if self.setup_cv == 0.0 or mean_s == 0.0:
            return mean_s
        return random.gammavariate(self.setup_cv**-2, mean_s * self.setup_cv**2)

    def live_gpu_bytes(self, total_bytes: int) -> int:
        """Return what a live host holds on a device of that size."""
        if self.gpu_bytes is not None:
            return self.gpu_bytes
        declared_bytes = self.requirements.gpu_memory_bytes
        return int(total_bytes * WHOLE_FRAC) if declared_bytes is None else declared_bytes

    @property
    def live_host_bytes(self) -> int:
        """What a live host holds of main memory."""
        declared_bytes = self.requirements.host_memory_bytes
        return declared_bytes if self.host_bytes is None else self.host_bytes


def _on(times_s: float | Mapping[str, float], kind: str) -> float:
    return times_s[kind] if isinstance(times_s, Mapping) else times_s


@dataclass(frozen=True)
class Model:
    """A context, with all the ways to build it."""

    name: str
    ways: tuple[Way, ...]
    is_bad: bool = False
    """Whether it cannot be built anywhere."""
    keeps: Keeps = Keeps.CONTEXT
    """What a host keeps from one piece to the next. If not the context, a host takes no time to
    start, and each piece builds what it needs."""


def cpu_model(
    name: str, item_s: float, setup_s: float, *, host_bytes: int = 0, is_bad: bool = False
) -> Model:
    """Return a context that needs a core and so much main memory, which it declares."""
    needs = Requirements(cores=1.0, host_memory_bytes=host_bytes)
    return Model(name, (Way(requirements=needs, piece_time=each(item_s), setup_s=setup_s),), is_bad)


def gpu_model(
    name: str, item_s: float, setup_s: float, *, gpu_bytes: int | None, is_bad: bool = False
) -> Model:
    """Return a context that needs a part of a GPU, which it declares (None: a whole one)."""
    needs = Requirements(gpus=1, cores=1.0, gpu_memory_bytes=gpu_bytes)
    return Model(name, (Way(requirements=needs, piece_time=each(item_s), setup_s=setup_s),), is_bad)


@dataclass
class Node:
    """A node that joins, and perhaps leaves; hosts on it may behave differently from elsewhere."""

    resources: NodeResources
    joins_at: float = 0.0
    leaves_at: float = math.inf
    notice_s: float | None = None
    """The site says so long before that it takes the node back. None: it does not."""
    walltime_s: float | None = None
    """So long after it joined the node leaves at the latest, as the scheduler knows."""
    detect_s: float = 0.0
    """It is missed so long after it has left."""
    speed: float = 1.0
    """So many times as many items are done in the same time."""
    cannot_build: Collection[str] = ()
    """Names of contexts whose set-up fails here."""
    is_broken: bool = False
    """Whether no context can be built here."""
    piece_time: PieceTime | None = None
    """In place of what the context says."""
    setup_s: float | None = None
    """In place of what the context says."""
    is_yielding: bool = False
    """Whether apps report items one by one here."""


def gpus(
    *sizes_bytes: int,
    kind: str = "gpu",
    capability: float = 8.0,
    cores: float = 16.0,
    memory_bytes: int = 256 * GB,
) -> NodeResources:
    """Return a node with GPUs of these sizes, all of one kind."""
    return NodeResources(
        cores=cores,
        memory_bytes=memory_bytes,
        devices=tuple(
            Device(
                device_id=DeviceId(f"GPU-{index}"),
                kind="cuda",
                name=kind,
                memory_bytes=size_bytes,
                compute_capability=capability,
            )
            for index, size_bytes in enumerate(sizes_bytes)
        ),
    )


@dataclass(frozen=True, slots=True)
class TaskTruth:
    """What the scheduler is not told of tasks."""

    tally: Tally
    effort: float = 1.0
    """So many times as long as usual each of their items takes."""
    call_items: int = 1
    """What the scheduler takes for one item is so many: a call that nobody may cut."""


@dataclass(eq=False, slots=True)
class Held:
    """A piece at a host."""

    lease_id: LeaseId
    start: int
    stop: int
    task: TaskTruth
    arrives_at: float
    ends_at: float = math.inf
    """Once that is known."""


@dataclass(eq=False, slots=True)
class VirtualHost:
    """A process on a node."""

    manager_id: ManagerId
    node: Node
    order: StartHost
    model: Model
    way: Way
    positions: tuple[int, ...]
    """Of its devices on the node."""
    kind: str
    """Of its devices."""
    piece_time: PieceTime
    is_building: bool = False
    """Whether it has begun to."""
    is_asleep: bool = False
    is_gone: bool = False
    heard_until: float = math.inf
    """What it says that would arrive later never does."""
    held: list[Held] = field(default_factory=list)
    """Those that run come first."""
    num_running: int = 0
    busy_s: float = 0.0

    @property
    def host_id(self) -> HostId:
        """Its name."""
        return self.order.host_id

    @property
    def can_build(self) -> bool:
        """Whether its set-up succeeds."""
        node = self.node
        return not (self.model.is_bad or node.is_broken or self.model.name in node.cannot_build)

    def why_not(self) -> str:
        """Return what a set-up that fails says: the same everywhere iff the recipe is bad."""
        if self.model.is_bad:
            return f"ImportError: no module for {self.model.name}"
        return f"RuntimeError: device lost on {self.manager_id}"

    def draw_setup_s(self, random: Random) -> float:
        """Return how long one build of its context takes, or takes to fail."""
        if self.node.setup_s is not None:
            return self.node.setup_s
        return self.way.setup_on(self.kind, random)

    def run_s(self, held: Held, now: float) -> float:
        """Return how long a piece takes whose items begin now."""
        num_running = self.num_running
        num_items = (held.stop - held.start) * held.task.call_items
        whole_s = self.piece_time(num_items, now, num_running)
        factor = held.task.effort / self.node.speed
        if factor == 1.0:
            return whole_s
        piece_s = self.piece_time(0, now, num_running)
        return piece_s + factor * (whole_s - piece_s)

    def memory_bytes(self) -> tuple[int, int]:
        """Return what it holds on each of its devices, and of main memory."""
        if self.is_asleep:
            return self.way.asleep_gpu_bytes, self.way.asleep_host_bytes
        sizes = [self.node.resources.devices[position].memory_bytes for position in self.positions]
        on_device = self.way.live_gpu_bytes(min(sizes)) if sizes else 0
        return on_device, self.way.live_host_bytes


def new_host(manager_id: ManagerId, node: Node, order: StartHost, model: Model) -> VirtualHost:
    """Return the host that an order asks for."""
    devices = node.resources.devices
    ids = [device.device_id for device in devices]
    positions = tuple(ids.index(device_id) for device_id in order.device_ids)
    kind = ", ".join(devices[position].name for position in positions) or CPU
    way = model.ways[order.variant]
    return VirtualHost(
        manager_id=manager_id,
        node=node,
        order=order,
        model=model,
        way=way,
        positions=positions,
        kind=kind,
        piece_time=node.piece_time or way.time_on(kind),
    )


@dataclass
class Tally:
    """What became of one context."""

    num_loads: int = 0
    """Set-ups that succeeded."""
    num_failed_loads: int = 0
    num_stops: int = 0
    """Hosts that the scheduler ended."""
    num_evictions: int = 0
    """Those of them that made room for another context."""
    num_sleeps: int = 0
    num_wakes: int = 0
    num_items: int = 0
    """Delivered results."""
    by_variant: Counter[int] = field(default_factory=Counter)
    """Delivered results, by the way that made them."""
    num_failed_tasks: int = 0
    built_in_pieces_s: float = 0.0
    """What pieces spent on building anew what their hosts do not keep."""
    waits_s: list[float] = field(default_factory=list)
    """From the submission of a task to each of its results, if that is recorded."""
    ended_at: float = 0.0
    """When its last result was delivered, or its last task failed."""
