"""How the user takes results: each once by iterating, or all of them as a list."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import TimeoutError as FutureTimeoutError
from itertools import chain
from typing import Any

from parsl_pcm.clock import monotonic_s
from parsl_pcm.mapping.chunks import Chunk, Results
from parsl_pcm.mapping.state import MapState


class Taking:
    """Takes the results of a map, in the user's threads.

    Parameters
    ----------
    load
        Unpickles a chunk.
    on_error
        Told what `load` raised: the map has failed then.
    """

    def __init__(
        self,
        state: MapState,
        load: Callable[[Chunk], Results],
        *,
        on_error: Callable[[BaseException], None],
        is_ordered: bool,
    ) -> None:
        self._state = state
        self._load = load
        self._on_error = on_error
        self._is_ordered = is_ordered
        self._is_given_out = False
        self._guard = threading.Lock()
        self._collected: list[Results] = []

    def results(self) -> Iterator[Results]:
        """Return an iterator over all results; once.

        Raises
        ------
        RuntimeError
            If there was one before.
        """
        if self._is_given_out:
            raise RuntimeError(
                "the results of this map were taken already: keep them in a list, or call result() "
                "instead of iterating"
            )
        self._is_given_out = True
        return chain(self._collected, iter(self._next, None))

    def result(self, timeout_s: float | None) -> list[Any]:
        """Wait for all results, and return them in the order of the items.

        Raises
        ------
        TimeoutError
            If they are not all there in time; those that are, are kept.
        RuntimeError
            If they went to an iterator.
        Exception
            What the map failed with.
        """
        if self._is_given_out:
            raise RuntimeError(
                "the results of this map went to an iterator: put them into a list there, or call "
                "result() instead"
            )
        deadline = None if timeout_s is None else monotonic_s() + max(timeout_s, 0.0)
        if not self._guard.acquire(timeout=-1 if timeout_s is None else max(timeout_s, 0.0)):
            raise FutureTimeoutError("another thread waits for the results too")
        try:
            self._collect(deadline)
        finally:
            self._guard.release()
        return self._in_order()

    def _collect(self, deadline: float | None) -> None:
        while True:
            left_s = None if deadline is None else max(deadline - monotonic_s(), 0.0)
            results = self._next(left_s)
            if results is None:
                return
            self._collected.append(results)

    def _next(self, timeout_s: float | None = None) -> Results | None:
        """Return the next results; None: there are no more."""
        try:
            chunk = self._state.take(timeout_s)
        except TimeoutError as error:
            raise FutureTimeoutError("the map has not ended in time") from error
        if chunk is None and self._state.error is not None:
            raise self._state.error
        if chunk is None:
            return None
        try:
            results = self._load(chunk)
        except Exception as error:
            self._on_error(error)
            raise
        return self._state.give_out(results)

    def _in_order(self) -> list[Any]:
        values = chain.from_iterable(results.values for results in self._collected)
        if self._is_ordered:
            return list(values)
        indices = chain.from_iterable(results.indices for results in self._collected)
        by_index = dict(zip(indices, values, strict=True))
        return [by_index[index] for index in sorted(by_index)]
