"""One piece of a map: the user's function called with a list of items, its results handed over.

As in :mod:`~parsl_pcm.host.calls`, whatever the function does is caught here and told to the
caller.
"""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator, Coroutine, Iterator
from types import CoroutineType
from typing import Any

from parsl_pcm import pickling
from parsl_pcm.clock import monotonic_s
from parsl_pcm.host.outbox import Delivery
from parsl_pcm.host.reports import name_of, report_raised, report_unloadable, report_wrong_results
from parsl_pcm.host.results import WrongResultsError, results_of, wrong_number
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.messages import PieceRevoked, RunPiece


def run_mapped(delivery: Delivery, payload: tuple[bytes, ...]) -> Coroutine[Any, Any, None] | None:
    """Call the function with the items of its piece.

    Parameters
    ----------
    delivery
        Gets the results, or why there are none.
    payload
        The arguments, then the frames of items.

    Returns
    -------
    coroutine or None
        Of an ``async def`` function: what is left to do; it raises nothing.
    """
    try:
        args, kwargs = pickling.load_arguments(payload[0])
        items = load_range(delivery.piece, payload[1:])
    except BaseException as error:  # noqa: BLE001 - goes to the caller
        what = f"the items of a call of {name_of(delivery.function)}"
        delivery.end(report_unloadable(delivery.piece.lease_id, what, error))
        return None
    started_s = monotonic_s()
    try:
        returned = delivery.function(items, *args, **kwargs)
    except BaseException as error:  # noqa: BLE001 - goes to the caller
        _fail(delivery, error)
        return None
    if isinstance(returned, CoroutineType):
        return _await_list(delivery, returned)
    if isinstance(returned, AsyncIterator):
        return _iterate_async(delivery, returned)
    if isinstance(returned, Iterator):
        _iterate(delivery, returned, started_s)
    elif _put_list(delivery, returned, monotonic_s() - started_s):
        delivery.wait_for_room()
    return None


def load_range(piece: RunPiece, frames: tuple[bytes, ...]) -> list[Any]:
    """Return the items of a piece out of the frames that hold them and their neighbours."""
    assert piece.frames_start is not None
    items = [item for frame in frames for item in pickling.load_items(frame)]
    return items[piece.start - piece.frames_start : piece.stop - piece.frames_start]


async def _await_list(delivery: Delivery, coroutine: CoroutineType[Any, Any, Any]) -> None:
    started_s = monotonic_s()
    try:
        returned = await coroutine
    except BaseException as error:  # noqa: BLE001 - goes to the caller
        _fail(delivery, error)
        return
    if _put_list(delivery, returned, monotonic_s() - started_s):
        await _wait_for_room(delivery)


def _put_list(delivery: Delivery, returned: Any, run_s: float) -> bool:
    try:
        results = results_of(returned, delivery.num_items)
    except BaseException as error:  # noqa: BLE001 - goes to the caller
        _fail(delivery, error)
        return False
    delivery.put(results, run_s)
    return True


class _Yields:
    """Counts and times the results of an app that yields them.

    The last one is held back until the app has ended: one result too many is still told then.
    """

    def __init__(self, delivery: Delivery, started_s: float) -> None:
        self._delivery = delivery
        self._resumed_s = started_s
        self._num_results = 0
        self._last: Any = None
        self._last_run_s = 0.0

    def take(self, result: Any) -> bool:
        """Take a result; return whether the app shall go on."""
        now_s = monotonic_s()
        run_s = now_s - self._resumed_s
        self._resumed_s = now_s
        self._num_results += 1
        delivery = self._delivery
        if self._num_results >= delivery.num_items:
            self._hold(result, run_s)
            return True
        delivery.put([result], run_s)
        return delivery.is_wanted

    def _hold(self, result: Any, run_s: float) -> None:
        num_items = self._delivery.num_items
        if self._num_results > num_items:
            raise self._wrong_number("yielded more than", num_items)
        self._last = result
        self._last_run_s = run_s

    def resume(self) -> None:
        """Go on after a wait."""
        self._resumed_s = monotonic_s()

    def end(self) -> None:
        """Take the end of the app."""
        if self._num_results < self._delivery.num_items:
            raise self._wrong_number("yielded", self._num_results)
        closing_s = monotonic_s() - self._resumed_s
        self._delivery.put([self._last], self._last_run_s + closing_s)

    def _wrong_number(self, verb: str, num_results: int) -> WrongResultsError:
        num_items = self._delivery.num_items
        was_put = num_results > 0 and num_items > 1  # all but the last one
        return wrong_number(verb, num_results, num_items, is_misaligned=was_put)


def _iterate(delivery: Delivery, results: Iterator[Any], started_s: float) -> None:
    yields = _Yields(delivery, started_s)
    try:
        for result in results:
            if not yields.take(result):
                delivery.end(_revoked(delivery))
                break
            if delivery.must_wait:
                delivery.wait_for_room()
                yields.resume()
        else:
            yields.end()
    except BaseException as error:  # noqa: BLE001 - goes to the caller
        _fail(delivery, error)
    try:
        getattr(results, "close", _nothing)()
    except BaseException:  # noqa: BLE001 - all has been told
        traceback.print_exc()


async def _iterate_async(delivery: Delivery, results: AsyncIterator[Any]) -> None:
    yields = _Yields(delivery, monotonic_s())
    try:
        async for result in results:
            if not yields.take(result):
                delivery.end(_revoked(delivery))
                break
            if delivery.must_wait:
                await _wait_for_room(delivery)
                yields.resume()
        else:
            yields.end()
    except BaseException as error:  # noqa: BLE001 - goes to the caller
        _fail(delivery, error)
    try:
        await getattr(results, "aclose", _nothing_async)()
    except BaseException:  # noqa: BLE001 - all has been told
        traceback.print_exc()


def _nothing() -> None: ...


async def _nothing_async() -> None: ...


async def _wait_for_room(delivery: Delivery) -> None:
    """Wait in another thread: the event loop has an engine to keep going."""
    import asyncio  # here it has been imported; most hosts do without

    if delivery.must_wait:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, delivery.wait_for_room)


def _revoked(delivery: Delivery) -> Envelope:
    return Envelope(PieceRevoked(lease_id=delivery.piece.lease_id))


def _fail(delivery: Delivery, error: BaseException) -> None:
    lease_id = delivery.piece.lease_id
    if isinstance(error, WrongResultsError):
        delivery.end(report_wrong_results(lease_id, delivery.function, error))
    else:
        delivery.end(report_raised(lease_id, delivery.function, error))
