"""What the scheduler knows. Only the scheduler and the classes beside it change these."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from parsl_pcm.core.backlog import Backlog
from parsl_pcm.core.blame import Blame
from parsl_pcm.core.inflight import FIRST_PLACES, InFlight, first_places
from parsl_pcm.core.loads import HostLoads
from parsl_pcm.core.memory import NO_CLAIM, Claim, MeasuredMemory
from parsl_pcm.core.quarantine import Quarantine
from parsl_pcm.core.speeds import ItemTime, RunningMean, SizeTimes
from parsl_pcm.core.transitions import HostState, ManagerState, TaskState
from parsl_pcm.types import (
    BlockId,
    ContextKey,
    DeviceId,
    HostId,
    LeaseId,
    ManagerId,
    NodeResources,
    Requirements,
    TaskId,
    Variant,
)

CPU = "cpu"
"""The kind of device of a host without devices."""


@dataclass(slots=True, eq=False)
class TaskRecord:
    """One call of an app."""

    task_id: TaskId
    context: ContextRecord
    num_items: int
    priority: int
    is_mapped: bool = False
    """Whether any range of its items may run anywhere, twice if need be."""
    is_tolerant: bool = False
    """Whether an item that cannot be done costs that item alone."""
    function_key: str = ""
    """Which function a mapped task calls: times of different ones are not compared."""
    state: TaskState = TaskState.OPEN
    num_delivered: int = 0
    """Its items that are over: results were delivered, or the news that there is none."""
    leases: dict[LeaseId, LeaseRecord] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether somebody still waits for a result of it."""
        return self.state is TaskState.OPEN


@dataclass(slots=True, eq=False)
class PieceRecord:
    """The items [start, stop) of a task, waiting or leased: those that are not delivered."""

    task: TaskRecord
    start: int
    stop: int
    num_kills: int = 0
    """Hosts that died while running it."""
    parts: Sequence[PieceRecord] = ()
    """What it was split into: these took its place."""

    @property
    def num_items(self) -> int:
        """Number of its items; 0 when all are delivered."""
        return self.stop - self.start

    @property
    def is_wanted(self) -> bool:
        """Whether somebody still waits for a result of it."""
        return self.start < self.stop and self.task.is_open

    @property
    def is_suspect(self) -> bool:
        """Whether it may be what killed a host: it runs alone then, so that the blame is sure."""
        return self.num_kills > 0

    def forgive(self) -> None:
        """Count one death of a host less, here and in what it was split into."""
        self.num_kills = max(0, self.num_kills - 1)
        for part in self.parts:
            part.forgive()


@dataclass(slots=True, eq=False)
class LeaseRecord:
    """A host's claim on a piece; written before the piece is sent."""

    lease_id: LeaseId
    piece: PieceRecord
    host: HostRecord
    next_item: int
    """First item that this host has not reported; the piece begins later if another host has."""
    is_revoking: bool = False
    started_at: float | None = None
    """When the host began with what is left of the piece; None while it waits behind others."""
    has_reported: bool = False
    """Whether the host has reported a part of the piece."""
    num_reported: int = 0
    """Items of a mapped task that the host has reported."""
    run_s: float = 0.0
    """How long those took."""
    rival: LeaseRecord | None = None
    """Another host's claim on the same piece: the first result wins."""
    was_raced: bool = False
    """Whether it has, or had, a rival: it gets no other one."""

    @property
    def num_left(self) -> int:
        """Number of its items that the host has not reported."""
        return self.piece.stop - self.next_item

    @property
    def is_answerable(self) -> bool:
        """Whether what becomes of a piece that is wanted hangs on this lease alone.

        Not while a rival has the piece too, nor on items that a rival has delivered.
        """
        piece = self.piece
        return self.rival is None and self.next_item == piece.start and piece.is_wanted


