"""What goes into the future of a task."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from parsl_pcm.errors import error_from_failure, error_to_store
from parsl_pcm.pickling import load_exception
from parsl_pcm.wire.messages import Failure


def settle(future: Future[Any], outcome: Callable[..., Any], *args: Any) -> None:
    """Put what a function returns or raises into a future, unless that was cancelled."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = outcome(*args)
    except BaseException as error:  # noqa: BLE001 - the future receives it
        future.set_exception(error_to_store(error))
    else:
        future.set_result(result)


def exception_of(failure: Failure, payload: tuple[bytes, ...]) -> BaseException:
    """Return the user's own exception where there is one, else what we have to say.

    What unpickling it raises, if it cannot be unpickled here.
    """
    if not payload:
        return error_from_failure(failure)
    try:
        return load_exception(payload[0], failure.remote_traceback)
    except Exception as error:  # noqa: BLE001 - goes to the caller in its place
        return error


def raise_failure(failure: Failure, payload: tuple[bytes, ...]) -> None:
    """Raise the exception of a failure."""
    raise exception_of(failure, payload)


def raise_given(exception: BaseException) -> None:
    """Raise an exception."""
    raise exception
