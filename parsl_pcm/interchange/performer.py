"""Carries out what the scheduler decides: each action becomes a message with its payload."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from parsl_pcm.core import actions
from parsl_pcm.core.actions import Action
from parsl_pcm.interchange.peers import Peers
from parsl_pcm.interchange.stored_task import StoredTask
from parsl_pcm.types import ContextKey, Digest, ManagerId, TaskId
from parsl_pcm.wire import messages
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.messages import Failure, FailureKind

logger = logging.getLogger(__name__)


class Performer:
    """Keeps what the scheduler never sees (arguments, functions, recipes) and sends it.

    Parameters
    ----------
    peers
        Messages to managers are queued here.
    to_executor
        Messages to the executor are appended to this list.
    """

    def __init__(self, peers: Peers, to_executor: list[Envelope]) -> None:
        self._peers = peers
        self._to_executor = to_executor
        self._heard = Envelope(messages.ManagerAlive())
        """What is being handled: it may bring results or an exception to be passed on."""
        self._blobs: dict[Digest, bytes] = {}
        self._contexts: dict[ContextKey, messages.DeclareContext] = {}
        self._tasks: dict[TaskId, StoredTask] = {}

    def hear(self, envelope: Envelope) -> None:
        """Take note of the message that is handled next."""
        self._heard = envelope

    def store_blob(self, message: messages.StoreBlob) -> None:
        """Keep the content that came with this message."""
        self._blobs[message.digest] = self._heard.payload[0]

    def store_context(self, message: messages.DeclareContext) -> None:
        """Keep how to build a context."""
        self._contexts[message.context_key] = message

    def store_task(self, message: messages.SubmitTask) -> int:
        """Keep what came with this message until the task is forgotten; return its items."""
        task = self._tasks[message.task_id] = StoredTask(message, self._heard.payload)
        return task.num_items

    def perform(self, decided: Iterable[Action]) -> None:
        """Carry actions out in their order."""
        for action in decided:
            self._carry_out[type(action)](self, action)

    def _send_piece(self, action: actions.SendPiece) -> None:
        task = self._tasks[action.task_id]
        self._send_blob(action.manager_id, task.function)
        frames_start, frames = task.frames_of(action.start, action.stop)
        message = messages.RunPiece(
            host_id=action.host_id,
            lease_id=action.lease_id,
            task_id=action.task_id,
            start=action.start,
            stop=action.stop,
            function=task.function,
            frames_start=frames_start,
        )
        self._peers.send(action.manager_id, Envelope(message, frames))

    def _deliver_range(self, action: actions.DeliverRange) -> None:
        finished = self._heard.message
        assert isinstance(finished, messages.PieceFinished), "results come with this message alone"
        message = messages.RangeDelivered(
            task_id=action.task_id,
            start=action.start,
            stop=action.stop,
            num_known=action.start - finished.start,
            variant=self._name_of_variant(action),
        )
        self._to_executor.append(Envelope(message, self._heard.payload))

    def _name_of_variant(self, action: actions.DeliverRange) -> str:
        declared = self._contexts[self._tasks[action.task_id].context_key]
        if not declared.variants:
            return ""
        return declared.variants[action.variant - 1].name if action.variant else declared.name

    def _deliver_exception(self, action: actions.DeliverException) -> None:
        message = messages.TaskFailed(
            task_id=action.task_id, failure=self._failure_heard(), item=action.item
        )
        self._to_executor.append(Envelope(message, self._heard.payload))

    def _deliver_item_exception(self, action: actions.DeliverItemException) -> None:
        message = messages.ItemFailed(
            task_id=action.task_id, item=action.item, failure=self._failure_heard()
        )
        self._to_executor.append(Envelope(message, self._heard.payload))

    def _failure_heard(self) -> Failure:
        failed = self._heard.message
        assert isinstance(failed, messages.PieceFailed), "exceptions come with this message alone"
        return failed.failure

    def _fail_task(self, action: actions.FailTask) -> None:
        message = messages.TaskFailed(
            task_id=action.task_id, failure=_failure_of(action), item=action.item
        )
        self._to_executor.append(Envelope(message))

    def _fail_item(self, action: actions.FailItem) -> None:
        message = messages.ItemFailed(
            task_id=action.task_id, item=action.item, failure=_failure_of(action)
        )
        self._to_executor.append(Envelope(message))

    def _forget_task(self, action: actions.ForgetTask) -> None:
        del self._tasks[action.task_id]

    def _start_host(self, action: actions.StartHost) -> None:
        declared = self._contexts[action.context_key]
        way = declared.variants[action.variant - 1] if action.variant else declared
        logger.info(
            "host %s of context %r starts on manager %s %s",
            action.host_id,
            way.name,
            action.manager_id,
            action.device_ids,
        )
        if declared.recipes is not None:
            self._send_blob(action.manager_id, declared.recipes)
        message = messages.StartHost(
            host_id=action.host_id,
            context_key=action.context_key,
            name=way.name,
            requirements=way.requirements,
            device_ids=action.device_ids,
            recipes=declared.recipes,
            env=way.env,
            variant=action.variant,
        )
        self._peers.send(action.manager_id, Envelope(message))

    def _stop_host(self, action: actions.StopHost) -> None:
        logger.info("host %s on manager %s is stopped", action.host_id, action.manager_id)
        message = messages.StopHost(host_id=action.host_id)
        self._peers.send(action.manager_id, Envelope(message))

    def _sleep_host(self, action: actions.SleepHost) -> None:
        logger.info("host %s on manager %s is put to sleep", action.host_id, action.manager_id)
        message = messages.SleepHost(host_id=action.host_id)
        self._peers.send(action.manager_id, Envelope(message))

    def _wake_host(self, action: actions.WakeHost) -> None:
        logger.info("host %s on manager %s is woken", action.host_id, action.manager_id)
        self._peers.send(action.manager_id, Envelope(messages.WakeHost(host_id=action.host_id)))

    def _tell_trouble(self, action: actions.TellTrouble) -> None:
        logger.warning("%s", action.message)
        message = messages.ContextTrouble(
            context_key=action.context_key, message=action.message, log_tail=action.log_tail
        )
        self._to_executor.append(Envelope(message))

    def _take_lease_back(self, action: actions.RevokeLease | actions.AbandonLease) -> None:
        # One that was abandoned need not be started either; if it has been, its result is dropped.
        message = messages.RevokePiece(host_id=action.host_id, lease_id=action.lease_id)
        self._peers.send(action.manager_id, Envelope(message))

    def _dismiss_manager(self, action: actions.DismissManager) -> None:
        logger.info("manager %s is dismissed: %s", action.manager_id, action.reason)
        self._peers.send(action.manager_id, Envelope(messages.Shutdown(reason=action.reason)))

    _carry_out: ClassVar[dict[type[Action], Callable[[Performer, Any], None]]] = {
        actions.SendPiece: _send_piece,
        actions.DeliverRange: _deliver_range,
        actions.DeliverException: _deliver_exception,
        actions.DeliverItemException: _deliver_item_exception,
        actions.FailTask: _fail_task,
        actions.FailItem: _fail_item,
        actions.ForgetTask: _forget_task,
        actions.StartHost: _start_host,
        actions.StopHost: _stop_host,
        actions.SleepHost: _sleep_host,
        actions.WakeHost: _wake_host,
        actions.TellTrouble: _tell_trouble,
        actions.RevokeLease: _take_lease_back,
        actions.AbandonLease: _take_lease_back,
        actions.DismissManager: _dismiss_manager,
    }

    def _send_blob(self, manager_id: ManagerId, digest: Digest) -> None:
        """Send a blob unless this manager has it."""
        known = self._peers[manager_id].blobs
        if digest not in known:
            known.add(digest)
            blob = self._blobs[digest]
            self._peers.send(manager_id, Envelope(messages.StoreBlob(digest=digest), (blob,)))


def _failure_of(action: actions.FailTask | actions.FailItem) -> Failure:
    return Failure(
        kind=FailureKind(action.reason.value),
        message=action.message,
        remote_traceback=action.remote_traceback,
        log_tail=action.log_tail,
    )
