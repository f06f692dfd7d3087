"""The segments of maps: sent for them, and what is said about each handed on to its map.

To Parsl a map is one task. To the interchange each of its segments is one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from typing import Any

import msgspec

from parsl_pcm.errors import PCMError, error_to_store
from parsl_pcm.mapping.link import MapReceiver
from parsl_pcm.outcomes import exception_of
from parsl_pcm.types import TaskId
from parsl_pcm.wire import messages
from parsl_pcm.wire.codec import Envelope


class _Segment:
    """A segment under way."""

    def __init__(self, receiver: MapReceiver, num_items: int) -> None:
        self.receiver = receiver
        self.num_left = num_items


class MappedTasks:
    """What is under way of all maps of an executor.

    Parameters
    ----------
    send
        Sends a message to the interchange, from any thread; raises PCMError if it cannot.
    next_task_id
        Gives the numbers of the segments.
    """

    def __init__(
        self, send: Callable[[Envelope], None], next_task_id: Callable[[], TaskId]
    ) -> None:
        self.send = send
        self.next_task_id = next_task_id
        self._segments: dict[TaskId, _Segment] = {}
        self._receivers: dict[MapReceiver, None] = {}

    def start(self, receiver: MapReceiver, call: Envelope, future: Future[Any]) -> None:
        """Start a map whose segments are all submitted like this call.

        The future is that of the whole map; the receiver ends it.
        """
        self._receivers[receiver] = None
        receiver.start(_Link(self, receiver, call, future))

    def take(self, envelope: Envelope) -> bool:
        """Hand a message on if it is about a segment; say whether it was."""
        message = envelope.message
        if not isinstance(
            message, messages.RangeDelivered | messages.ItemFailed | messages.TaskFailed
        ):
            return False
        segment = self._segments.get(message.task_id)
        if segment is None:
            return False
        match message:
            case messages.RangeDelivered(task_id=task_id, start=start, stop=stop):
                self._count(task_id, segment, stop - start)
                segment.receiver.on_range(
                    task_id,
                    start,
                    stop,
                    envelope.payload[0],
                    skip=message.num_known,
                    variant=message.variant,
                )
            case messages.ItemFailed(task_id=task_id, item=item, failure=failure):
                self._count(task_id, segment, 1)
                error = exception_of(failure, envelope.payload)
                segment.receiver.on_item_failed(task_id, item, error)
            case messages.TaskFailed(task_id=task_id, item=blamed, failure=failure):
                del self._segments[task_id]
                error = exception_of(failure, envelope.payload)
                segment.receiver.on_segment_failed(task_id, blamed, error)
        return True

    def fail_all(self, error: BaseException) -> None:
        """Tell every map that nothing more will come."""
        self._segments.clear()
        receivers = list(self._receivers)
        self._receivers.clear()
        for receiver in receivers:
            receiver.on_executor_failed(error)

    def open_segment(self, task_id: TaskId, receiver: MapReceiver, num_items: int) -> None:
        """Expect so many results for a receiver."""
        self._segments[task_id] = _Segment(receiver, num_items)

    def forget_segment(self, task_id: TaskId) -> bool:
        """Expect nothing more; say whether anything was expected."""
        return self._segments.pop(task_id, None) is not None

    def forget_map(self, receiver: MapReceiver) -> None:
        """Note that a map is over."""
        self._receivers.pop(receiver, None)

    def _count(self, task_id: TaskId, segment: _Segment, num_items: int) -> None:
        segment.num_left -= num_items
        if segment.num_left == 0:
            self._segments.pop(task_id, None)


class _Link:
    """Implements :class:`parsl_pcm.mapping.link.MapLink`."""

    def __init__(
        self, tasks: MappedTasks, receiver: MapReceiver, call: Envelope, future: Future[Any]
    ) -> None:
        self._tasks = tasks
        self._receiver = receiver
        assert isinstance(call.message, messages.SubmitTask), call.message
        self._message = call.message
        self._arguments = call.payload
        self._future = future

    def submit(self, frames: Sequence[bytes], sizes: Sequence[int]) -> TaskId:
        task_id = self._tasks.next_task_id()
        message = msgspec.structs.replace(
            self._message,
            task_id=task_id,
            frame_sizes=tuple(sizes),
            is_tolerant=self._receiver.is_tolerant,
        )
        self._tasks.open_segment(task_id, self._receiver, sum(sizes))
        try:
            self._tasks.send(Envelope(message, (*self._arguments, *frames)))
        except BaseException:
            self._tasks.forget_segment(task_id)
            raise
        return task_id

    def cancel(self, task_id: TaskId) -> None:
        if self._tasks.forget_segment(task_id):
            with contextlib.suppress(PCMError):
                self._tasks.send(Envelope(messages.CancelTask(task_id=task_id)))

    def end(self, result: Any) -> None:
        self._tasks.forget_map(self._receiver)
        with contextlib.suppress(InvalidStateError):
            self._future.set_result(result)

    def fail(self, error: BaseException) -> None:
        self._tasks.forget_map(self._receiver)
        with contextlib.suppress(InvalidStateError):
            self._future.set_exception(error_to_store(error))
