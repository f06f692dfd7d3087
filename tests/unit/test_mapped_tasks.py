"""Segments of maps: numbered, sent, and what is said about them handed to the right map."""

from __future__ import annotations

from concurrent.futures import Future
from itertools import count
from typing import Any

import pytest

from parsl_pcm.errors import ContextSetupFailed, PCMError
from parsl_pcm.mapped_tasks import MappedTasks
from parsl_pcm.mapping.link import MapLink, MapReceiver
from parsl_pcm.open_tasks import OpenTasks
from parsl_pcm.pickling import dump_exception, dump_result
from parsl_pcm.types import ContextKey, Digest, TaskId
from parsl_pcm.wire import messages
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.messages import Failure, FailureKind

CALL = Envelope(
    messages.SubmitTask(task_id=TaskId(0), context_key=ContextKey("c"), function=Digest("f")),
    (b"arguments",),
)


class Heard(MapReceiver):
    """Remembers what it is told."""

    link: MapLink

    def __init__(self, *, is_tolerant: bool = False) -> None:
        self._is_tolerant = is_tolerant
        self.heard: list[Any] = []

    @property
    def is_tolerant(self) -> bool:
        return self._is_tolerant

    def start(self, link: MapLink) -> None:
        self.link = link

    def on_range(
        self, task_id: TaskId, start: int, stop: int, frame: bytes, *, skip: int, variant: str
    ) -> None:
        self.heard.append((task_id, start, stop, frame, skip, *([variant] if variant else [])))

    def on_item_failed(self, task_id: TaskId, item: int, error: BaseException) -> None:
        self.heard.append((task_id, item, repr(error)))

    def on_segment_failed(self, task_id: TaskId, item: int | None, error: BaseException) -> None:
        self.heard.append((task_id, item, type(error)))

    def on_executor_failed(self, error: BaseException) -> None:
        self.heard.append(error)


class Bench:
    """An executor without processes."""

    def __init__(self) -> None:
        self.sent: list[Envelope] = []
        numbers = count(1)
        self.maps = MappedTasks(self.send, lambda: TaskId(next(numbers)))
        self.futures: dict[object, Future[Any]] = {}
        self.open = OpenTasks(self.futures, self.maps)
        self.is_broken = False

    def send(self, envelope: Envelope) -> None:
        if self.is_broken:
            raise PCMError("gone")
        self.sent.append(envelope)

    def started(self, receiver: Heard) -> Future[Any]:
        future: Future[Any] = Future()
        self.maps.start(receiver, CALL, future)
        return future

    def delivered(self, task_id: int, start: int, stop: int, num_known: int = 0) -> bool:
        message = messages.RangeDelivered(
            task_id=TaskId(task_id), start=start, stop=stop, num_known=num_known
        )
        return self.open.take(Envelope(message, (b"results",)))


def raised(message: str) -> Failure:
    return Failure(kind=FailureKind.RAISED, message=message)


def test_a_segment_carries_its_frames_behind_the_arguments_of_the_call() -> None:
    bench, receiver = Bench(), Heard(is_tolerant=True)
    bench.started(receiver)
    assert receiver.link.submit([b"abc", b"d"], [3, 1]) == 1
    assert receiver.link.submit([b"e"], [1]) == 2
    first = bench.sent[0].message
    assert isinstance(first, messages.SubmitTask)
    assert (first.task_id, first.frame_sizes, first.is_tolerant) == (1, (3, 1), True)
    assert bench.sent[0].payload == (b"arguments", b"abc", b"d")


def test_results_go_to_the_map_of_their_segment() -> None:
    bench, one, other = Bench(), Heard(), Heard()
    bench.started(one)
    bench.started(other)
    one.link.submit([b"abc"], [3])
    other.link.submit([b"d"], [1])
    assert bench.delivered(2, 0, 1)
    assert bench.delivered(1, 0, 2)
    assert bench.delivered(1, 2, 3, num_known=1)
    assert one.heard == [(1, 0, 2, b"results", 0), (1, 2, 3, b"results", 1)]
    assert other.heard == [(2, 0, 1, b"results", 0)]


