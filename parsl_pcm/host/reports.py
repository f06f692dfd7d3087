"""What a caller is told: results and failures as messages, with the usual cure."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

from parsl_pcm import pickling
from parsl_pcm.host.last_words import end_if_lost
from parsl_pcm.host.results import WrongResultsError
from parsl_pcm.host.tracebacks import describe, format_remote
from parsl_pcm.types import LeaseId
from parsl_pcm.wire.codec import Envelope
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

Function = Callable[..., Any]


def report_result(piece: RunPiece, function: Function, result: Any, run_s: float) -> Envelope:
    """Return the result of a call, or that it cannot be pickled."""
    try:
        payload = pickling.dump_result(result)
    except BaseException as error:  # noqa: BLE001 - goes to the caller
        returned = f"{name_of(function)} returned a {type(result).__qualname__}"
        return _report_unpicklable(piece.lease_id, returned, error)
    finished = PieceFinished(
        lease_id=piece.lease_id, start=piece.start, stop=piece.stop, run_s=run_s
    )
    return Envelope(finished, (payload,))


def report_range(
    piece: RunPiece, function: Function, start: int, results: list[Any], run_s: float
) -> list[Envelope]:
    """Return the results of the items from `start` on of a mapped piece.

    If some cannot be pickled, the results before the first of these are returned, then a failure.
    """
    try:
        return [_finished(piece, start, results, run_s)]
    except BaseException as error:  # noqa: BLE001 - goes to the caller
        together = error
    bad, why = _first_unpicklable(results) or (None, together)
    if bad is None:
        gave = f"{name_of(function)} gave a list of {len(results):,} results"
        return [_report_unpicklable(piece.lease_id, gave, why)]
    gave = (
        f"{name_of(function)} gave a {type(results[bad]).__qualname__} for item "
        f"{start - piece.start + bad + 1:,} of the {piece.stop - piece.start:,} that it was given"
    )
    failed = _report_unpicklable(piece.lease_id, gave, why)
    if bad == 0:
        return [failed]
    good_run_s = run_s * bad / len(results)
    return [*report_range(piece, function, start, results[:bad], good_run_s), failed]


def report_wrong_results(
    lease_id: LeaseId, function: Function, error: WrongResultsError
) -> Envelope:
    """Return that a mapped app did not give one result for each item."""
    message = (
        f"{name_of(function)} {error}; an app that is mapped must return a list with one result "
        "for each item it was given, in their order, or yield these one by one"
    )
    if error.is_misaligned:
        message += ". The results that it had yielded before may be those of other items"
    failure = Failure(kind=FailureKind.WRONG_RESULTS, message=message)
    failed = PieceFailed(lease_id=lease_id, failure=failure, is_misaligned=error.is_misaligned)
    return Envelope(failed)


def report_raised(lease_id: LeaseId, function: Function, error: BaseException) -> Envelope:
    """Return what the user's function raised; the process ends if that means a dead context."""
    end_if_lost(error)
    payload = pickling.dump_exception(error)
    return _piece_failed(lease_id, f"{name_of(function)} raised {describe(error)}", error, payload)


def report_unloadable(lease_id: LeaseId, what: str, error: BaseException) -> Envelope:
    """Return that a function, or the arguments of a call, cannot be loaded here."""
    if isinstance(error, ImportError):
        cure = "install it in the environment that worker_init sets up on the nodes"
    elif isinstance(error, MemoryError):
        cure = "send a path or fewer items at once, or declare host_memory on the context"
    else:
        cure = "check that node and caller have the same versions of the packages it uses"
    message = f"cannot load {what} on node {platform.node()}: {describe(error)}; {cure}"
    return _piece_failed(lease_id, message, error)


def report_setup_failed(start: StartHost, error: BaseException) -> Envelope:
    """Return why the context could not be built."""
    message = (
        f"the set-up of context {start.name!r} failed on node {platform.node()}: "
        f"{describe(error)}; {_cure_of_setup(error)}"
    )
    failure = Failure(
        kind=FailureKind.SETUP_FAILED, message=message, remote_traceback=format_remote(error)
    )
    return Envelope(SetupFailed(host_id=start.host_id, failure=failure))


def report_sleep_failed(start: StartHost, error: BaseException) -> Envelope:
    """Return why the context could not be put to sleep."""
    message = (
        f"context {start.name!r} could not be put to sleep on node {platform.node()}: "
        f"{describe(error)}; its hosts are ended and built anew from now on: mend its sleep(), or "
        "declare it without can_sleep"
    )
    failure = Failure(
        kind=FailureKind.RAISED, message=message, remote_traceback=format_remote(error)
    )
    return Envelope(SleepFailed(host_id=start.host_id, failure=failure))


def name_of(function: Function) -> str:
    """Return the name under which its author knows a function."""
    return str(getattr(function, "__qualname__", None) or repr(function))


def _cure_of_setup(error: BaseException) -> str:
    if isinstance(error, ImportError):
        return "install it in the environment that worker_init sets up on the nodes"
    if isinstance(error, FileNotFoundError):
        return "the path must exist on the nodes, not only where the script runs"
    if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__:
        return "declare more with @context(gpu_memory=..., host_memory=...) or load less"
    return "try it alone on such a node: `with recipe.open() as live: ...`"


def _finished(piece: RunPiece, start: int, results: list[Any], run_s: float) -> Envelope:
    finished = PieceFinished(
        lease_id=piece.lease_id, start=start, stop=start + len(results), run_s=run_s
    )
    return Envelope(finished, (pickling.dump_result(results),))


def _first_unpicklable(results: list[Any]) -> tuple[int, BaseException] | None:
    for position, result in enumerate(results):
        try:
            pickling.dump_result(result)
        except BaseException as error:  # noqa: BLE001 - goes to the caller
            return position, error
    return None


def _report_unpicklable(lease_id: LeaseId, returned: str, error: BaseException) -> Envelope:
    if isinstance(error, MemoryError):
        problem = "for whose pickle the node has not enough memory"
    else:
        problem = f"which cannot be pickled ({describe(error)})"
    message = (
        f"{returned}, {problem}; return plain data (text, numbers, lists, arrays), or write it to "
        "a file and return the path"
    )
    return _piece_failed(lease_id, message, error)


def _piece_failed(
    lease_id: LeaseId,
    message: str,
    error: BaseException | None = None,
    exception: bytes | None = None,
) -> Envelope:
    remote_traceback = "" if error is None else format_remote(error)
    failure = Failure(kind=FailureKind.RAISED, message=message, remote_traceback=remote_traceback)
    payload = () if exception is None else (exception,)
    return Envelope(PieceFailed(lease_id=lease_id, failure=failure), payload)
