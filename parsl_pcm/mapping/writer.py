"""Results that are kept as they come: in a sink, or in the journal of ``resume=PATH``.

One thread writes; a disk that is full, or slow, holds it up, and the window then the feed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from parsl_pcm.errors import SinkError
from parsl_pcm.mapping.chunks import Chunk, Results
from parsl_pcm.mapping.journal import Journal
from parsl_pcm.mapping.report import ItemError
from parsl_pcm.mapping.sinks.protocol import Sink
from parsl_pcm.mapping.sinks.rows import Row, error_row, result_row
from parsl_pcm.mapping.sinks.safe_file import Patience
from parsl_pcm.mapping.state import MapState

logger = logging.getLogger(__name__)

BATCH_ITEMS = 4096
"""Results written at once, about: one write to a file system each."""
FLUSH_S = 1.0
"""Without a new result for so long, what was written is made safe."""


class Output(Protocol):
    """Where a writer writes."""

    hands_on: bool
    """Whether the user takes the results besides."""

    def keep(self, results: Sequence[Results]) -> int:
        """Write results; return how many could not be, and were written as errors."""
        ...

    def flush(self) -> None:
        """Make them safe."""
        ...

    def close(self, *, is_complete: bool) -> None:
        """Let go; `is_complete`: every item was written."""
        ...


class SinkOutput:
    """Writes rows to a sink; `column` says what the keys are."""

    hands_on = False

    def __init__(self, sink: Sink, column: str | None) -> None:
        self._sink = sink
        self._column = column

    def keep(self, results: Sequence[Results]) -> int:
        """Write results."""
        return self._sink.write([row for each in results for row in self._rows(each)]) or 0

    def flush(self) -> None:
        """Make them safe."""
        self._sink.flush()

    def close(self, *, is_complete: bool) -> None:
        """Close the sink."""
        self._sink.close(is_complete=is_complete)

    def _rows(self, results: Results) -> Iterator[Row]:
        for index, key, value in results.triples():
            if isinstance(value, ItemError):
                yield error_row(index, key, self._column, value.exception)
            else:
                yield result_row(index, key, self._column, value, variant=results.variant)


class JournalOutput:
    """Writes results, but no errors, to a journal: what had an error is tried again."""

    hands_on = True

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def keep(self, results: Sequence[Results]) -> int:
        """Write results."""
        self._journal.add(
            [
                (index, key, value)
                for each in results
                for index, key, value in each.triples()
                if not isinstance(value, ItemError)
            ]
        )
        return 0

    def flush(self) -> None:
        """Do nothing: what is written is safe."""

    def close(self, *, is_complete: bool) -> None:
        """Close the journal."""
        self._journal.close()


class Writer:
    """Writes the results of a map until there are no more.

    Parameters
    ----------
    load
        Unpickles a chunk.
    on_change
        Called at the end, when all is written and closed.
    """

    def __init__(
        self,
        output: Output,
        state: MapState,
        *,
        load: Callable[[Chunk], Results],
        on_change: Callable[[], None],
    ) -> None:
        self._output = output
        self._state = state
        self._load = load
        self._on_change = on_change

    def start(self) -> None:
        """Begin, in a thread of its own, which ends with the map; the map's end waits for it."""
        threading.Thread(target=self._run, name="pcm-map-writer", daemon=True).start()

    def _run(self) -> None:
        try:
            self._write_all()
        except BaseException as error:  # noqa: BLE001 - the map fails with it
            self._state.fail(error)
        try:
            self._output.close(is_complete=self._state.error is None)
        except BaseException as error:  # noqa: BLE001 - the map fails with it
            self._state.fail(error)
        self._state.finish()
        self._on_change()

    def _write_all(self) -> None:
        while True:
            chunks = self._state.take_arrivals(FLUSH_S)
            if chunks:
                for batch in _batches(chunks):
                    self._write(batch)
            elif self._state.is_over:
                return
            else:
                self._output.flush()

    def _write(self, chunks: Sequence[Chunk]) -> None:
        results = [self._load(chunk) for chunk in chunks]
        num_refused = self._output.keep(results)
        self._state.count_errors(num_refused)
        self._state.obstacle = ""
        if self._output.hands_on:
            self._state.pass_on(list(map(_passed_on, chunks, results)))
        else:
            self._state.release(chunks)
        self._on_change()


def patience_of(state: MapState) -> Patience:
    """Return how the map waits for room on a disk: until it is cancelled, or fails otherwise."""

    def on_wait(what: str) -> None:
        if state.error is not None:
            raise SinkError(f"given up: {what}")
        if state.obstacle != what:
            logger.warning("%s", what)
        state.obstacle = what

    return Patience(on_wait=on_wait, pause=state.wait_for_error)


def _passed_on(chunk: Chunk, results: Results) -> Chunk:
    """Return a chunk for the user, pickled still, unless it could not be unpickled."""
    if isinstance(results.values[0], ItemError):
        return chunk._replace(frame=None, values=results.values)
    return chunk


def _batches(chunks: Sequence[Chunk]) -> Iterator[list[Chunk]]:
    batch: list[Chunk] = []
    num_items = 0
    for chunk in chunks:
        batch.append(chunk)
        num_items += len(chunk.indices)
        if num_items >= BATCH_ITEMS:
            yield batch
            batch, num_items = [], 0
    if batch:
        yield batch
