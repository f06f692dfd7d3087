from __future__ import annotations

import threading

import pytest

from parsl_pcm import context
from parsl_pcm.errors import NotPicklable
from parsl_pcm.submission import NO_CONTEXT, Submission
from parsl_pcm.types import TaskId
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.messages import DeclareContext, StoreBlob, SubmitTask


@context
def small(size: int = 1) -> int:
    return size


@context(gpus=1)
def large() -> int:
    return 2


def use(item: int, model: int = small) -> int:  # type: ignore[assignment]
    return item + model


def plain(item: int) -> int:
    return item


def kinds(envelopes: list[Envelope]) -> list[type]:
    return [type(envelope.message) for envelope in envelopes]


def declared_by(envelopes: list[Envelope]) -> DeclareContext:
    (message,) = (e.message for e in envelopes if isinstance(e.message, DeclareContext))
    return message


def test_function_and_context_travel_once() -> None:
    submission = Submission(default_cores=1.0)
    first = submission.prepare(TaskId(1), use, {}, (1,), {})
    second = submission.prepare(TaskId(2), use, {}, (2,), {})
    assert kinds(first) == [StoreBlob, DeclareContext, StoreBlob, SubmitTask]
    assert kinds(second) == [SubmitTask]


def test_call_without_context_goes_to_the_hosts_without_one() -> None:
    envelopes = Submission(default_cores=0.5).prepare(TaskId(1), plain, {}, (1,), {})
    declaration = declared_by(envelopes)
    assert (declaration.context_key, declaration.recipes) == (NO_CONTEXT, None)
    assert declaration.requirements.cores == 0.5


def test_another_recipe_is_another_context_of_the_same_function() -> None:
    submission = Submission(default_cores=1.0)
    first = declared_by(submission.prepare(TaskId(1), use, {}, (1,), {}))
    second = declared_by(submission.prepare(TaskId(2), use, {}, (1,), {"model": small(5)}))
    assert first.context_key != second.context_key
    assert first.context_key == small.key


def test_cores_of_a_gpu_context_are_not_counted_unless_it_asks_for_some() -> None:
    submission = Submission(default_cores=2.0)
    on_gpu = declared_by(submission.prepare(TaskId(1), use, {}, (1, large), {}))
    asking = large.options(cores=4)
    with_cores = declared_by(submission.prepare(TaskId(2), use, {}, (1, asking), {}))
    on_cpu = declared_by(submission.prepare(TaskId(3), use, {}, (1,), {}))
    cores = [each.requirements.cores for each in (on_gpu, with_cores, on_cpu)]
    assert cores == [0.0, 4, 2.0]


@pytest.mark.parametrize("what", ["function", "argument"])
def test_what_cannot_travel_is_named_and_nothing_is_marked_as_sent(what: str) -> None:
    lock = threading.Lock()

    def locked(item: object) -> object:
        return lock, item

    submission = Submission(default_cores=1.0)
    function, argument = (locked, 1) if what == "function" else (plain, lock)
    with pytest.raises(NotPicklable, match=r"(?s)locked|plain.*cannot be sent.*@context"):
        submission.prepare(TaskId(1), function, {}, (argument,), {})
    again = submission.prepare(TaskId(2), plain, {}, (1,), {})
    assert kinds(again) == [DeclareContext, StoreBlob, SubmitTask]
