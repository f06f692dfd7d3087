"""What many callers ask for one by one is given to a model in batches.

For libraries that take a list and answer it as a whole. First come, first served: the request that
has waited longest is always in the next batch, beside those that come closest to it in size.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Key = TypeVar("Key")

_BATCHES_AHEAD = 8
"""So many batches of waiting requests are looked at for those of like size: enough for little
padding, and a batch is chosen in well under a millisecond however many wait."""
_PATIENCE_S = 0.005
"""A batch that is not full waits so long for the callers who have just got their answers."""


@dataclass(slots=True, eq=False)
class _Request(Generic[Item, Answer, Key]):
    item: Item
    key: Key
    size: int
    answer: Future[Answer] = field(default_factory=Future)


class Combiner(Generic[Item, Answer, Key]):
    """Answers the requests of many threads, a batch at a time, in a thread of its own.

    A batch that fails is halved and tried again, down to the requests that cannot be answered: the
    exception goes to those alone.

    Parameters
    ----------
    answer
        Given a key and items that came with it, returns an answer for each. Called by one thread
        only.
    batch_size
        The most items of a batch.
    is_lack_of_memory
        Tells whether an exception means that a batch was too large. From then on, batches are at
        most half as large.
    """

    def __init__(
        self,
        answer: Callable[[Key, list[Item]], Sequence[Answer]],
        *,
        batch_size: int,
        is_lack_of_memory: Callable[[BaseException], bool],
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._answer = answer
        self._batch_size = batch_size
        self._is_lack_of_memory = is_lack_of_memory
        self._patience_s = patience_s
        self._waiting: list[_Request[Item, Answer, Key]] = []
        self._is_closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="pcm-combiner", daemon=True)
        self._thread.start()

    @property
    def batch_size(self) -> int:
        """The most items of a batch: as given, or less since memory ran out."""
        return self._batch_size

    def submit(self, items: Sequence[tuple[Key, Item, int]]) -> list[Future[Answer]]:
        """Ask for an answer to each item.

        Parameters
        ----------
        items
            Of each: a key (only items whose keys are equal are answered together), the item itself
            and its size, in any unit.

        Returns
        -------
        list of Future
            One an item. As long as it waits for its batch, it can be cancelled.
        """
        requests: list[_Request[Item, Answer, Key]] = [
            _Request(item, key, size) for key, item, size in items
        ]
        with self._changed:
            self._waiting += requests
            self._changed.notify()
        return [request.answer for request in requests]

    def close(self) -> None:
        """Answer what waits, then end the thread; nothing may be submitted afterwards."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._next_batch():
            self._run([each for each in batch if each.answer.set_running_or_notify_cancel()])

    def _next_batch(self) -> list[_Request[Item, Answer, Key]]:
        """Wait for requests and take some; nothing at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            self._changed.wait_for(self._is_enough, self._patience_s)
            batch = self._choose() if self._waiting else []
            taken = set(map(id, batch))
            self._waiting = [each for each in self._waiting if id(each) not in taken]
            return batch

    def _is_enough(self) -> bool:
        return len(self._waiting) >= self._batch_size or self._is_closed

    def _choose(self) -> list[_Request[Item, Answer, Key]]:
        first = self._waiting[0]
        alike = (each for each in self._waiting if each.key == first.key)
        near = islice(alike, _BATCHES_AHEAD * self._batch_size)
        return sorted(near, key=lambda each: abs(each.size - first.size))[: self._batch_size]

    def _run(self, batch: list[_Request[Item, Answer, Key]]) -> None:
        if not batch:
            return
        error = self._try(batch)
        if error is None:
            return
        if self._is_lack_of_memory(error):
            self._batch_size = min(self._batch_size, max(1, len(batch) // 2))
        if len(batch) == 1:
            batch[0].answer.set_exception(error)
            return
        del error  # its traceback holds what the model had in memory
        half = len(batch) // 2
        self._run(batch[:half])
        self._run(batch[half:])

    def _try(self, batch: list[_Request[Item, Answer, Key]]) -> BaseException | None:
        try:
            answers = self._answer(batch[0].key, [each.item for each in batch])
        except BaseException as error:  # noqa: BLE001 - goes to the callers
            return error
        for request, answer in zip(batch, answers, strict=True):
            request.answer.set_result(answer)
        return None
