"""What is known of a running map, for all threads that have to do with it.

The feed sends segments, the executor's thread brings their results, a writer may keep them, and the
user takes them. Each calls a method here, which holds the one lock and calls nothing outside.

A map ends *at* an item if the results before it are wanted all the same: the source raised there,
or it is the first bad item of a list in order. Otherwise it ends at once.
"""

from __future__ import annotations

import functools
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from parsl_pcm.clock import monotonic_s
from parsl_pcm.mapping.chunks import (
    AsCompleted,
    Chunk,
    InOrder,
    Results,
    Store,
    loaded_chunk,
    pickled_chunk,
)
from parsl_pcm.mapping.keys import Key
from parsl_pcm.mapping.segments import Segment
from parsl_pcm.mapping.window import Pace, Window
from parsl_pcm.types import TaskId


class MapState:
    """Counts, segments, results and the end of one map.

    Parameters
    ----------
    is_ordered
        Whether results are taken in the order of the items.
    has_writer
        Whether results go through :meth:`take_arrivals` first.

    Attributes
    ----------
    changed
        Notified whenever something here changes.
    error
        What the map failed with, or will when the results before it have come.
    is_over
        Nothing more will arrive.
    is_finished
        Nothing more will arrive in `store` either.
    num_fed
        Items that the source gave; the feed sets it.
    obstacle
        What the writer waits for; "" for nothing.
    num_by_variant
        Items that have a result, by the variant of the context that made it, if it has variants.
    """

    def __init__(self, *, is_ordered: bool, has_writer: bool) -> None:
        self.changed = threading.Condition()
        self.window = Window()
        self.pace = Pace()
        self.store: Store = InOrder() if is_ordered else AsCompleted()
        self.num_fed = self.num_done = self.num_errors = self.num_skipped = 0
        self.error: BaseException | None = None
        self.is_over = False
        self.is_finished = False
        self.obstacle = ""
        self.num_by_variant: Counter[str] = Counter()
        self._arrivals: list[Chunk] | None = [] if has_writer else None
        self._error_index: int | None = None
        self._is_source_over = False
        self._segments: dict[TaskId, Segment] = {}
        self._early: dict[TaskId, list[Callable[[], object]]] | None = None
        """What was told of a segment before its number was known; None: nothing is being sent."""
        self._unwanted: list[TaskId] = []

    # --- the feed -----------------------------------------------------------------------------

    @property
    def wants_more(self) -> bool:
        """Whether items are to be sent at all."""
        return self.error is None and not self.is_over

    @property
    def is_held_up(self) -> bool:
        """Whether results that nobody takes are why nothing more may be sent."""
        return self.window.is_held_up and self.window.num_held > 0

    def wait_for_room(self, timeout_s: float) -> bool:
        """Wait until more may be sent, or nothing more is wanted; False if neither came in time."""
        with self.changed:
            return self.changed.wait_for(
                lambda: self.window.is_open or not self.wants_more, timeout_s
            )

    def send(self, segment: Segment, submit: Callable[[], TaskId]) -> None:
        """Submit a segment; by one thread at a time.

        Raises
        ------
        PCMError
            If `submit` does.
        """
        with self.changed:
            self._early = {}
            self.window.send(segment.num_left, segment.num_bytes)
        task_id = submit()  # without the lock: the thread that receives may be what it waits for
        with self.changed:
            reports = (self._early or {}).get(task_id, [])
            self._early = None
            self._segments[task_id] = segment
            if self.is_over or self._is_behind_error(segment):
                self._drop(task_id)
            for report in reports:
                report()

    def end_source(self) -> None:
        """Note that the source has no more items."""
        with self.changed:
            self._is_source_over = True
            self._changed()

    def skip(self, num_items: int, chunk: Chunk | None) -> None:
        """Count items that an earlier run had done, with their results if they are wanted."""
        with self.changed:
            self.num_skipped += num_items
            if chunk is not None:
                self.window.hold(num_items, chunk.num_bytes)
                self.store.put(chunk)
                self._changed()

    def put_error(self, chunk: Chunk) -> None:
        """Take the error of an item that was never sent, as its result."""
        with self.changed:
            self.num_errors += 1
            self._put(chunk)
            self._changed()

    # --- the executor -------------------------------------------------------------------------

    def take_range(
        self, task_id: TaskId, start: int, stop: int, frame: bytes, *, skip: int, variant: str
    ) -> None:
        """Take results of a segment."""
        with self.changed:
            if task_id in self._segments:
                indices, keys = self._items(task_id, start, stop)
                self._put(pickled_chunk(indices, keys, frame, skip, variant))
                if variant:
                    self.num_by_variant[variant] += stop - start
                self._note(task_id, start, stop)
            else:
                take = functools.partial(self.take_range, skip=skip, variant=variant)
                self._keep(task_id, lambda: take(task_id, start, stop, frame))

    def take_error(
        self, task_id: TaskId, item: int, value_of: Callable[[int, Key | None], Any]
    ) -> None:
        """Take an error as the result of one item; `value_of` makes it of index and key."""
        with self.changed:
            if task_id in self._segments:
                indices, keys = self._items(task_id, item, item + 1)
                value = value_of(indices[0], keys[0] if keys else None)
                self.num_errors += 1
                self._put(loaded_chunk(Results(indices, keys, [value])))
                self._note(task_id, item, item + 1)
            else:
                self._keep(task_id, lambda: self.take_error(task_id, item, value_of))

    def take_failure(
        self,
        task_id: TaskId,
        item: int | None,
        error_of: Callable[[Sequence[int], Key | None], BaseException],
        *,
        is_end_at_item: bool,
    ) -> None:
        """Let the map fail because of a segment.

        Parameters
        ----------
        error_of
            Makes the error of the index of the bad item and its key; of those of all items of the
            segment, if it is none of them in particular.
        is_end_at_item
            The items before the bad one have results that will come; otherwise the map ends now.
        """
        with self.changed:
            if task_id not in self._segments:
                self._keep(
                    task_id,
                    lambda: self.take_failure(
                        task_id, item, error_of, is_end_at_item=is_end_at_item
                    ),
                )
            elif item is None:
                self.fail(error_of(self._segments[task_id].indices, None))
            else:
                indices, keys = self._items(task_id, item, item + 1)
                error = error_of(indices, keys[0] if keys else None)
                self.fail(error, at_index=indices[0] if is_end_at_item else None)

    def fail(self, error: BaseException, *, at_index: int | None = None) -> None:
        """Let the map fail: at an item, or at once."""
        with self.changed:
            if self.is_finished or (self.is_over and self.error is not None):
                return
            if at_index is None:
                self.error = error
                self._error_index = 0
            elif self._error_index is None or at_index < self._error_index:
                self.error = error
                self._error_index = at_index
            for task_id, segment in list(self._segments.items()):
                if self._is_behind_error(segment):
                    self._drop(task_id)
            self._changed()

    def pop_unwanted(self) -> list[TaskId]:
        """Return the segments to cancel, each once."""
        if not self._unwanted:
            return []
        with self.changed:
            unwanted, self._unwanted = self._unwanted, []
        return unwanted

    # --- the writer ---------------------------------------------------------------------------

    def take_arrivals(self, timeout_s: float | None) -> list[Chunk]:
        """Return all that has come, waiting for it; empty: nothing came in time, or ever will."""
        assert self._arrivals is not None, "there is no writer"
        with self.changed:
            self.changed.wait_for(lambda: self._arrivals or self.is_over, timeout_s)
            arrivals, self._arrivals = self._arrivals, []
        return arrivals

    def release(self, chunks: Sequence[Chunk]) -> None:
        """Hold these no longer."""
        with self.changed:
            for chunk in chunks:
                self.window.release(len(chunk.indices), chunk.num_bytes)
            self.changed.notify_all()

    def pass_on(self, chunks: Sequence[Chunk]) -> None:
        """Let the user take these."""
        with self.changed:
            for chunk in chunks:
                self.store.put(chunk)
            self.changed.notify_all()

    def wait_for_error(self, timeout_s: float) -> None:
        """Wait until the map has failed, so long at most."""
        with self.changed:
            self.changed.wait_for(lambda: self.error is not None, timeout_s)

    def finish(self) -> None:
        """Note that the writer has done all."""
        with self.changed:
            self.is_finished = True
            self.changed.notify_all()

    # --- the user -----------------------------------------------------------------------------

    def take(self, timeout_s: float | None = None) -> Chunk | None:
        """Return the next results, waiting for them; None: there are no more.

        Raises
        ------
        TimeoutError
            If none came in time.
        """
        with self.changed:
            found: list[Chunk] = []
            if not self.changed.wait_for(lambda: self._try_take(found), timeout_s):
                raise TimeoutError
            if not found:
                return None
            self.window.release(len(found[0].indices), found[0].num_bytes)
            self.changed.notify_all()
            return found[0]

    def give_out(self, results: Results) -> Results:
        """Return those of the results taken last whose turn it is; the rest is held again."""
        with self.changed:
            num_due = self.store.num_due(results)
            if num_due == len(results.indices):
                return results
            due, rest = results.split(num_due)
            chunk = loaded_chunk(rest)
            self.window.hold(len(chunk.indices), chunk.num_bytes)
            self.store.put(chunk)
            return due

    def count_errors(self, num_items: int) -> None:
        """Count results that turned out to be errors."""
        with self.changed:
            self.num_errors += num_items

    def forget_results(self) -> None:
        """Throw away what nobody has taken."""
        with self.changed:
            self.store.clear()

    def describe_wait(self) -> str:
        """Return what holds the map up, for people."""
        with self.changed:
            if self.is_finished:
                return "nothing"
            if self.obstacle:
                return self.obstacle
            if self.is_held_up:
                return self._describe_held()
            if not self.window.num_sent:
                return "the writing of the last results" if self.is_over else "the source of items"
            return f"results of {self.window.num_sent:,} items under way"

    # --- with the lock held -------------------------------------------------------------------

    def _try_take(self, found: list[Chunk]) -> bool:
        chunk = self.store.take()
        if chunk is not None:
            found.append(chunk)
        return chunk is not None or self.is_finished

    def _describe_held(self) -> str:
        held = f"{self.window.num_held:,} results ({self.window.held_bytes >> 20} MiB)"
        if self._arrivals is not None:
            return f"the writing of {held}"
        if isinstance(self.store, InOrder) and not self.store.has_next:
            return f"item {self.store.next_index}, behind which {held} wait in order"
        return f"somebody who takes {held}"

    def _items(
        self, task_id: TaskId, start: int, stop: int
    ) -> tuple[Sequence[int], Sequence[Key] | None]:
        segment = self._segments[task_id]
        keys = None if segment.keys is None else segment.keys[start:stop]
        return segment.indices[start:stop], keys

    def _keep(self, task_id: TaskId, report: Callable[[], object]) -> None:
        """Keep what is told of a segment whose number the feed does not know yet."""
        if self._early is not None:
            self._early.setdefault(task_id, []).append(report)

    def _put(self, chunk: Chunk) -> None:
        num_items = len(chunk.indices)
        self.num_done += num_items
        self.pace.note(self.num_done, now=monotonic_s())
        self.window.hold(num_items, chunk.num_bytes)
        self.window.learn(num_items, chunk.num_bytes)
        if self._arrivals is None:
            self.store.put(chunk)
        else:
            self._arrivals.append(chunk)

    def _note(self, task_id: TaskId, start: int, stop: int) -> None:
        segment = self._segments[task_id]
        segment.note(start, stop)
        self.window.end(stop - start, 0)
        if segment.num_left == 0:
            del self._segments[task_id]
            self.window.end(0, segment.num_bytes)
        elif self._is_behind_error(segment):
            self._drop(task_id)
        self._changed()

    def _is_behind_error(self, segment: Segment) -> bool:
        """Whether nothing of a segment is wanted any more."""
        return self._error_index is not None and segment.is_done_before(self._error_index)

    def _drop(self, task_id: TaskId) -> None:
        segment = self._segments.pop(task_id)
        self._unwanted.append(task_id)
        self.window.end(segment.num_left, segment.num_bytes)

    def _changed(self) -> None:
        if (self._is_source_over or self.error is not None) and not self._segments:
            self.is_over = True
            self.is_finished = self.is_finished or self._arrivals is None
        self.changed.notify_all()
