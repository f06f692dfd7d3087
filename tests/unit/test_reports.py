"""What callers are told about calls and set-ups in a host."""

from __future__ import annotations

from typing import Any, NoReturn

import msgspec
import pytest

from parsl_pcm import pickling
from parsl_pcm.host.reports import (
    report_raised,
    report_range,
    report_result,
    report_setup_failed,
    report_sleep_failed,
    report_unloadable,
    report_wrong_results,
)
from parsl_pcm.host.results import WrongResultsError
from parsl_pcm.types import ContextKey, Digest, HostId, LeaseId, Requirements, TaskId
from parsl_pcm.wire.messages import (
    Failure,
    FailureKind,
    PieceFailed,
    PieceFinished,
    RunPiece,
    SetupFailed,
    SleepFailed,
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


def test_range_holds_the_results_from_its_start_on() -> None:
    (report,) = report_range(PIECE, verify, 5, ["a"], 0.5)
    assert report.message == PieceFinished(lease_id=LeaseId(2), start=5, stop=6, run_s=0.5)
    assert pickling.load_result(report.payload[0]) == ["a"]


def test_first_result_that_cannot_travel_is_found() -> None:
    piece = msgspec.structs.replace(PIECE, stop=24)
    good, bad = report_range(piece, verify, 14, ["a", TooLarge(), "b", TooLarge()], 1.0)
    assert good.message == PieceFinished(lease_id=LeaseId(2), start=14, stop=15, run_s=0.25)
    assert pickling.load_result(good.payload[0]) == ["a"]
    words = "verify gave a TooLarge for item 12 of the 20 that it was given, for whose pickle"
    assert words in failed_message(bad.message)
    assert bad.payload == ()


def test_results_that_cannot_travel_together_are_told() -> None:
    num_loads = 0

    class Picky:
        """Can be pickled once, and then no more."""

        def __reduce__(self) -> Any:
            nonlocal num_loads
            num_loads += 1
            if num_loads == 2:
                raise MemoryError
            return int, ()

    (report,) = report_range(PIECE, verify, 4, [Picky(), Picky()], 1.0)
    assert "verify gave a list of 2 results, for whose pickle" in failed_message(report.message)


def test_wrong_results_are_told_with_the_cure() -> None:
    error = WrongResultsError("returned 3 results for 4 items")
    message, payload = report_wrong_results(LeaseId(2), verify, error)
    assert message == PieceFailed(
        lease_id=LeaseId(2),
        failure=Failure(
            kind=FailureKind.WRONG_RESULTS,
            message="verify returned 3 results for 4 items; an app that is mapped must return a "
            "list with one result for each item it was given, in their order, or yield these one "
            "by one",
        ),
    )
    assert payload == ()


def test_results_that_may_be_those_of_other_items_are_told() -> None:
    error = WrongResultsError("yielded 3 results for 4 items", is_misaligned=True)
    message = report_wrong_results(LeaseId(2), verify, error).message
    assert isinstance(message, PieceFailed)
    assert message.is_misaligned
    assert "before may be those of other items" in message.failure.message


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


def test_failed_sleep_is_told_with_the_cure() -> None:
    message, payload = report_sleep_failed(START, OSError("stuck"))
    assert isinstance(message, SleepFailed)
    assert message.host_id == START.host_id
    assert "'llm' could not be put to sleep" in message.failure.message
    assert "OSError: stuck" in message.failure.message
    assert "without can_sleep" in message.failure.message
    assert "OSError: stuck" in message.failure.remote_traceback
    assert payload == ()
