"""Between a map and the executor that runs it: what each may ask of the other.

A map submits its items in *segments*: tasks of so many items, each with its frames. It gets results
back range by range, and decides itself how many segments are under way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

from parsl_pcm.types import TaskId


class MapLink(Protocol):
    """What an executor does for one map. Every method may be called from any thread."""

    def submit(self, frames: Sequence[bytes], sizes: Sequence[int]) -> TaskId:
        """Send a segment.

        Parameters
        ----------
        frames
            Pickled lists of items (:func:`parsl_pcm.pickling.dump_items`), at least one.
        sizes
            The number of items in each of them, at least 1.

        Returns
        -------
        TaskId
            Of the segment: its items are numbered from 0 to ``sum(sizes)`` in what the receiver is
            told. It may be told something before this returns.

        Raises
        ------
        PCMError
            If the executor is not usable any more.
        """
        ...

    def cancel(self, task_id: TaskId) -> None:
        """Do not want a segment any more: nothing is told about it from here on."""
        ...

    def end(self, result: Any) -> None:
        """End the executor's task for the whole map with this result; repeating it is safe."""
        ...

    def fail(self, error: BaseException) -> None:
        """End the executor's task for the whole map with an exception; repeating it is safe."""
        ...


class MapReceiver(ABC):
    """A map, as an executor sees it: the first argument of a call that is a map.

    The ``on_`` methods are called in the thread that receives everything for an executor: they
    must be quick, and neither block nor raise.
    """

    @property
    @abstractmethod
    def is_tolerant(self) -> bool:
        """Whether an item that cannot be done costs that item alone, and not the whole map."""

    @abstractmethod
    def start(self, link: MapLink) -> None:
        """Begin; called once, in the thread that submits the call."""

    @abstractmethod
    def on_range(
        self, task_id: TaskId, start: int, stop: int, frame: bytes, *, skip: int, variant: str
    ) -> None:
        """Take the results of the items [start, stop) of a segment, each told once.

        Parameters
        ----------
        frame
            A pickled list of ``skip + stop - start`` results
            (:func:`~parsl_pcm.pickling.load_result`).
        skip
            So many at its head were told before.
        variant
            Name of the variant of the context that made them; "": it has none.
        """

    @abstractmethod
    def on_item_failed(self, task_id: TaskId, item: int, error: BaseException) -> None:
        """Take the exception of one item of a tolerant map; it counts as its result.

        Its cause shows the remote traceback, if there is one.
        """

    @abstractmethod
    def on_segment_failed(self, task_id: TaskId, item: int | None, error: BaseException) -> None:
        """Take the end of a segment: nothing more is told about it.

        Parameters
        ----------
        item
            The one to blame; None: none of them, for example if the context cannot be built.
        """

    @abstractmethod
    def on_executor_failed(self, error: BaseException) -> None:
        """Take the end of everything: no segment gets another word."""
