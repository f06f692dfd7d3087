"""Results that have come and were not taken yet: as they came, or in the order of the items.

They stay pickled until somebody takes them.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from parsl_pcm.mapping.keys import Key
from parsl_pcm.pickling import load_result

LOADED_BYTES = 2000
"""Counted for a result that is not pickled: nearly always an exception, with its traceback."""


class Results(NamedTuple):
    """Results of items, with the numbers of those.

    Attributes
    ----------
    keys
        Of the items; None: they have none.
    variant
        Of the context that made them; "": it has none, or nobody made them.
    """

    indices: Sequence[int]
    keys: Sequence[Key] | None
    values: Sequence[Any]
    variant: str = ""

    def triples(self) -> Iterator[tuple[int, Key | None, Any]]:
        """Yield index, key and value of each; the key is None if they have none."""
        keys = [None] * len(self.indices) if self.keys is None else self.keys
        return zip(self.indices, keys, self.values, strict=True)

    def split(self, num: int) -> tuple[Results, Results]:
        """Return the first so many, and the rest."""
        return self._part(slice(num)), self._part(slice(num, None))

    def _part(self, part: slice) -> Results:
        keys = self.keys and self.keys[part]
        return Results(self.indices[part], keys, self.values[part], self.variant)


class Chunk(NamedTuple):
    """Results as they came.

    Attributes
    ----------
    frame
        A pickled list of them, behind `skip` others; None: they are in `values`.
    num_bytes
        Counted for it while it is held.
    """

    indices: Sequence[int]
    keys: Sequence[Key] | None
    num_bytes: int
    frame: bytes | None
    skip: int = 0
    values: Sequence[Any] = ()
    variant: str = ""

    def load(self) -> Results:
        """Unpickle it, if it is pickled.

        Raises
        ------
        Exception
            Whatever unpickling raises, if this process lacks a module of the results.
        """
        if self.frame is None:
            return Results(self.indices, self.keys, self.values, self.variant)
        values = load_result(self.frame)
        values = values[self.skip :] if self.skip else values
        return Results(self.indices, self.keys, values, self.variant)

    def filled(self, value_of: Callable[[int, Key | None], Any]) -> Results:
        """Return these values in the place of its own."""
        items = Results(self.indices, self.keys, self.indices).triples()
        values = [value_of(index, key) for index, key, _ in items]
        return Results(self.indices, self.keys, values, self.variant)


def pickled_chunk(
    indices: Sequence[int],
    keys: Sequence[Key] | None,
    frame: bytes,
    skip: int = 0,
    variant: str = "",
) -> Chunk:
    """Return results that somebody pickled as a chunk."""
    return Chunk(indices, keys, len(frame), frame, skip, variant=variant)


def loaded_chunk(results: Results) -> Chunk:
    """Return results that need not be unpickled any more as a chunk, their size being guessed."""
    num_bytes = LOADED_BYTES * len(results.indices)
    return Chunk(*results[:2], num_bytes, None, values=results.values, variant=results.variant)


class Store(Protocol):
    """Where chunks wait."""

    def put(self, chunk: Chunk) -> None:
        """Add a chunk."""
        ...

    def take(self) -> Chunk | None:
        """Return the next one; None if there is none now."""
        ...

    def num_due(self, results: Results) -> int:
        """Return how many of the results of the chunk taken last may be given out now."""
        ...

    def clear(self) -> None:
        """Forget all."""
        ...


class AsCompleted:
    """A store that gives what comes first first."""

    def __init__(self) -> None:
        self._chunks: deque[Chunk] = deque()

    def put(self, chunk: Chunk) -> None:
        """Add a chunk."""
        self._chunks.append(chunk)

    def take(self) -> Chunk | None:
        """Return the one that came first."""
        return self._chunks.popleft() if self._chunks else None

    def num_due(self, results: Results) -> int:
        """Return how many there are."""
        return len(results.indices)

    def clear(self) -> None:
        """Forget all."""
        self._chunks.clear()


class InOrder:
    """A store that gives the results in the order of the items, none left out.

    Attributes
    ----------
    next_index
        Of the item whose result it would give next.
    """

    def __init__(self) -> None:
        self.next_index = 0
        self._heap: list[tuple[int, Chunk]] = []
        """By the first index, which no two have in common."""

    @property
    def has_next(self) -> bool:
        """Whether the result of the next item is there."""
        return bool(self._heap) and self._heap[0][0] == self.next_index

    def put(self, chunk: Chunk) -> None:
        """Add a chunk; its indices rise, perhaps with gaps."""
        heapq.heappush(self._heap, (chunk.indices[0], chunk))

    def take(self) -> Chunk | None:
        """Return the one that begins with the next item, if it is there."""
        return heapq.heappop(self._heap)[1] if self.has_next else None

    def num_due(self, results: Results) -> int:
        """Return how many there are up to the first gap, and expect the one behind them next."""
        num = num_in_a_row(results.indices)
        self.next_index = results.indices[0] + num
        return num

    def clear(self) -> None:
        """Forget all."""
        self._heap.clear()


def num_in_a_row(indices: Sequence[int]) -> int:
    """Return how many indices, from the first on, have no gap between them."""
    first = indices[0]
    if indices[-1] - first + 1 == len(indices):
        return len(indices)
    return next(n for n, index in enumerate(indices) if index != first + n)
