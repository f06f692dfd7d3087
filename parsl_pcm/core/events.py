"""What can happen: the inputs of the scheduler. A bad event cannot be built."""

from __future__ import annotations

from msgspec import Struct

from parsl_pcm.types import (
    BlockId,
    ContextKey,
    HostId,
    LeaseId,
    ManagerId,
    NodeResources,
    Requirements,
    TaskId,
    Variant,
)


class BaseEvent(Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """Base of all events.

    They hold plain data, never a cycle, so the garbage collector need not look at them.
    """


class ContextDeclared(BaseEvent, frozen=True, kw_only=True, tag=True):
    """A context is known from now on. Repeating it changes nothing."""

    context_key: ContextKey
    name: str
    requirements: Requirements
    """With ``cores`` resolved: never None here."""
    variants: tuple[Variant, ...] = ()
    """Other ways to build it, in order: variant 1, 2, ...; the requirements above are variant 0."""


class WarmRequested(BaseEvent, frozen=True, kw_only=True, tag=True):
    """So many hosts of a context shall be warm, whatever waits; 0: none need be any more."""

    context_key: ContextKey
    num_hosts: int


class EvictRequested(BaseEvent, frozen=True, kw_only=True, tag=True):
    """The hosts of a context shall end when they are idle; what was asked to be warm need not."""

    context_key: ContextKey


class TaskSubmitted(BaseEvent, frozen=True, kw_only=True, tag=True):
    """A task of ``num_items`` items waits from now on."""

    task_id: TaskId
    context_key: ContextKey
    num_items: int = 1
    priority: int = 0
    """Lower runs first; equal ones in the order of their ids."""
    is_mapped: bool = False
    """Whether its items do not depend on one another: any range of them may run anywhere, twice if
    need be, and one that raises or kills its host is told apart from the others."""
    is_tolerant: bool = False
    """Whether an item that cannot be done costs that item alone; else it ends the task."""
    function_key: str = ""
    """Of a mapped task: which function it calls; times of different ones are not compared."""


class TaskCancelled(BaseEvent, frozen=True, kw_only=True, tag=True):
    """Nobody waits for this task any more."""

    task_id: TaskId


class ManagerRegistered(BaseEvent, frozen=True, kw_only=True, tag=True):
    """A node is there, with nothing on it."""

    manager_id: ManagerId
    block_id: BlockId
    resources: NodeResources
    remaining_s: float | None = None
    """Until the site ends the node (its walltime); None: unknown."""
    drain_s: float | None = None
    """The manager gets nothing new that long from now, finishes, and is dismissed; None: never."""


class ManagerHeard(BaseEvent, frozen=True, kw_only=True, tag=True):
    """A manager gave a sign of life."""

    manager_id: ManagerId


class ManagerHeld(BaseEvent, frozen=True, kw_only=True, tag=True):
    """The manager shall get nothing new."""

    manager_id: ManagerId


class ManagerClosing(BaseEvent, frozen=True, kw_only=True, tag=True):
    """The site has said that it takes this node back."""

    manager_id: ManagerId
    remaining_s: float | None
    """Until it does; replaces what was known before. None: it has not said when."""


class ManagerLost(BaseEvent, frozen=True, kw_only=True, tag=True):
    """A manager left, was preempted or vanished, and all its hosts with it."""

    manager_id: ManagerId
    reason: str


class HostReady(BaseEvent, frozen=True, kw_only=True, tag=True):
    """The context of a host is live."""

    host_id: HostId
    setup_s: float
    gpu_memory_bytes: int = 0
    """Measured then, on each of its devices; 0: not measured."""
    host_memory_bytes: int = 0
    """Measured then, all its processes together; 0: not measured."""


class HostMeasured(BaseEvent, frozen=True, kw_only=True, tag=True):
    """A host holds more memory than was last told of it; the same measures as in HostReady."""

    host_id: HostId
    gpu_memory_bytes: int = 0
    host_memory_bytes: int = 0


class HostAsleep(BaseEvent, frozen=True, kw_only=True, tag=True):
    """The context of a host sleeps: this is all the memory that it still holds."""

    host_id: HostId
    sleep_s: float
    gpu_memory_bytes: int = 0
    host_memory_bytes: int = 0


class HostAwake(BaseEvent, frozen=True, kw_only=True, tag=True):
    """The context of a host is live again."""

    host_id: HostId
    wake_s: float


class SleepFailed(BaseEvent, frozen=True, kw_only=True, tag=True):
    """The context of a host could not be put to sleep; nobody knows whether it still works."""

    host_id: HostId
    message: str


class SetupFailed(BaseEvent, frozen=True, kw_only=True, tag=True):
    """A host is gone because its context could not be built."""

    host_id: HostId
    message: str
    remote_traceback: str = ""
    log_tail: str = ""


class HostExited(BaseEvent, frozen=True, kw_only=True, tag=True):
    """A host is gone, whether we asked for it or not. Its memory is free."""

    host_id: HostId
    description: str
    log_tail: str = ""


class PieceFinished(BaseEvent, frozen=True, kw_only=True, tag=True):
    """Results of the items [start, stop) of a lease; in order, without gaps."""

    lease_id: LeaseId
    start: int
    stop: int
    run_s: float


class PieceFailed(BaseEvent, frozen=True, kw_only=True, tag=True):
    """The user's function raised on this piece."""

    lease_id: LeaseId
    is_misaligned: bool = False
    """Whether results of it that were delivered may belong to other items of the piece."""


class LeaseRevoked(BaseEvent, frozen=True, kw_only=True, tag=True):
    """A host gave a piece back that it had not started."""

    lease_id: LeaseId


class TimePassed(BaseEvent, frozen=True, kw_only=True, tag=True):
    """The moment named by ``next_deadline()`` has come."""


Event = (
    ContextDeclared
    | WarmRequested
    | EvictRequested
    | TaskSubmitted
    | TaskCancelled
    | ManagerRegistered
    | ManagerHeard
    | ManagerHeld
    | ManagerClosing
    | ManagerLost
    | HostReady
    | HostMeasured
    | HostAsleep
    | HostAwake
    | SleepFailed
    | SetupFailed
    | HostExited
    | PieceFinished
    | PieceFailed
    | LeaseRevoked
    | TimePassed
)