@dataclass(slots=True, eq=False)
class HostRecord:
    """One process on a node that builds, then keeps, one context."""

    host_id: HostId
    context: ContextRecord
    manager: ManagerRecord
    device_positions: tuple[int, ...]
    """Indices into the manager's devices."""
    variant: int = 0
    """Which of the context's ways it is built in."""
    awake_claim: Claim = NO_CLAIM
    """What it claims of its node unless its context sleeps."""
    requirements: Requirements = field(init=False)
    """Of that way."""
    claim: Claim = field(init=False)
    """What it claims now."""
    granted: Claim = field(init=False)
    """What there was room for when it claimed it; it may have been measured to hold more since."""
    state: HostState = HostState.STARTING
    leases: dict[LeaseId, LeaseRecord] = field(default_factory=dict)
    """In the order sent; the host runs the first ``max_concurrency`` of them."""
    idle_since: float = 0.0
    """When it was last ready without a lease."""
    num_items: int = 0
    """Items of its leases that are still to do."""
    was_used: bool = False
    """Whether it ever got a lease."""
    is_exclusive: bool = False
    """Whether it runs a suspect, alone."""
    is_out_of_time: bool = False
    """Whether its node ends before it could do one item more: it only finishes what it holds."""
    is_leaving: bool = False
    """Whether its place is wanted: it only finishes what it holds, then it sleeps or ends."""
    promised_to: ContextRecord | None = None
    """Not None iff it leaves, sleeps or ends to make room for this context."""
    started_at: float = 0.0
    ready_since: float = 0.0
    """When its context became live, for the last time."""
    device_kind: str = field(init=False)
    """Names of its devices: hosts with the same ones are taken to be equally fast at first."""
    num_places: int = field(init=False)
    """Pieces that it may hold before more would only wait; at most ``max_concurrency``."""
    in_flight: InFlight = field(default_factory=InFlight)
    item_time: ItemTime = field(default_factory=ItemTime)
    size_times: dict[str, SizeTimes] = field(default_factory=dict)
    """By the function of mapped tasks."""
    rate: float = 0.0
    """Items a second, as counted in ``total_rate`` of its context; 0.0 while it is not."""

    def __post_init__(self) -> None:
        self.requirements = self.context.ways[self.variant]
        self.claim = self.granted = self.awake_claim
        of_devices = self.manager.device_kind(self.device_positions)
        self.device_kind = self.context.kind(of_devices, self.variant)
        self.num_places = first_places(self)

    @property
    def load(self) -> int:
        """Number of leases that it holds."""
        return len(self.leases)

    def running(self) -> list[LeaseRecord]:
        """Return the leases that it may be running: the first ``max_concurrency``."""
        return list(islice(self.leases.values(), self.requirements.max_concurrency))

    def queued(self) -> list[LeaseRecord]:
        """Return the leases that wait behind those."""
        return list(islice(self.leases.values(), self.requirements.max_concurrency, None))

    def num_queued_items(self) -> int:
        """Return the number of items of those that wait."""
        return self.num_items - sum(lease.num_left for lease in self.running())


@dataclass(slots=True, eq=False)
class ManagerRecord:
    """One node, through its manager."""

    manager_id: ManagerId
    block_id: BlockId
    resources: NodeResources
    last_heard: float
    state: ManagerState = ManagerState.ACTIVE
    hosts: dict[HostId, HostRecord] = field(default_factory=dict)
    idle_since: float = 0.0
    """When the last of its leases ended; meaningful while it has none."""
    num_leases: int = 0
    ends_at: float = math.inf
    """When the site ends it: by its walltime, or sooner by what the site has said since."""
    whole_s: float = math.inf
    """Its walltime, counted from its registration."""
    is_closing: bool = False
    """Whether the site takes it back now: deaths of its hosts are nobody's fault."""
    is_dismissed: bool = False
    blames: list[Blame] = field(default_factory=list)
    """For the deaths of its hosts, the latest of them."""

    def device_ids(self, positions: tuple[int, ...]) -> tuple[DeviceId, ...]:
        """Return the names that the site gave to these devices."""
        return tuple(self.resources.devices[position].device_id for position in positions)

    def device_names(self, positions: tuple[int, ...]) -> list[str]:
        """Return what these devices are; of a host without devices: what stands for them."""
        return [self.resources.devices[position].name for position in positions] or [CPU]

    def device_kind(self, positions: tuple[int, ...]) -> str:
        """Return what hosts with these devices have in common."""
        return ", ".join(self.device_names(positions))


