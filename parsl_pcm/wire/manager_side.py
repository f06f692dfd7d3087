"""Messages between interchange and manager; some go on to the host, or come from there."""

from __future__ import annotations

from parsl_pcm.types import (
    BlockId,
    ContextKey,
    DeviceId,
    Digest,
    HostId,
    LeaseId,
    ManagerId,
    NodeResources,
    Requirements,
    TaskId,
)
from parsl_pcm.wire.base import Failure, Message

# --- manager -> interchange -------------------------------------------------------------------


class RegisterManager(Message, frozen=True, kw_only=True, tag=True):
    """First message of a manager."""

    protocol_version: int
    manager_id: ManagerId
    block_id: BlockId
    hostname: str
    pid: int
    python_version: str
    """Major and minor, for example 3.11: hosts must be able to unpickle what the user pickled."""
    parsl_version: str
    pcm_version: str
    resources: NodeResources
    packages: dict[str, str]
    remaining_s: float | None = None
    """Seconds until the site ends this block; None: unknown."""
    num_restarts: int = 0
    """How often the site has started this block again after taking it back."""


class ManagerAlive(Message, frozen=True, kw_only=True, tag=True):
    """Heartbeat, in both directions."""


class ManagerClosing(Message, frozen=True, kw_only=True, tag=True):
    """The site is about to kill this manager: give it nothing new."""

    reason: str
    remaining_s: float | None = None
    """None: it has not said when."""


class ManagerLeaving(Message, frozen=True, kw_only=True, tag=True):
    """Goodbye: every piece that it still held is handed back with this."""

    reason: str


class HostReady(Message, frozen=True, kw_only=True, tag=True):
    """The context is live. Also host -> manager."""

    host_id: HostId
    setup_s: float
    """From the start of the process to the context being live."""
    gpu_memory_bytes: int = 0
    """On each of its devices, as the manager measured; 0: not measured."""
    host_memory_bytes: int = 0
    """Of all its processes together, as the manager measured; 0: not measured."""


class HostMeasured(Message, frozen=True, kw_only=True, tag=True):
    """A host holds more memory than was last told of it; the same measures as in HostReady."""

    host_id: HostId
    gpu_memory_bytes: int = 0
    host_memory_bytes: int = 0


class HostAsleep(Message, frozen=True, kw_only=True, tag=True):
    """The context sleeps; this is all the memory that is still held. Also host -> manager."""

    host_id: HostId
    sleep_s: float
    gpu_memory_bytes: int = 0
    host_memory_bytes: int = 0


class HostAwake(Message, frozen=True, kw_only=True, tag=True):
    """The context is live again. Also host -> manager."""

    host_id: HostId
    wake_s: float


class SleepFailed(Message, frozen=True, kw_only=True, tag=True):
    """The context could not be put to sleep. Also host -> manager."""

    host_id: HostId
    failure: Failure


class SetupFailed(Message, frozen=True, kw_only=True, tag=True):
    """The context could not be built; the host is gone. Also host -> manager."""

    host_id: HostId
    failure: Failure


class HostExited(Message, frozen=True, kw_only=True, tag=True):
    """A host is gone: asked to (StopHost) or not."""

    host_id: HostId
    description: str
    """For a person: ``killed by SIGKILL (often: out of memory)``, ``exited with code 3``."""
    log_tail: str
    log_path: str


class PieceFinished(Message, frozen=True, kw_only=True, tag=True):
    """Results of the items [start, stop) of a lease. Also host -> manager.

    Payload: [result]; of a mapped task [list of results]. The ranges of one lease arrive in order,
    without gaps.
    """

    lease_id: LeaseId
    start: int
    stop: int
    run_s: float
    """Seconds that the user's function took for them."""


class PieceFailed(Message, frozen=True, kw_only=True, tag=True):
    """The user's function raised on the rest of a piece. Payload: [pickled exception].

    Also host -> manager.
    """

    lease_id: LeaseId
    failure: Failure
    is_misaligned: bool = False
    """Whether results of it that were sent may belong to other items: it yielded too few."""


class PieceRevoked(Message, frozen=True, kw_only=True, tag=True):
    """Nothing more of the piece is or will be done here. Also host -> manager."""

    lease_id: LeaseId


# --- interchange -> manager -------------------------------------------------------------------


class RegistrationAccepted(Message, frozen=True, kw_only=True, tag=True):
    """Welcome."""


class RegistrationRefused(Message, frozen=True, kw_only=True, tag=True):
    """The manager must end; the reason goes to its log and to the user."""

    reason: str


class PrepareHost(Message, frozen=True, kw_only=True, tag=True):
    """Import these modules, then wait for StartHost. Only manager -> host, to a spare process."""

    imports: tuple[str, ...]


class StartHost(Message, frozen=True, kw_only=True, tag=True):
    """Start a process that builds this context on these devices. Also manager -> host."""

    host_id: HostId
    context_key: ContextKey
    name: str
    requirements: Requirements
    device_ids: tuple[DeviceId, ...]
    recipes: Digest | None
    env: dict[str, str]
    variant: int = 0
    """Which way to build it that the recipes know."""


class SleepHost(Message, frozen=True, kw_only=True, tag=True):
    """Put the context of an idle host to sleep. Also manager -> host."""

    host_id: HostId


class WakeHost(Message, frozen=True, kw_only=True, tag=True):
    """Make a sleeping context live again. Also manager -> host."""

    host_id: HostId


class StopHost(Message, frozen=True, kw_only=True, tag=True):
    """End a host: its clean-up code runs, then the process ends. Also manager -> host."""

    host_id: HostId


class RunPiece(Message, frozen=True, kw_only=True, tag=True):
    """Run items of a task. Payload: [arguments, whole frames of items...]. Also manager -> host."""

    host_id: HostId
    lease_id: LeaseId
    task_id: TaskId
    start: int
    stop: int
    function: Digest
    frames_start: int | None = None
    """Of a mapped task: the number of the first item in the frames. None: an ordinary call."""


class RevokePiece(Message, frozen=True, kw_only=True, tag=True):
    """Hand a piece back, or what is left of it, if that is possible. Also manager -> host."""

    host_id: HostId
    lease_id: LeaseId
