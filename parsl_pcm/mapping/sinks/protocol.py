"""What any sink can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from msgspec import Struct

from parsl_pcm.mapping.keys import Key
from parsl_pcm.mapping.sinks.rows import Row


class DoneItem(Struct, frozen=True):
    """An item that an earlier run has done; its key or digest, if it has one."""

    index: int
    key: Key | None


@runtime_checkable
class Sink(Protocol):
    """Takes the results of one map. Every method is called from one thread at a time.

    A write may take as long as it must: the map goes on for a while, then waits for it.
    """

    def write(self, rows: Sequence[Row]) -> int | None:
        """Take rows, in the order in which they were finished, or of the items if that was asked.

        Returns
        -------
        int or None
            How many of them had a result that could not be written and were written as errors;
            None: 0.

        Raises
        ------
        Exception
            Ends the map with it.
        """
        ...

    def flush(self) -> None:
        """Make what was taken safe.

        Called about once a second while no results come, so it may also do so a little later.
        """
        ...

    def close(self, *, is_complete: bool) -> None:
        """Let go; nothing is written afterwards. Repeating it is safe.

        Parameters
        ----------
        is_complete
            Whether every item has its row. False: the map failed or was cancelled.
        """
        ...
