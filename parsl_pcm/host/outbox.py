"""The thread that pickles and sends the results of mapped pieces while the next items run.

Nothing waits for a clock: what was yielded while the last message was on its way leaves as the next
one, so that slow items are sent one by one and quick ones by the thousand.
"""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

from parsl_pcm.host.inbox import Recall
from parsl_pcm.host.output import flush_output
from parsl_pcm.host.reports import Function, report_range
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.messages import PieceFailed, RunPiece

MAX_WAITING_BYTES = 64 << 20
"""Of pickled results, as estimated from those before; beyond it apps wait until some are sent."""
_ASSUMED_RESULT_BYTES = 1 << 16
"""Assumed of a result until some have been pickled: lets a thousand wait."""


class Delivery:
    """The results of one mapped piece on their way out, in order.

    Parameters
    ----------
    recall
        Made when nobody wants what is left of the piece from this host.

    Attributes
    ----------
    num_items
        How many results are expected in all.
    has_failed
        A result could not be pickled; all has been said then.
    """

    def __init__(self, outbox: Outbox, piece: RunPiece, function: Function, recall: Recall) -> None:
        self.piece = piece
        self.function = function
        self.num_items = piece.stop - piece.start
        self.has_failed = False
        self._outbox = outbox
        self._recall = recall
        self._position = piece.start
        self._results: list[Any] = []
        self._run_s = 0.0
        self._last_word: Envelope | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether to go on with the rest of the piece."""
        return not (self._recall.is_made or self.has_failed)

    @property
    def must_wait(self) -> bool:
        """Whether to call :meth:`wait_for_room` before producing more."""
        return self._outbox.is_full

    def put(self, results: list[Any], run_s: float) -> None:
        """Add the next results, which took the app so long; never blocks."""
        with self._outbox.lock:
            self._results += results
            self._run_s += run_s
            self._outbox.mark(self, len(results))

    def end(self, last_word: Envelope) -> None:
        """Say how the piece ended before its last result; nothing follows."""
        with self._outbox.lock:
            self._last_word = last_word
            self._outbox.mark(self, 0)

    def wait_for_room(self) -> None:
        """Wait while so much is unsent that more would fill the memory."""
        self._outbox.wait_for_room()

    def take(self) -> Parcel:
        """Return what was added since the last time; only for the outbox, under its lock."""
        parcel = Parcel(self, self._position, self._results, self._run_s, self._last_word)
        self._position += len(self._results)
        self._results = []
        self._run_s = 0.0
        return parcel


class Parcel(NamedTuple):
    """What one delivery has to say at one time."""

    delivery: Delivery
    start: int
    results: list[Any]
    run_s: float
    last_word: Envelope | None

    def reports(self) -> list[Envelope]:
        """Return the messages; marks the delivery as failed if a result cannot be pickled."""
        delivery = self.delivery
        if delivery.has_failed:
            return []
        reports: list[Envelope] = []
        if self.results:
            reports += report_range(
                delivery.piece, delivery.function, self.start, self.results, self.run_s
            )
            delivery.has_failed = isinstance(reports[-1].message, PieceFailed)
        if self.last_word is not None and not delivery.has_failed:
            reports.append(self.last_word)
        return reports


class Outbox:
    """Sends what deliveries were given, from a thread of its own.

    Parameters
    ----------
    send
        Sends messages as one batch; may block for as long as nobody reads.

    Attributes
    ----------
    lock
        Guards what waits here and in the deliveries.
    """

    def __init__(self, send: Callable[..., None]) -> None:
        self.lock = threading.Lock()
        self._send = send
        self._changed = threading.Condition(self.lock)
        self._waiting: dict[Delivery, None] = {}
        self._num_waiting = 0
        self._bytes_each: float = _ASSUMED_RESULT_BYTES
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="pcm-outbox", daemon=True)
        self._thread.start()

    @property
    def is_full(self) -> bool:
        """Whether apps must wait before they produce more."""
        return self._num_waiting * self._bytes_each > MAX_WAITING_BYTES

    def wait_for_room(self) -> None:
        """Wait until the outbox is not full."""
        with self.lock:
            self._changed.wait_for(lambda: not self.is_full)

    def mark(self, delivery: Delivery, num_results: int) -> None:
        """Note that a delivery has so many results more; the caller holds the lock."""
        if not self._waiting:
            self._changed.notify_all()
        self._waiting[delivery] = None
        self._num_waiting += num_results

    def close(self) -> None:
        """Send what is left, and end the thread."""
        with self.lock:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        try:
            while parcels := self._wait_for_parcels():
                self._dispatch(parcels)
        except BaseException:
            # The manager is gone, or this is our bug: results are lost, so end at once.
            traceback.print_exc()
            flush_output()
            os.killpg(0, signal.SIGKILL)
            raise

    def _wait_for_parcels(self) -> list[Parcel]:
        """Wait for something to send and take all of it; nothing: the outbox was closed."""
        with self.lock:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            parcels = [delivery.take() for delivery in self._waiting]
            self._waiting.clear()
            self._num_waiting = 0
            self._changed.notify_all()
        return parcels

    def _dispatch(self, parcels: list[Parcel]) -> None:
        reports = [report for parcel in parcels for report in parcel.reports()]
        num_results = sum(len(parcel.results) for parcel in parcels)
        if num_results:
            num_bytes = sum(len(frame) for report in reports for frame in report.payload)
            self._bytes_each = num_bytes / num_results
        parcels.clear()  # the results, once pickled, need not stay while the socket is full
        flush_output()
        self._send(*reports)
