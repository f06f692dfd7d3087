"""What the metrics of a run keep: of each context for good, of the rest while it is there."""

from __future__ import annotations

from dataclasses import dataclass, field

from parsl_pcm.types import HostId, LeaseId, TaskId


@dataclass(slots=True)
class ContextLoads:
    """How often a context was built, put to sleep and woken, how long that took, what it saved."""

    name: str
    max_concurrency: int
    num_loads: int = 0
    total_s: float = 0.0
    """All set-ups together."""
    max_s: float = 0.0
    num_pieces: int = 0
    """Pieces that were sent to its hosts."""
    num_hits: int = 0
    """Those of them that came to a host which had been warm before."""
    num_sleeps: int = 0
    num_wakes: int = 0
    wake_s: float = 0.0
    """All wakings together."""
    num_evictions: int = 0
    """Hosts that were ended to make room for another context, or since a person wished it."""

    @property
    def mean_s(self) -> float | None:
        """Mean time of a set-up; None if there was none."""
        return self.total_s / self.num_loads if self.num_loads else None

    @property
    def loading_s(self) -> float:
        """Time that its hosts spent on set-ups and wakings."""
        return self.total_s + self.wake_s

    def add(self, setup_s: float) -> None:
        """Take a set-up in."""
        self.num_loads += 1
        self.total_s += setup_s
        self.max_s = max(self.max_s, setup_s)

    def add_wake(self, wake_s: float) -> None:
        """Take a waking in."""
        self.num_wakes += 1
        self.wake_s += wake_s


@dataclass(slots=True)
class LeaseSeen:
    """A piece at a host."""

    task_id: TaskId
    start: int
    stop: int
    host: HostSeen
    is_repeat: bool
    rival: LeaseSeen | None = None
    """Of the same piece, while both run."""
    was_raced: bool = False
    is_over: bool = False
    """Whether the rival was first: nobody waits for it."""


@dataclass(slots=True)
class HostSeen:
    """A process that builds and keeps a context."""

    context: ContextLoads
    manager: ManagerSeen
    max_concurrency: int
    ready_at: float | None = None
    """Since when its context is live; None while it is not."""
    was_ready: bool = False
    is_stopping: bool = False
    leases: dict[LeaseId, LeaseSeen] = field(default_factory=dict)

    def slot_s(self, now: float) -> float:
        """Return the time since its context is live, once for each piece that it may run."""
        return 0.0 if self.ready_at is None else (now - self.ready_at) * self.max_concurrency


@dataclass(slots=True)
class ManagerSeen:
    """A node."""

    closed_at: float
    """From then on nothing new goes there; infinite: not known."""
    is_closing: bool = False
    """Whether the site has said that it takes it back."""
    hosts: dict[HostId, HostSeen] = field(default_factory=dict)
