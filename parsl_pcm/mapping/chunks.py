"""Results that have come and were not taken yet: as they came, or in the order of the items.

They stay pickled until somebody takes them.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from parsl_pcm.mapping.keys import Key
from parsl_pcm.pickling import load_result


class Results(NamedTuple):
    """Results of items, with the numbers of those; `keys` is None if they have none."""

    indices: Sequence[int]
    keys: Sequence[Key] | None
    values: Sequence[Any]

    def split(self, num: int) -> tuple[Results, Results]:
        """Return the first so many, and the rest."""
        keys = self.keys
        head = Results(self.indices[:num], keys and keys[:num], self.values[:num])
        return head, Results(self.indices[num:], keys and keys[num:], self.values[num:])


class Chunk(NamedTuple):
    """Results as they came.

    Attributes
    ----------
    frame
        A pickled list of them, behind `skip` others; None: they are in `values`.
    """

    indices: Sequence[int]
    keys: Sequence[Key] | None
    frame: bytes | None
    skip: int = 0
    values: Sequence[Any] = ()

    @property
    def num_bytes(self) -> int:
        """What is held for it."""
        return 0 if self.frame is None else len(self.frame)

    def load(self) -> Results:
        """Unpickle it.

        Raises
        ------
        Exception
            Whatever unpickling raises, if this process lacks a module of the results.
        """
        if self.frame is None:
            return Results(self.indices, self.keys, self.values)
        values = load_result(self.frame)
        return Results(self.indices, self.keys, values[self.skip :] if self.skip else values)


def chunk_of(results: Results) -> Chunk:
    """Return results that need not be unpickled any more as a chunk."""
    return Chunk(results.indices, results.keys, None, values=results.values)


class Store(Protocol):
    """Where chunks wait."""

    def put(self, chunk: Chunk) -> None:
        """Add a chunk."""
        ...

    def take(self) -> Chunk | None:
        """Return the next one; None if there is none now."""
        ...

    def split(self, results: Results) -> Results:
        """Return those of the results of a chunk that may be given out now; the rest is put back."""
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

    def split(self, results: Results) -> Results:
        """Return them all."""
        return results

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

    def put(self, chunk: Chunk) -> None:
        """Add a chunk; its indices rise, perhaps with gaps."""
        heapq.heappush(self._heap, (chunk.indices[0], chunk))

    def take(self) -> Chunk | None:
        """Return the one that begins with the next item, if it is there."""
        if not self._heap or self._heap[0][0] != self.next_index:
            return None
        return heapq.heappop(self._heap)[1]

    def split(self, results: Results) -> Results:
        """Return them up to the first gap."""
        num = num_in_a_row(results.indices)
        self.next_index = results.indices[0] + num
        if num == len(results.indices):
            return results
        head, rest = results.split(num)
        self.put(chunk_of(rest))
        return head

    def clear(self) -> None:
        """Forget all."""
        self._heap.clear()


def num_in_a_row(indices: Sequence[int]) -> int:
    """Return how many indices, from the first on, have no gap between them."""
    first = indices[0]
    if indices[-1] - first + 1 == len(indices):
        return len(indices)
    return next(n for n, index in enumerate(indices) if index != first + n)
