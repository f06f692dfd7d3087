"""From the source to segments: the thread of a map that pulls items, and sends them.

The source, and so a generator of the user, runs in this thread. What it has given is sent when it
makes a segment, and every twentieth of a second if the source is one that may take its time.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from parsl_pcm.errors import NotPicklable
from parsl_pcm.mapping.chunks import Results, loaded_chunk, pickled_chunk
from parsl_pcm.mapping.errors_of_items import item_error
from parsl_pcm.mapping.frames import FRAME_BYTES, FRAME_ITEMS, Frame, FrameCutter
from parsl_pcm.mapping.keys import Key, Keys
from parsl_pcm.mapping.link import MapLink
from parsl_pcm.mapping.report import name_of
from parsl_pcm.mapping.segments import Segment
from parsl_pcm.mapping.sources import Source
from parsl_pcm.mapping.state import MapState
from parsl_pcm.pickling import dump_result

logger = logging.getLogger(__name__)

SEGMENT_FRAMES = 64
"""At most: a task of the scheduler costs as much as some thousand items."""
SEGMENT_ITEMS = 16 * FRAME_ITEMS
SEGMENT_BYTES = SEGMENT_FRAMES * FRAME_BYTES
INCOMING_ITEMS = 256
"""Looked at together, unless they are so large that fewer make a frame."""
STANDSTILL_S = 5.0
"""Waiting for so long without a turn is worth a line in the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What earlier runs have done.

    Attributes
    ----------
    look_up
        Returns, for index and key of an item, whether it is done, and its result.
    has_results
        Whether these are wanted in the place of what would be done now.
    """

    look_up: Callable[[int, Key | None], tuple[bool, Any]]
    has_results: bool


class Feed:
    """Pulls items and sends them, as long as there is room.

    Parameters
    ----------
    is_tolerant
        Whether an item that cannot be pickled costs that item alone.
    on_change
        Called, without locks held, after whatever may have ended the map.
    """

    def __init__(
        self,
        source: Source,
        keys: Keys,
        earlier: Earlier | None,
        state: MapState,
        *,
        is_tolerant: bool,
        on_change: Callable[[], None],
    ) -> None:
        self._source = source
        self._keys = keys
        self._earlier = earlier
        self._state = state
        self._is_tolerant = is_tolerant
        self._on_change = on_change
        self._link: MapLink | None = None
        self._cutter = FrameCutter()
        self._sending = threading.Lock()  # taken items are sent by our thread and by flush()
        self._num_taken = 0
        self._incoming: list[Any] = []
        """As the source gave them; the lists below have what is left to do of them."""
        self._items: list[Any] = []
        self._indices: list[int] = []
        self._item_keys: list[Key] = []
        self._segment = _SegmentInTheMaking()

    def start(self, link: MapLink) -> None:
        """Begin, in a thread of its own, which ends with the map.

        Nobody joins it: it may be inside the user's generator, which may never come back.
        """
        self._link = link
        threading.Thread(target=self._run, name="pcm-map-feed", daemon=True).start()

    def flush(self) -> None:
        """Send what was taken, unless the feed is at it or there is no room; from any thread."""
        if not self._incoming and not self._items and not self._segment.sizes:
            return
        if self._sending.acquire(blocking=False):
            try:
                if self._state.wait_for_room(0.0):
                    self._flush()
            except Exception as error:  # noqa: BLE001 - the map fails with it
                self._state.fail(error)
            finally:
                self._sending.release()
            self._on_change()

    # --- in the thread of the feed ------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._pull()
        except BaseException as error:  # noqa: BLE001 - the map fails with it
            self._end_with(error)
        else:
            self._state.end_source()
        self._on_change()

    def _pull(self) -> None:
        for items in self._source.batches():
            with self._sending:
                self._incoming.extend(items)
                if len(self._incoming) >= min(self._cutter.num_wanted, INCOMING_ITEMS):
                    self._add_incoming()
            if not self._state.wants_more:
                self._close_source()
                return
        with self._sending:
            self._flush()

    def _close_source(self) -> None:
        """Let a generator of the user clean up; nobody else will ask it for more."""
        close = None if self._source.is_prompt else getattr(iter(self._source), "close", None)
        if close is not None:
            with contextlib.suppress(Exception):
                close()

    def _end_with(self, error: BaseException) -> None:
        """Let the map end behind what was taken before the error."""
        try:
            with self._sending:
                self._flush()
        except Exception as sending_error:  # noqa: BLE001 - the map fails with it
            self._state.fail(sending_error)
        self._state.fail(error, at_index=self._num_taken)

    def _add_incoming(self) -> None:
        items, self._incoming = self._incoming, []
        first = self._num_taken
        keys, error = self._keys_of(first, items)
        if error is not None:
            items = items[: len(keys)]
        self._num_taken += len(items)
        self._state.num_fed = self._num_taken
        indices: Sequence[int] = range(first, self._num_taken)
        if self._earlier is not None:
            indices, keys, items = self._without_done(self._earlier, indices, keys, items)
        self._items.extend(items)
        self._indices.extend(indices)
        self._item_keys.extend(keys)
        while len(self._items) >= self._cutter.num_wanted:
            self._cut(self._cutter.num_wanted)
        if error is not None:
            raise error

    def _keys_of(self, first: int, items: Sequence[Any]) -> tuple[list[Key], Exception | None]:
        """Return the keys of items, up to the first that has none, with the reason."""
        keys: list[Key] = []
        if self._keys.column is None:
            return keys, None
        for index, item in enumerate(items, start=first):
            try:
                key = self._keys.key_of(index, item)
            except Exception as error:  # noqa: BLE001 - of the user's function; ends the map
                return keys, error
            assert key is not None, "there is a column for it"
            keys.append(key)
        return keys, None

    def _without_done(
        self, earlier: Earlier, indices: Sequence[int], keys: list[Key], items: list[Any]
    ) -> tuple[list[int], list[Key], list[Any]]:
        """Return what is left to do; the results of the rest are held for the user."""
        left: list[int] = []
        done: list[int] = []
        results: list[Any] = []
        for place, index in enumerate(indices):
            is_done, result = earlier.look_up(index, keys[place] if keys else None)
            (done if is_done else left).append(place)
            if is_done:
                results.append(result)
        if done:
            self._skip(
                earlier, [indices[n] for n in done], [keys[n] for n in done if keys], results
            )
        return (
            [indices[n] for n in left],
            [keys[n] for n in left if keys],
            [items[n] for n in left],
        )

    def _skip(
        self, earlier: Earlier, indices: list[int], keys: list[Key], results: list[Any]
    ) -> None:
        chunk = None
        if earlier.has_results:
            chunk = pickled_chunk(indices, keys or None, dump_result(results))
        self._state.skip(len(indices), chunk)
        self._wait_for_room()

    def _flush(self) -> None:
        self._add_incoming()
        while self._items:
            self._cut(self._cutter.num_wanted)
        self._send()

    def _cut(self, num: int) -> None:
        """Turn items that were taken into frames."""
        items, self._items = self._items[:num], self._items[num:]
        indices, self._indices = self._indices[:num], self._indices[num:]
        keys, self._item_keys = self._item_keys[:num], self._item_keys[num:]
        start = 0
        for frame in self._cutter.cut(items):
            stop = start + frame.num_items
            if frame.error is None:
                self._segment.add(frame, indices[start:stop], keys[start:stop])
            else:
                self._refuse(indices[start], keys[start] if keys else None, frame.error)
            start = stop
            if self._segment.is_full:
                self._send()

    def _refuse(self, index: int, key: Key | None, error: Exception) -> None:
        """Do without an item that cannot be sent, or end the map behind those before it."""
        refused = _not_picklable(index, key, error)
        if self._is_tolerant:
            own_key = key if self._keys.column == "key" else None
            value = item_error(index, own_key, refused)
            keys = None if key is None else [key]
            self._state.put_error(loaded_chunk(Results([index], keys, [value])))
        else:
            self._send()
            self._state.fail(refused, at_index=index)

    def _send(self) -> None:
        made, self._segment = self._segment, _SegmentInTheMaking()
        if not made.sizes:
            return
        self._wait_for_room()
        if not self._state.wants_more:
            return
        link = self._link
        assert link is not None, "set in start()"
        try:
            self._state.send(made.segment(), lambda: link.submit(made.blobs, made.sizes))
        except Exception as error:  # noqa: BLE001 - the map fails with it
            self._state.fail(error)
        self._on_change()

    def _wait_for_room(self) -> None:
        is_told = False
        while not self._state.wait_for_room(STANDSTILL_S):
            if self._state.is_held_up and not is_told:
                waiting_for = self._state.describe_wait()
                logger.warning("the items of a map are not read on: waiting for %s", waiting_for)
                is_told = True


class _SegmentInTheMaking:
    """Frames that will be sent together."""

    def __init__(self) -> None:
        self.blobs: list[bytes] = []
        self.sizes: list[int] = []
        self._indices: list[int] = []
        self._keys: list[Key] = []
        self._num_bytes = 0

    def add(self, frame: Frame, indices: Sequence[int], keys: Sequence[Key]) -> None:
        """Add a frame with what its items are."""
        self.blobs.append(frame.blob)
        self.sizes.append(frame.num_items)
        self._indices.extend(indices)
        self._keys.extend(keys)
        self._num_bytes += len(frame.blob)

    @property
    def is_full(self) -> bool:
        """Whether it should be sent."""
        return (
            len(self.blobs) >= SEGMENT_FRAMES
            or self._num_bytes >= SEGMENT_BYTES
            or len(self._indices) >= SEGMENT_ITEMS
        )

    def segment(self) -> Segment:
        """Return it as it is remembered."""
        return Segment(self._indices, self._keys or None, self._num_bytes)


def _not_picklable(index: int, key: Key | None, error: Exception) -> NotPicklable:
    refused = NotPicklable(
        f"{name_of(index, key)} cannot be sent to another process: {error}. Usual causes: an open "
        "file, a lock, a database connection or a generator in it; let the items say what to open, "
        "and open it in the app"
    )
    refused.__cause__ = error
    return refused
