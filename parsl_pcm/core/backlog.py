"""The pieces of one context that wait, in the order in which they shall run."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parsl_pcm.core.records import PieceRecord, TaskRecord
    from parsl_pcm.types import TaskId


class Backlog:
    """A priority queue of pieces; those of a task that ended are dropped when they come up.

    A piece does not change while it waits.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, int, PieceRecord]] = []
        self._num_waiting = 0
        self._num_items = 0
        self._num_of_task: dict[TaskId, tuple[int, int]] = {}
        """Pieces and items."""

    def __len__(self) -> int:
        return self._num_waiting

    @property
    def num_items(self) -> int:
        """Number of items of the pieces that wait."""
        return self._num_items

    def push(self, piece: PieceRecord) -> None:
        """Add a piece at its place: by priority, then task, then item."""
        task = piece.task
        heapq.heappush(self._heap, (task.priority, task.task_id, piece.start, piece))
        self._count(task.task_id, 1, piece.stop - piece.start)

    def first(self) -> PieceRecord:
        """Return the first piece.

        Raises
        ------
        IndexError
            If none waits.
        """
        while not self._heap[0][3].task.is_open:
            heapq.heappop(self._heap)
        return self._heap[0][3]

    def pop(self) -> PieceRecord:
        """Remove and return the first piece.

        Raises
        ------
        IndexError
            If none waits.
        """
        while True:
            piece = heapq.heappop(self._heap)[3]
            if piece.task.is_open:
                self._count(piece.task.task_id, -1, piece.start - piece.stop)
                return piece

    def replace_first(self, rest: PieceRecord) -> PieceRecord:
        """Remove and return the first piece, of which the rest waits in its place.

        Raises
        ------
        IndexError
            If none waits.
        """
        piece = self.first()
        self._heap[0] = (piece.task.priority, piece.task.task_id, rest.start, rest)
        self._count(piece.task.task_id, 0, piece.start - rest.start)
        return piece

    def forget(self, task: TaskRecord) -> None:
        """Stop counting the pieces of a task that is open no more."""
        num_pieces, num_items = self._num_of_task.pop(task.task_id, (0, 0))
        self._num_waiting -= num_pieces
        self._num_items -= num_items
        if not self._num_waiting:
            self._heap.clear()

    def pieces(self) -> list[PieceRecord]:
        """Return the waiting pieces in order. Takes linear time."""
        return [entry[3] for entry in sorted(self._heap) if entry[3].task.is_open]

    def _count(self, task_id: TaskId, num_pieces: int, num_items: int) -> None:
        self._num_waiting += num_pieces
        self._num_items += num_items
        of_task = self._num_of_task.get(task_id)
        if of_task is not None:
            num_pieces, num_items = num_pieces + of_task[0], num_items + of_task[1]
        if num_pieces:
            self._num_of_task[task_id] = (num_pieces, num_items)
        else:
            del self._num_of_task[task_id]
