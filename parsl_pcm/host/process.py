"""Build the context, run pieces until told to stop, clean up."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from parsl_pcm import pickling
from parsl_pcm.clock import monotonic_s
from parsl_pcm.host import last_words
from parsl_pcm.host.calls import FunctionCache, run_call
from parsl_pcm.host.connection import Connection
from parsl_pcm.host.inbox import Inbox
from parsl_pcm.host.mapped import run_mapped
from parsl_pcm.host.outbox import Delivery, Outbox
from parsl_pcm.host.output import flush_output
from parsl_pcm.host.reports import (
    Function,
    report_setup_failed,
    report_sleep_failed,
    report_unloadable,
)
from parsl_pcm.host.sleeping import Sleepers
from parsl_pcm.host.spare import import_early
from parsl_pcm.types import LeaseId
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.messages import (
    HostAsleep,
    HostAwake,
    HostReady,
    RunPiece,
    SleepHost,
    StartHost,
    WakeHost,
)

if TYPE_CHECKING:  # both cost 30 ms and more, and most hosts need neither
    from concurrent.futures import ThreadPoolExecutor

    from parsl_pcm.host.event_loop import EventLoopThread


class Host:
    """One live context and the pieces that run in it.

    With a ``max_concurrency`` of 1 user code runs on the main thread (CUDA and signal handlers
    want it), with more in a pool of threads that the end of :meth:`serve` joins. Coroutines run
    on one event loop, started at the first of them. The context is built, put to sleep, woken and
    cleaned up on the main thread.
    """

    def __init__(self, connection: Connection, *, started_s: float) -> None:
        self._connection = connection
        self._started_s = started_s
        self._inbox = Inbox(connection)
        self._functions = FunctionCache(self._inbox.blobs)
        self._sleepers: Sleepers | None = None
        self._max_concurrency = 1
        self._free_places = threading.Semaphore(1)
        self._pool: ThreadPoolExecutor | None = None
        self._event_loop: EventLoopThread | None = None
        self._outbox: Outbox | None = None
        self._threads_lock = threading.Lock()

    def serve(self) -> None:
        """Live: returns after StopHost and the clean-up, or after a set-up that failed."""
        start = self._wait_for_start()
        with contextlib.ExitStack() as clean_up:
            try:
                self._build(start, clean_up)
            except BaseException as error:  # noqa: BLE001 - goes to every waiting caller
                self._connection.send(report_setup_failed(start, error))
                return
            clean_up.callback(self._end_runners)
            self._start_runners(start.requirements.max_concurrency)
            setup_s = monotonic_s() - self._started_s
            self._connection.send(Envelope(HostReady(host_id=start.host_id, setup_s=setup_s)))
            self._follow_orders(start)
            self._wait_until_idle()
            if self._outbox is not None:
                self._outbox.close()

    def _wait_for_start(self) -> StartHost:
        """Wait for what to build; a spare process gets ready for it meanwhile."""
        order = self._inbox.wait_for_start()
        if isinstance(order, StartHost):
            return order
        import_early(order.imports)
        start = self._inbox.wait_for_start()
        assert isinstance(start, StartHost)
        self._started_s = monotonic_s()
        os.environ.update(start.env)  # any other process has been started with it
        return start

    def _build(self, start: StartHost, clean_up: contextlib.ExitStack) -> None:
        if start.recipes is None:
            return
        try:
            recipes = pickling.load_recipes(self._inbox.blobs.pop(start.recipes))
            live_of = clean_up.enter_context(recipes.open(start.variant))
            if start.requirements.can_sleep:
                named = [(recipe.name, live_of[recipe.key]) for recipe in recipes.recipes]
                self._sleepers = Sleepers(named)
        finally:
            flush_output()

    def _start_runners(self, max_concurrency: int) -> None:
        self._max_concurrency = max_concurrency
        self._free_places = threading.Semaphore(max_concurrency)
        if max_concurrency > 1:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(max_concurrency, "pcm-piece")

    def _follow_orders(self, start: StartHost) -> None:
        while (order := self._inbox.wait_for_order()) is not None:
            if isinstance(order, SleepHost):
                self._sleep(start)
            elif isinstance(order, WakeHost):
                self._wake(start)
            else:
                self._take_piece(order)

    def _sleep(self, start: StartHost) -> None:
        assert self._sleepers is not None
        self._wait_until_idle()
        started_s = monotonic_s()
        try:
            self._sleepers.sleep(self._wait_for)
        except BaseException as error:  # noqa: BLE001 - goes to the scheduler, which ends this host
            report = report_sleep_failed(start, error)
        else:
            asleep = HostAsleep(host_id=start.host_id, sleep_s=monotonic_s() - started_s)
            report = Envelope(asleep)
        flush_output()
        self._connection.send(report)

    def _wake(self, start: StartHost) -> None:
        assert self._sleepers is not None
        started_s = monotonic_s()
        try:
            self._sleepers.wake(self._wait_for)
        except BaseException as error:  # noqa: BLE001 - nothing works here any more
            last_words.end(error)
        flush_output()
        wake_s = monotonic_s() - started_s
        self._connection.send(Envelope(HostAwake(host_id=start.host_id, wake_s=wake_s)))

    def _wait_for(self, call: Coroutine[Any, Any, None]) -> None:
        self._start_event_loop().run(call)

    def _take_piece(self, lease_id: LeaseId) -> None:
        self._free_places.acquire()
        envelope = self._inbox.claim(lease_id)
        if envelope is None:
            self._free_places.release()
        else:
            self._begin(envelope)

    def _begin(self, envelope: Envelope) -> None:
        """Run a piece here, or have it run, in the place that was just taken for it."""
        piece = envelope.message
        assert isinstance(piece, RunPiece)
        try:
            function = self._functions.get(piece.function)  # here, so imports use the main thread
        except BaseException as error:  # noqa: BLE001 - goes to the caller
            self._inbox.forget(piece.lease_id)
            self._finish(report_unloadable(piece.lease_id, "the function of a call", error))
            return
        run = self._run if piece.frames_start is None else self._run_mapped
        if self._pool is None:
            run(piece, function, envelope.payload)
        else:
            self._pool.submit(run, piece, function, envelope.payload)

    def _run(self, piece: RunPiece, function: Function, payload: tuple[bytes, ...]) -> None:
        report = run_call(piece, function, payload[0])
        if isinstance(report, Envelope):
            self._finish(report)
            return
        self._start_event_loop().submit(report, self._finish)

    def _run_mapped(self, piece: RunPiece, function: Function, payload: tuple[bytes, ...]) -> None:
        recall = self._inbox.recall_of(piece.lease_id)
        delivery = Delivery(self._start_outbox(), piece, function, recall)
        rest = run_mapped(delivery, payload)
        if rest is None:
            self._finish_mapped(piece.lease_id)
            return
        self._start_event_loop().submit(rest, lambda _: self._finish_mapped(piece.lease_id))

    def _finish_mapped(self, lease_id: LeaseId) -> None:
        """Free the place of a piece; the outbox tells how it ended."""
        self._inbox.forget(lease_id)
        self._free_places.release()

    def _start_outbox(self) -> Outbox:
        with self._threads_lock:
            if self._outbox is None:
                self._outbox = Outbox(self._connection.send)
            return self._outbox

    def _start_event_loop(self) -> EventLoopThread:
        from parsl_pcm.host.event_loop import EventLoopThread

        with self._threads_lock:
            if self._event_loop is None:
                self._event_loop = EventLoopThread()
            return self._event_loop

    def _finish(self, report: Envelope) -> None:
        flush_output()
        self._free_places.release()
        self._connection.send(report)

    def _wait_until_idle(self) -> None:
        """Wait for what runs; only this thread begins anything."""
        for _ in range(self._max_concurrency):
            self._free_places.acquire()
        self._free_places.release(self._max_concurrency)

    def _end_runners(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
        if self._event_loop is not None:
            self._event_loop.stop()
