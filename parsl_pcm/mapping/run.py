"""A running map, as its user has it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from itertools import chain
from types import TracebackType
from typing import Any

from parsl_pcm.clock import monotonic_s
from parsl_pcm.errors import PCMError, WrongResults
from parsl_pcm.mapping.bar import ProgressBar
from parsl_pcm.mapping.chunks import Chunk, Results
from parsl_pcm.mapping.errors_of_items import blamed, item_error
from parsl_pcm.mapping.feed import Earlier, Feed
from parsl_pcm.mapping.keys import Key, Keys
from parsl_pcm.mapping.link import MapLink, MapReceiver
from parsl_pcm.mapping.report import MapProgress, MapSummary, name_of, remaining_s
from parsl_pcm.mapping.sources import Source
from parsl_pcm.mapping.state import MapState
from parsl_pcm.mapping.taking import Taking
from parsl_pcm.mapping.writer import Output, Writer
from parsl_pcm.types import TaskId

TICK_S = 0.05
"""A slow source's items wait so long at most; half as often, the progress bar moves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapPlan:
    """What a map does.

    Attributes
    ----------
    app
        Its name.
    earlier
        What earlier runs have done; None: it begins with the first item.
    output
        Where results are written; None: nowhere.
    sink
        What people call it, if they are not in memory; None: they are.
    is_ordered
        Whether results are taken in the order of the items.
    is_tolerant
        Whether an item's error is its result, and not the end of the map.
    has_bar
        Whether a progress bar is shown.
    """

    app: str
    source: Source
    keys: Keys
    earlier: Earlier | None
    output: Output | None
    sink: str | None
    is_ordered: bool
    is_tolerant: bool
    has_bar: bool


