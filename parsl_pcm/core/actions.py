"""What can be decided: the outputs of the scheduler, for its driver to carry out in order."""

from __future__ import annotations

import enum

from msgspec import Struct

from parsl_pcm.types import ContextKey, DeviceId, HostId, LeaseId, ManagerId, TaskId


class BaseAction(Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """Base of all actions.

    They hold plain data, never a cycle, so the garbage collector need not look at them.
    """


class StartHost(BaseAction, frozen=True, kw_only=True, tag=True):
    """Start a process on this node that builds and keeps this context."""

    manager_id: ManagerId
    host_id: HostId
    context_key: ContextKey
    device_ids: tuple[DeviceId, ...]
    variant: int = 0
    """Which way to build it: 0, or one of the variants that were declared."""


class StopHost(BaseAction, frozen=True, kw_only=True, tag=True):
    """End a host (eviction). Its memory counts as taken until HostExited."""

    manager_id: ManagerId
    host_id: HostId
    is_eviction: bool = False
    """Whether it makes room for a host of another context, or a person wanted it to end."""


class SleepHost(BaseAction, frozen=True, kw_only=True, tag=True):
    """Put the context of an idle host to sleep. Its memory counts as taken until HostAsleep."""

    manager_id: ManagerId
    host_id: HostId


class WakeHost(BaseAction, frozen=True, kw_only=True, tag=True):
    """Make a sleeping context live again."""

    manager_id: ManagerId
    host_id: HostId


class SendPiece(BaseAction, frozen=True, kw_only=True, tag=True):
    """Send a piece to a host. Its lease is already recorded."""

    manager_id: ManagerId
    host_id: HostId
    lease_id: LeaseId
    task_id: TaskId
    start: int
    stop: int
    rival_id: LeaseId | None = None
    """The lease under which the same piece runs elsewhere too: the first result wins."""


class RevokeLease(BaseAction, frozen=True, kw_only=True, tag=True):
    """Ask a host for a piece back unless it has started, or for what it can still leave out."""

    manager_id: ManagerId
    host_id: HostId
    lease_id: LeaseId


class AbandonLease(BaseAction, frozen=True, kw_only=True, tag=True):
    """Give a lease up since its node ends too soon: its piece runs elsewhere.

    A result that comes all the same is dropped.
    """

    manager_id: ManagerId
    host_id: HostId
    lease_id: LeaseId


class DeliverRange(BaseAction, frozen=True, kw_only=True, tag=True):
    """Give the results that came with the present event to the user: the only delivery of them.

    If they begin before ``start``, those before were delivered already, from another host.
    """

    task_id: TaskId
    start: int
    stop: int
    variant: int = 0
    """Of the context that made them."""


class DeliverException(BaseAction, frozen=True, kw_only=True, tag=True):
    """Give the user's exception that came with the present event to the user; the task is over."""

    task_id: TaskId
    item: int | None = None
    """Of a mapped task: the item that raised."""


class DeliverItemException(BaseAction, frozen=True, kw_only=True, tag=True):
    """Give the exception that came with the present event as that of one item; the task goes on."""

    task_id: TaskId
    item: int


class FailureReason(enum.Enum):
    """Why the scheduler gives a task up."""

    SETUP_FAILED = "setup_failed"
    """Its context could not be built."""
    KILLS_HOST = "kills_host"
    """It killed its host on each of its attempts."""
    DOES_NOT_FIT = "does_not_fit"
    """Its context needs more than any node that is known or may come has."""


class FailTask(BaseAction, frozen=True, kw_only=True, tag=True):
    """Tell the user that this task has no result, and why; the task is over."""

    task_id: TaskId
    reason: FailureReason
    message: str
    remote_traceback: str = ""
    log_tail: str = ""
    item: int | None = None
    """Of a mapped task: the item to blame, if it was one of them."""


class FailItem(BaseAction, frozen=True, kw_only=True, tag=True):
    """Tell the user that this item of a task has no result, and why; the task goes on."""

    task_id: TaskId
    item: int
    reason: FailureReason
    message: str
    remote_traceback: str = ""
    log_tail: str = ""


class ForgetTask(BaseAction, frozen=True, kw_only=True, tag=True):
    """Drop the payload of a task: no piece of it will be sent again."""

    task_id: TaskId


class TellTrouble(BaseAction, frozen=True, kw_only=True, tag=True):
    """Tell the user of a context that gives trouble, or waits for what is not there."""

    context_key: ContextKey
    message: str
    log_tail: str = ""


class DismissManager(BaseAction, frozen=True, kw_only=True, tag=True):
    """Tell a manager to end: it drained, or was silent for too long."""

    manager_id: ManagerId
    reason: str
    is_lost: bool = False
    """Whether it was silent: then it is gone with this, and what it held waits again."""


Action = (
    StartHost
    | StopHost
    | SleepHost
    | WakeHost
    | SendPiece
    | RevokeLease
    | AbandonLease
    | DeliverRange
    | DeliverException
    | DeliverItemException
    | FailTask
    | FailItem
    | ForgetTask
    | TellTrouble
    | DismissManager
)
