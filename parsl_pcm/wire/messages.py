"""Every message that crosses a process boundary, by who sends it to whom.

Payload frames (named in each docstring) follow the head untouched; see :mod:`parsl_pcm.wire.codec`.
Durations cross the wire, never instants.
"""

from __future__ import annotations

import enum
from typing import Any

from msgspec import Struct

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

PROTOCOL_VERSION = 3
"""Raised by one with every change of a message; a manager of another version is refused."""


class Message(Struct, frozen=True, kw_only=True, tag=True):
    """Base of all messages."""


class FailureKind(enum.Enum):
    """Why a task failed. Everything but RAISED is our report, not the user's exception."""

    RAISED = "raised"
    """The user's function raised; the pickled exception is the payload frame."""
    SETUP_FAILED = "setup_failed"
    """Its context could not be built."""
    KILLS_HOST = "kills_host"
    """It killed its host on each of its attempts."""
    DOES_NOT_FIT = "does_not_fit"
    """Its context needs more than any node has."""
    WRONG_RESULTS = "wrong_results"
    """An app that is mapped gave something else than one result for each item."""


class Failure(Struct, frozen=True, kw_only=True):
    """What the user is told about a failed task."""

    kind: FailureKind
    message: str
    """A sentence: what was wrong, the value, the usual cure."""
    remote_traceback: str = ""
    log_tail: str = ""


# --- executor -> interchange ------------------------------------------------------------------


class StoreBlob(Message, frozen=True, kw_only=True, tag=True):
    """Keep this content under its hash. Payload: [blob]. Also interchange -> manager -> host."""

    digest: Digest


class DeclareContext(Message, frozen=True, kw_only=True, tag=True):
    """Make a context known before the first task that needs it."""

    context_key: ContextKey
    name: str
    requirements: Requirements
    recipes: Digest | None
    """Blob of its pickled recipes (:func:`parsl_pcm.pickling.dump_recipes`); None: no context."""
    env: dict[str, str]
    """Environment variables of the host process; may hold secrets, so it is never logged."""


class SubmitTask(Message, frozen=True, kw_only=True, tag=True):
    """Run a call. Payload: [arguments], of a mapped one [those behind its items, items, ...]."""

    task_id: TaskId
    context_key: ContextKey
    function: Digest
    priority: int = 0
    frame_sizes: tuple[int, ...] = ()
    """Of a mapped call: the number of items in each frame of items. Empty: an ordinary call."""
    is_tolerant: bool = False
    """Whether an item that cannot be done costs that item alone, and not the call."""


class CancelTask(Message, frozen=True, kw_only=True, tag=True):
    """The caller does not want the result any more."""

    task_id: TaskId


class BlockNotice(Message, frozen=True, kw_only=True, tag=True):
    """The site has said that it takes this block back."""

    block_id: BlockId
    num_restarts: int
    """How often the site had started the block again by then; later starts are not meant."""
    remaining_s: float


class BlockGone(Message, frozen=True, kw_only=True, tag=True):
    """The site took this block away, ended it, or is about to start it again."""

    block_id: BlockId
    num_restarts: int
    """Managers that registered after more restarts than this live on."""
    reason: str


class Command(Message, frozen=True, kw_only=True, tag=True):
    """A question or an order of the executor; answered by a CommandReply."""

    request_id: int
    name: str
    argument: str | None = None


class Shutdown(Message, frozen=True, kw_only=True, tag=True):
    """End: executor -> interchange, and interchange -> manager."""

    reason: str


# --- interchange -> executor ------------------------------------------------------------------


class InterchangeStarted(Message, frozen=True, kw_only=True, tag=True):
    """The interchange listens for managers on this port."""

    worker_port: int


class ManagerAdmitted(Message, frozen=True, kw_only=True, tag=True):
    """A manager registered."""

    manager_id: ManagerId
    block_id: BlockId
    hostname: str
    num_slots: int
    """Hosts that run side by side there: one for each device, or for each CPU slot."""


class ManagerDeparted(Message, frozen=True, kw_only=True, tag=True):
    """A manager is gone, or has said that it is about to be killed."""

    block_id: BlockId
    reason: str


class ManagerRefused(Message, frozen=True, kw_only=True, tag=True):
    """A manager was sent away, for example since its Python differs."""

    block_id: BlockId
    reason: str


class RangeDelivered(Message, frozen=True, kw_only=True, tag=True):
    """Results of the items [start, stop) of a task, each delivered once.

    Payload: [result]; of a mapped task [list of results].
    """

    task_id: TaskId
    start: int
    stop: int
    num_known: int = 0
    """So many results at the head of the list belong to items before ``start``: they are known."""


class ItemFailed(Message, frozen=True, kw_only=True, tag=True):
    """An item of a mapped task has no result. Payload: [pickled exception] if RAISED, else none."""

    task_id: TaskId
    item: int
    failure: Failure


class TaskFailed(Message, frozen=True, kw_only=True, tag=True):
    """A task ended without a result. Payload: [pickled exception] if RAISED, else none."""

    task_id: TaskId
    failure: Failure
    item: int | None = None
    """Of a mapped task: the item to blame, if it was one of them."""


class CommandReply(Message, frozen=True, kw_only=True, tag=True):
    """The answer to a Command: plain data."""

    request_id: int
    value: Any


class RunSummary(Message, frozen=True, kw_only=True, tag=True):
    """Last message of an interchange that was asked to end."""

    text: str


class InterchangeFailing(Message, frozen=True, kw_only=True, tag=True):
    """Last words of an interchange that ends because of an error of ours."""

    traceback: str


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


class StartHost(Message, frozen=True, kw_only=True, tag=True):
    """Start a process that builds this context on these devices. Also manager -> host."""

    host_id: HostId
    context_key: ContextKey
    name: str
    requirements: Requirements
    device_ids: tuple[DeviceId, ...]
    recipes: Digest | None
    env: dict[str, str]


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


AnyMessage = (
    StoreBlob
    | DeclareContext
    | SubmitTask
    | CancelTask
    | BlockNotice
    | BlockGone
    | Command
    | Shutdown
    | InterchangeStarted
    | ManagerAdmitted
    | ManagerDeparted
    | ManagerRefused
    | RunSummary
    | RangeDelivered
    | ItemFailed
    | TaskFailed
    | CommandReply
    | InterchangeFailing
    | RegisterManager
    | ManagerAlive
    | ManagerClosing
    | ManagerLeaving
    | HostReady
    | SetupFailed
    | HostExited
    | PieceFinished
    | PieceFailed
    | PieceRevoked
    | RegistrationAccepted
    | RegistrationRefused
    | StartHost
    | StopHost
    | RunPiece
    | RevokePiece
)