class MapRun(MapReceiver):
    """A map under way: iterate over it, once, or ask for its :meth:`result`.

    Iterating gives the results in the order of the items, or as they are completed. Results wait in
    memory until they are taken; when they are too many, the map stands still. So take them, or
    give a ``sink=``, or :meth:`cancel`; leaving a ``with`` block cancels what has not ended.

    Attributes
    ----------
    future
        Parsl's future of the map; its result is a :class:`~parsl_pcm.mapping.report.MapSummary`.
    """

    future: Future[Any]

    def __init__(self, plan: MapPlan, state: MapState) -> None:
        self._plan = plan
        self._state = state
        self._started_s = monotonic_s()
        self._link: MapLink | None = None
        self._bar: ProgressBar | None = None
        self._summary: MapSummary | None = None
        self._ended = threading.Event()
        self._guard = threading.Lock()
        self._taking = Taking(state, self._load, on_error=self.fail, is_ordered=plan.is_ordered)
        self._feed = Feed(
            plan.source,
            plan.keys,
            plan.earlier,
            state,
            is_tolerant=plan.is_tolerant,
            on_change=self._after_change,
        )
        if plan.output is not None:
            Writer(plan.output, state, load=self._load, on_change=self._after_change).start()

    # --- what the user does -------------------------------------------------------------------

    def __iter__(self) -> Iterator[Any]:
        """Yield the results."""
        return chain.from_iterable(results.values for results in self._taken_results())

    def pairs(self) -> Iterator[tuple[Key, Any]]:
        """Yield keys with results; the key of an item is its index if ``key=`` was not given."""
        return chain.from_iterable(
            zip(self._keys_of(results), results.values, strict=True)
            for results in self._taken_results()
        )

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the end, and return the results as a list in the order of the items.

        With a sink, return a :class:`~parsl_pcm.mapping.report.MapSummary` instead.

        Parameters
        ----------
        timeout
            Seconds; None: without end.

        Raises
        ------
        TimeoutError
            If the map has not ended by then; it goes on, and may be asked again.
        CancelledError
            If it was cancelled.
        Exception
            What it failed with.
        """
        if self._plan.sink is None:
            return self._taking.result(timeout)
        if not self._ended.wait(timeout):
            raise FutureTimeoutError(f"{self!r} has not ended in time")
        if self._state.error is not None:
            raise self._state.error
        return self._summary

    def progress(self) -> MapProgress:
        """Return how far it is."""
        state, now = self._state, monotonic_s()
        num_total = self._plan.source.num_items
        num_known = state.num_done + state.num_skipped
        rate = state.pace.items_per_s(state.num_done, now=now)
        if state.is_over and state.error is None:
            num_total = num_known
        num_left = None if num_total is None else max(num_total - num_known, 0)
        return MapProgress(
            num_total=num_total,
            num_fed=state.num_fed,
            num_done=state.num_done,
            num_errors=state.num_errors,
            num_skipped=state.num_skipped,
            items_per_s=rate,
            eta_s=remaining_s(num_left, rate),
            waiting_for=self._waiting_for(),
        )

    def variants(self) -> dict[str, int]:
        """Return how many items each variant of the context has done in this run so far.

        Empty if the context has no variants. Items in which the app raised are not counted.
        """
        with self._state.changed:
            return dict(self._state.num_by_variant)

    def cancel(self) -> bool:
        """Give up what has no result yet; False if the map had ended.

        What runs is finished and thrown away. What a sink has been given stays in it.
        """
        if self.done():
            return False
        self._state.fail(CancelledError("the map was cancelled"))
        self._state.forget_results()
        self._after_change()
        return True

    def done(self) -> bool:
        """Whether it has ended, well or not: nothing more is run or written."""
        return self._ended.is_set()

    def __enter__(self) -> MapRun:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cancel()

    def __repr__(self) -> str:
        state = self._state
        outcome = "running"
        if self.done():
            outcome = "done" if state.error is None else f"failed: {state.error!r}"
        total = self._plan.source.num_items
        of = "" if total is None else f" of {total}"
        errors = f", {state.num_errors} errors" if state.num_errors else ""
        num_known = state.num_done + state.num_skipped
        return f"<MapRun of {self._plan.app!r}: {num_known}{of} items done{errors}; {outcome}>"

    # --- what the executor tells --------------------------------------------------------------

    @property
    def is_tolerant(self) -> bool:
        """Whether the other items go on when one is bad: also for those before it, in order."""
        return self._plan.is_tolerant or self._ends_at_item

    def start(self, link: MapLink) -> None:
        """Begin. Parsl starts a failed map again if it is to retry: then it fails again."""
        with self._guard:
            is_first = self._link is None and self._state.error is None
            if is_first:
                self._link = link
        if not is_first:
            link.fail(self._state.error or PCMError("a map cannot be started a second time"))
            return
        if self._plan.has_bar:
            self._bar = ProgressBar(self._plan.app, self._plan.source.num_items)
        self._feed.start(link)
        threading.Thread(target=self._tick, name="pcm-map-ticks", daemon=True).start()

    def on_range(
        self, task_id: TaskId, start: int, stop: int, frame: bytes, *, skip: int, variant: str
    ) -> None:
        """Take results."""
        self._state.take_range(task_id, start, stop, frame, skip=skip, variant=variant)
        self._after_change()

    def on_item_failed(self, task_id: TaskId, item: int, error: BaseException) -> None:
        """Take the error of an item: its result, or the end of the map."""
        if self._plan.is_tolerant:
            self._state.take_error(
                task_id, item, lambda index, key: item_error(index, self._own(key), error)
            )
            self._after_change()
        else:
            self.on_segment_failed(task_id, item, error)

    def on_segment_failed(self, task_id: TaskId, item: int | None, error: BaseException) -> None:
        """Let the map fail."""

        def error_of(indices: Sequence[int], key: Key | None) -> BaseException:
            if item is not None:
                return blamed(error, name_of(indices[0], self._own(key)), self._plan.app)
            if isinstance(error, WrongResults):
                where = f"one of the items {indices[0]} to {indices[-1]}"
                return blamed(error, where, self._plan.app)
            return error

        self._state.take_failure(task_id, item, error_of, is_end_at_item=self._ends_at_item)
        self._after_change()

    def on_executor_failed(self, error: BaseException) -> None:
        """Let the map fail."""
        self.fail(error)

    def attach(self, future: Future[Any]) -> None:
        """Take Parsl's future of the map, which fails if the map cannot even be started."""
        self.future = future
        future.add_done_callback(self._on_future_done)

    def fail(self, error: BaseException) -> None:
        """Let the map fail at once, unless it has ended."""
        self._state.fail(error)
        self._after_change()

    # --- inside -------------------------------------------------------------------------------

    @property
    def _ends_at_item(self) -> bool:
        return self._plan.is_ordered and not self._plan.is_tolerant and self._plan.sink is None

    def _on_future_done(self, future: Future[Any]) -> None:
        error = CancelledError() if future.cancelled() else future.exception()
        if error is not None:
            self.fail(error)

    def _after_change(self) -> None:
        """Cancel what is not wanted any more, and see whether this is the end; without locks."""
        for task_id in self._state.pop_unwanted():
            assert self._link is not None, "something was sent"
            self._link.cancel(task_id)
        if self._state.is_finished:
            self._end()

    def _end(self) -> None:
        with self._guard:
            if self._ended.is_set():
                return
            self._summary = self._make_summary()
            self._ended.set()
        if self._bar is not None:
            self._bar.close(self.progress())
        error = self._state.error
        if self._link is not None and error is None:
            self._link.end(self._summary)
        elif self._link is not None and error is not None:
            self._link.fail(error)

    def _make_summary(self) -> MapSummary:
        state = self._state
        return MapSummary(
            num_items=state.num_fed,
            num_done=state.num_done,
            num_errors=state.num_errors,
            num_skipped=state.num_skipped,
            seconds=monotonic_s() - self._started_s,
            sink=self._plan.sink,
        )

    def _tick(self) -> None:
        """Send what a slow source gave, and move the bar; a thread, as the feed may be stuck."""
        for tick in itertools.count():
            if self._ended.wait(TICK_S):
                return
            if not self._plan.source.is_prompt:
                self._feed.flush()
            if self._bar is not None and tick % 2 == 0:
                self._bar.update(self.progress())

    def _waiting_for(self) -> str:
        if self._link is None and not self.done():
            return "Parsl to start it: perhaps for futures among its arguments"
        return self._state.describe_wait()

    def _own(self, key: Key | None) -> Key | None:
        """Return the key of an item, if it is one that the user gave."""
        return key if self._plan.keys.column == "key" else None

    def _keys_of(self, results: Results) -> Any:
        if results.keys is None or self._plan.keys.column != "key":
            return results.indices
        return results.keys

    def _load(self, chunk: Chunk) -> Results:
        """Unpickle results; that they cannot be is the error of their items, or of the map."""
        try:
            return chunk.load()
        except Exception as error:
            if not self._plan.is_tolerant:
                where = f"a result among those of items {chunk.indices[0]} to {chunk.indices[-1]}"
                blamed(error, where, self._plan.app)
                raise
            self._state.count_errors(len(chunk.indices))
            cause = error  # the name `error` ends with this clause
            return chunk.filled(lambda index, key: item_error(index, self._own(key), cause))

    def _taken_results(self) -> Iterator[Results]:
        if self._plan.sink is not None:
            raise RuntimeError(
                f"the results of this map go to {self._plan.sink}: read them there; result() waits "
                "for the end"
            )
        return self._taking.results()
