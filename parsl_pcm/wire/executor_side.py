"""Messages between executor and interchange."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from parsl_pcm.types import (
    BlockId,
    ContextKey,
    Digest,
    ManagerId,
    Requirements,
    TaskId,
)
from parsl_pcm.wire.base import Failure, Message

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
    variants: tuple[DeclaredVariant, ...] = ()
    """Other ways to build it that the recipes know, for nodes that none before it fits."""


class DeclaredVariant(Struct, frozen=True, kw_only=True):
    """Another way to build a context."""

    name: str
    requirements: Requirements
    env: dict[str, str]


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
    variant: str = ""
    """Name of the variant of its context that made them; "": the context has none."""
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


class ContextTrouble(Message, frozen=True, kw_only=True, tag=True):
    """A context gives trouble, or waits for what is not there: a sentence for the user."""

    context_key: ContextKey
    message: str
    log_tail: str = ""


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
