from __future__ import annotations

import threading
from typing import Any

import pytest

from parsl_pcm import context
from parsl_pcm.errors import NotPicklable
from parsl_pcm.pickling import load_arguments
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


def prepared(
    submission: Submission, function: Any, args: Any = (1,), **kwargs: Any
) -> list[Envelope]:
    return submission.prepare(function, {}, args, kwargs).numbered(TaskId(1))


def test_function_and_context_travel_once() -> None:
    submission = Submission(default_cores=1.0)
    first = prepared(submission, use, (1,))
    second = prepared(submission, use, (2,))
    assert kinds(first) == [StoreBlob, DeclareContext, StoreBlob, SubmitTask]
    assert kinds(second) == [SubmitTask]


def test_call_without_context_goes_to_the_hosts_without_one() -> None:
    envelopes = prepared(Submission(default_cores=0.5), plain)
    declaration = declared_by(envelopes)
    assert (declaration.context_key, declaration.recipes) == (NO_CONTEXT, None)
    assert declaration.requirements.cores == 0.5


def test_another_recipe_is_another_context_of_the_same_function() -> None:
    submission = Submission(default_cores=1.0)
    first = declared_by(prepared(submission, use, (1,)))
    second = declared_by(prepared(submission, use, model=small(5)))
    assert first.context_key != second.context_key
    assert first.context_key == small.key


def test_cores_of_a_gpu_context_are_not_counted_unless_it_asks_for_some() -> None:
    submission = Submission(default_cores=2.0)
    on_gpu = declared_by(prepared(submission, use, (1, large)))
    asking = large.options(cores=4)
    with_cores = declared_by(prepared(submission, use, (1, asking)))
    on_cpu = declared_by(prepared(submission, use, (1,)))
    cores = [each.requirements.cores for each in (on_gpu, with_cores, on_cpu)]
    assert cores == [0.0, 4, 2.0]


def test_every_way_to_build_a_context_is_declared_with_its_own_needs() -> None:
    submission = Submission(default_cores=2.0)
    both = large.options(env={"A": "1"}).variant(small(3), cores=8).variant(small)
    declaration = declared_by(prepared(submission, use, (1, both)))
    assert declaration.context_key == both.key
    assert (declaration.name, declaration.requirements.cores) == ("large", 0.0)
    assert [(each.name, each.requirements.cores) for each in declaration.variants] == [
        ("small", 8.0),
        ("small-2", 2.0),
    ]
    assert (declaration.env, declaration.variants[0].env) == ({"A": "1"}, {})


@pytest.mark.parametrize("what", ["function", "argument"])
def test_what_cannot_travel_is_named_and_nothing_is_marked_as_sent(what: str) -> None:
    lock = threading.Lock()

    def locked(item: object) -> object:
        return lock, item

    submission = Submission(default_cores=1.0)
    function, argument = (locked, 1) if what == "function" else (plain, lock)
    with pytest.raises(NotPicklable, match=r"(?s)locked|plain.*cannot be sent.*@context"):
        prepared(submission, function, (argument,))
    again = prepared(submission, plain, (1,))
    assert kinds(again) == [DeclareContext, StoreBlob, SubmitTask]


def test_items_of_a_map_stay_out_of_its_arguments() -> None:
    items = threading.Lock()  # which cannot travel
    call = Submission(default_cores=1.0).prepare(plain, {}, (items, 7), {"a": 1}, num_left_out=1)
    assert load_arguments(call.submit.payload[0]) == ((7,), {"a": 1})
