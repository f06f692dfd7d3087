"""What callers are told about calls and set-ups in a host."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest

from parsl_pcm import pickling
from parsl_pcm.host.reports import (
    report_raised,
    report_result,
    report_setup_failed,
    report_unloadable,
)
from parsl_pcm.types import ContextKey, Digest, HostId, LeaseId, Requirements, TaskId
from parsl_pcm.wire.messages import (
    FailureKind,
    PieceFailed,
    PieceFinished,
    RunPiece,
    SetupFailed,
    StartHost,
)

PIECE = RunPiece(
    host_id=HostId(1),
    lease_id=LeaseId(2),
    task_id=TaskId(3),
    start=4,
    stop=6,
    function=Digest("d"),
)
START = StartHost(
    host_id=HostId(1),
    context_key=ContextKey("k"),
    name="llm",
    requirements=Requirements(),
    device_ids=(),
    recipes=None,
    env={},
)


def verify() -> None: ...


class OutOfMemoryError(RuntimeError):
    """As torch calls it."""


class TooLarge:
    def __reduce__(self) -> NoReturn:
        raise MemoryError


def failed_message(message: object) -> str:
    assert isinstance(message, PieceFailed)
    assert message.failure.kind is FailureKind.RAISED
    return message.failure.message


def test_result_covers_the_range_of_its_piece() -> None:
    message, payload = report_result(PIECE, verify, {"a": 1}, 0.5)
    assert message == PieceFinished(lease_id=LeaseId(2), start=4, stop=6, run_s=0.5)
    assert pickling.load_result(payload[0]) == {"a": 1}


def test_exception_that_cannot_travel_is_told_in_words() -> None:
    class StuckError(Exception):
        def __reduce__(self) -> NoReturn:
            raise TypeError("no")

    message, payload = report_raised(LeaseId(2), verify, StuckError("sad"))
    assert failed_message(message) == "verify raised StuckError: sad"
    assert payload == ()


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ((i for i in ()), "returned a generator, which cannot be pickled"),
        (TooLarge(), "returned a TooLarge, for whose pickle the node has not enough memory"),
    ],
)
def test_result_that_cannot_travel_is_told_with_the_cure(result: Any, words: str) -> None:
    message, payload = report_result(PIECE, verify, result, 0.5)
    assert words in failed_message(message)
    assert "return plain data" in failed_message(message)
    assert payload == ()


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (ModuleNotFoundError("No module named 'vllm'"), "worker_init"),
        (MemoryError(), "host_memory"),
        (AttributeError("gone"), "same versions"),
    ],
)
def test_call_that_cannot_be_loaded_is_told_with_the_cure(error: Exception, cure: str) -> None:
    message, _ = report_unloadable(LeaseId(2), "the function of a call", error)
    assert "cannot load the function of a call on node" in failed_message(message)
    assert cure in failed_message(message)


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (ModuleNotFoundError("No module named 'vllm'"), "worker_init"),
        (FileNotFoundError("/models/x"), "must exist on the nodes"),
        (OutOfMemoryError("CUDA"), "gpu_memory"),
        (MemoryError(), "host_memory"),
        (ValueError("x"), "recipe.open()"),
    ],
)
def test_failed_setup_is_told_with_the_cure(error: Exception, cure: str) -> None:
    message, payload = report_setup_failed(START, error)
    assert isinstance(message, SetupFailed)
    assert message.failure.kind is FailureKind.SETUP_FAILED
    assert "'llm'" in message.failure.message
    assert cure in message.failure.message
    assert payload == ()