def test_the_variant_that_made_results_is_told_with_them() -> None:
    bench, receiver = Bench(), Heard()
    bench.started(receiver)
    receiver.link.submit([b"ab"], [2])
    message = messages.RangeDelivered(task_id=TaskId(1), start=0, stop=2, variant="small")
    assert bench.open.take(Envelope(message, (b"results",)))
    assert receiver.heard == [(1, 0, 2, b"results", 0, "small")]


def test_an_item_that_failed_is_told_with_the_users_exception() -> None:
    bench, receiver = Bench(), Heard(is_tolerant=True)
    bench.started(receiver)
    receiver.link.submit([b"ab"], [2])
    blob = dump_exception(KeyError("x"))
    assert blob is not None
    failed = messages.ItemFailed(task_id=TaskId(1), item=1, failure=raised("f raised"))
    assert bench.open.take(Envelope(failed, (blob,)))
    assert bench.delivered(1, 0, 1)
    assert receiver.heard == [(1, 1, "KeyError('x')"), (1, 0, 1, b"results", 0)]


def test_a_segment_that_failed_is_told_once_and_then_nothing_more() -> None:
    bench, receiver = Bench(), Heard()
    bench.started(receiver)
    receiver.link.submit([b"ab"], [2])
    failure = Failure(kind=FailureKind.SETUP_FAILED, message="no model")
    assert bench.open.take(Envelope(messages.TaskFailed(task_id=TaskId(1), failure=failure)))
    bench.delivered(1, 0, 2)
    assert receiver.heard == [(1, None, ContextSetupFailed)]


def test_a_cancelled_segment_is_told_to_the_interchange_and_heard_of_no_more() -> None:
    bench, receiver = Bench(), Heard()
    bench.started(receiver)
    receiver.link.submit([b"ab"], [2])
    receiver.link.cancel(TaskId(1))
    receiver.link.cancel(TaskId(1))
    bench.delivered(1, 0, 2)
    assert [e.message for e in bench.sent[1:]] == [messages.CancelTask(task_id=TaskId(1))]
    assert receiver.heard == []


def test_the_end_of_the_executor_is_told_to_every_open_map_once() -> None:
    bench, ended, going_on = Bench(), Heard(), Heard()
    future = bench.started(ended)
    ended.link.end("summary")
    bench.started(going_on)
    error = PCMError("over")
    bench.open.fail_all(error)
    bench.open.fail_all(error)
    assert (ended.heard, going_on.heard) == ([], [error])
    assert future.result(timeout=0) == "summary"


def test_the_first_end_of_a_map_counts() -> None:
    bench, receiver = Bench(), Heard()
    future = bench.started(receiver)
    receiver.link.fail(SystemExit(3))
    receiver.link.end("summary")
    assert isinstance(future.exception(timeout=0), PCMError)


def test_a_segment_that_cannot_be_sent_raises_and_is_forgotten() -> None:
    bench, receiver = Bench(), Heard()
    bench.started(receiver)
    bench.is_broken = True
    with pytest.raises(PCMError, match="gone"):
        receiver.link.submit([b"a"], [1])
    bench.delivered(1, 0, 1)
    receiver.link.cancel(TaskId(1))
    assert receiver.heard == []


def test_ordinary_calls_get_their_results_beside_maps() -> None:
    bench = Bench()
    future: Future[Any] = Future()
    bench.futures[TaskId(5)] = future
    message = messages.RangeDelivered(task_id=TaskId(5), start=0, stop=1)
    assert bench.open.take(Envelope(message, (dump_result(42),)))
    assert future.result(timeout=0) == 42
    assert bench.futures == {}


def test_other_messages_are_left_to_others() -> None:
    summary = messages.RunSummary(text="done")
    assert not Bench().open.take(Envelope(summary))