@dataclass(slots=True, eq=False)
class ContextRecord:
    """A context: what waits for it, where it lives, what was measured of it."""

    context_key: ContextKey
    name: str
    requirements: Requirements
    """Of the first way to build it."""
    variants: tuple[Variant, ...] = ()
    """The other ways."""
    ways: tuple[Requirements, ...] = field(init=False)
    names: tuple[str, ...] = field(init=False)
    """Of the ways."""
    backlog: Backlog = field(default_factory=Backlog)
    suspects: Backlog = field(default_factory=Backlog)
    """Pieces that may kill a host: each waits for a host of its own."""
    reserved: HostRecord | None = None
    """The host that gets nothing new until it is idle and can take a suspect."""
    hosts: dict[HostId, HostRecord] = field(default_factory=dict)
    """Those that start or are ready, on nodes that take work."""
    loads: HostLoads = field(default_factory=HostLoads)
    """Those that may get a piece."""
    asleep: dict[HostId, HostRecord] = field(default_factory=dict)
    """Those that sleep, on nodes that take work."""
    num_starting: int = 0
    """Those of ``hosts`` that start or wake up."""
    num_promised: int = 0
    """Hosts that leave, are put to sleep or are ended to make room for it."""
    num_warm: int = 0
    """Hosts that shall be warm whatever waits."""
    num_loads: int = 0
    """Hosts that were ever started."""
    num_hits: int = 0
    """Pieces that went to a host which had been warm before."""
    num_ready_ever: int = 0
    num_setup_deaths: int = 0
    """Hosts of it killed while they built it, since one was ready or it was given up."""
    num_deaths: int = 0
    """Hosts of it that died while they were ready, though their nodes stayed."""
    quarantine: Quarantine = field(default_factory=Quarantine)
    """Managers on which it could not be built, since it was last given up."""
    memory: MeasuredMemory = field(default_factory=MeasuredMemory)
    has_sleep_trouble: bool = False
    """Whether it could not be put to sleep, or did not wake up, once."""
    trouble: str = ""
    """The last that the user was told about it; "": nothing."""
    told: set[str] = field(default_factory=set)
    """What the user has been told and need not hear again."""
    num_mapped: int = 0
    """Its open tasks that are mapped."""
    num_open_items: int = 0
    """Items of its open tasks that are not delivered: they wait or are leased."""
    service_s: RunningMean = field(default_factory=RunningMean)
    """Time of one item."""
    setup_s: RunningMean = field(default_factory=RunningMean)
    sleep_s: RunningMean = field(default_factory=RunningMean)
    wake_s: RunningMean = field(default_factory=RunningMean)
    item_times: dict[str, ItemTime] = field(default_factory=dict)
    """By the kind of device."""
    size_times: dict[tuple[str, str], SizeTimes] = field(default_factory=dict)
    """By the function of mapped tasks and the kind of device."""
    places: dict[str, int] = field(default_factory=dict)
    """Pieces that a host should hold, by the kind of device, as far as it was learned."""
    total_rate: float = 0.0
    """Items that its measured hosts do in a second, together."""
    num_rated: int = 0
    """Hosts in that sum."""
    last_leased: float = 0.0
    """When a piece of it last went out, or began to wait while none did."""
    gave_way_at: float = -math.inf
    """When its last host was promised to another context."""
    began_waiting: float = 0.0
    """When a piece began to wait while none did."""

    def __post_init__(self) -> None:
        self.ways = (self.requirements, *(variant.requirements for variant in self.variants))
        self.names = (self.name, *(variant.name for variant in self.variants))

    def kind(self, of_devices: str, variant: int) -> str:
        """Return what a host that is built in this way on such devices is compared with."""
        return f"{of_devices} ({self.names[variant]})" if variant else of_devices

    def may_try(self, manager: ManagerRecord, now: float) -> bool:
        """Whether the context may be built on a node, after what happened there."""
        return self.quarantine.may_try(manager.manager_id, now)

    @property
    def sleeps(self) -> bool:
        """Whether its hosts can be put to sleep; each of them needs ``can_sleep`` besides."""
        return not self.has_sleep_trouble and any(way.can_sleep for way in self.ways)

    @property
    def waiting_since(self) -> float | None:
        """When a piece began to wait while none did; None: nothing waits."""
        return self.began_waiting if self.num_waiting else None

    @property
    def num_waiting(self) -> int:
        """Pieces that wait, suspects included."""
        return len(self.backlog) + len(self.suspects)

    @property
    def num_waiting_items(self) -> int:
        """Items of those pieces."""
        return self.backlog.num_items + self.suspects.num_items

    @property
    def places_per_host(self) -> int:
        """Pieces that a host is given at the same time; with variants, the one started last."""
        if self.variants and self.hosts:
            return self.hosts[next(reversed(self.hosts))].num_places
        if self.places:
            return max(self.places.values())
        return min(FIRST_PLACES, self.requirements.max_concurrency)

    @property
    def max_concurrency(self) -> int:
        """Pieces that one of its hosts may run at the same time, whatever way it is built."""
        return max(way.max_concurrency for way in self.ways)

    @property
    def num_hosts(self) -> int:
        """Hosts that take pieces, or will without another decision."""
        return len(self.hosts) + self.num_promised

    @property
    def num_coming(self) -> int:
        """Hosts that will be ready without another decision."""
        return self.num_starting + self.num_promised
