"""What a pool in virtual time is made of: nodes, and contexts with the truth about what they cost.

The scheduler is told no more of it than it would be told in a real run: requirements before,
measurements afterwards.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from parsl_pcm.core.actions import StartHost
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
"""How long a piece takes: by its number of items, the time now, and the pieces that run there."""


def each(item_s: float, piece_s: float = 0.0) -> PieceTime:
    """Return the times of a host that does one item after the other, and prepares each piece."""
    return lambda num_items, _now, _num_running: piece_s + num_items * item_s


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to build a context: what it asks for, and what it costs.

    Attributes
    ----------
    piece_time
        Of its pieces: everywhere, or by the kind of the host's devices (names, joined by ``, ``).
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
    setup_s: float = 0.0
    gpu_bytes: int | None = None
    host_bytes: int | None = None
    sleep_s: float = 0.0
    wake_s: float = 0.0
    asleep_gpu_bytes: int = 0
    asleep_host_bytes: int = 0

    def time_on(self, kind: str) -> PieceTime:
        """Return the times of its pieces on devices of a kind."""
        return self.piece_time if callable(self.piece_time) else self.piece_time[kind]

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


@dataclass(frozen=True)
class Model:
    """A context, with all the ways to build it."""

    name: str
    ways: tuple[Way, ...]
    is_bad: bool = False
    """Whether it cannot be built anywhere."""


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


@dataclass
class Held:
    """A piece at a host."""

    lease_id: LeaseId
    start: int
    stop: int


@dataclass(eq=False)
class VirtualHost:
    """A process on a node."""

    manager_id: ManagerId
    node: Node
    order: StartHost
    model: Model
    way: Way
    positions: tuple[int, ...]
    """Of its devices on the node."""
    is_asleep: bool = False
    is_gone: bool = False
    held: list[Held] = field(default_factory=list)
    num_running: int = 0
    busy_s: float = 0.0

    @property
    def host_id(self) -> HostId:
        """Its name."""
        return self.order.host_id

    @property
    def setup_s(self) -> float:
        """How long its context takes to build, or to fail."""
        return self.way.setup_s if self.node.setup_s is None else self.node.setup_s

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

    def run_s(self, num_items: int, now: float) -> float:
        """Return how long a piece takes that starts now."""
        names = [self.node.resources.devices[position].name for position in self.positions]
        piece_time = self.node.piece_time or self.way.time_on(", ".join(names) or CPU)
        return piece_time(num_items, now, self.num_running)

    def memory_bytes(self) -> tuple[int, int]:
        """Return what it holds on each of its devices, and of main memory."""
        if self.is_asleep:
            return self.way.asleep_gpu_bytes, self.way.asleep_host_bytes
        sizes = [self.node.resources.devices[position].memory_bytes for position in self.positions]
        on_device = self.way.live_gpu_bytes(min(sizes)) if sizes else 0
        return on_device, self.way.live_host_bytes


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
    waits_s: list[float] = field(default_factory=list)
    """From the submission of a task to each of its results."""
    ended_at: float = 0.0
    """When its last result was delivered, or its last task failed."""
