"""One call of a user's function, from the bytes that came in to the message that goes out.

Whatever the function, its arguments or its result do, the host goes on: everything is caught here,
`SystemExit` and `KeyboardInterrupt` included, and told to the caller.
"""

from __future__ import annotations

from collections.abc import Coroutine
from types import CoroutineType
from typing import Any

from parsl_pcm import pickling
from parsl_pcm.clock import monotonic_s
from parsl_pcm.host.reports import (
    Function,
    name_of,
    report_raised,
    report_result,
    report_unloadable,
)
from parsl_pcm.types import Digest
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.messages import RunPiece


class FunctionCache:
    """User functions by content, each loaded once; its blob is dropped then."""

    def __init__(self, blobs: dict[Digest, bytes]) -> None:
        self._blobs = blobs
        self._functions: dict[Digest, Function] = {}

    def get(self, digest: Digest) -> Function:
        """Return the function; raises whatever importing what it needs raises."""
        function = self._functions.get(digest)
        if function is None:
            function = self._functions[digest] = pickling.load_function(self._blobs[digest])
            del self._blobs[digest]
        return function


def run_call(
    piece: RunPiece, function: Function, arguments: bytes
) -> Envelope | Coroutine[Any, Any, Envelope]:
    """Call the function with its pickled arguments.

    Returns
    -------
    Envelope or coroutine
        The report of how it ended. Of an ``async def`` function: a coroutine that returns the
        report and raises nothing.
    """
    try:
        args, kwargs = pickling.load_arguments(arguments)
    except BaseException as error:  # noqa: BLE001 - goes to the caller
        what = f"the arguments of a call of {name_of(function)}"
        return report_unloadable(piece.lease_id, what, error)
    started_s = monotonic_s()
    try:
        result = function(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 - goes to the caller
        return report_raised(piece.lease_id, function, error)
    if isinstance(result, CoroutineType):
        return _await_call(piece, function, result)
    return report_result(piece, function, result, monotonic_s() - started_s)


async def _await_call(
    piece: RunPiece, function: Function, coroutine: CoroutineType[Any, Any, Any]
) -> Envelope:
    started_s = monotonic_s()
    try:
        result = await coroutine
    except BaseException as error:  # noqa: BLE001 - goes to the caller
        return report_raised(piece.lease_id, function, error)
    return report_result(piece, function, result, monotonic_s() - started_s)
