"""The pieces of one context that wait, in the order in which they shall run."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parsl_pcm.core.records import PieceRecord, TaskRecord
    from parsl_pcm.types import TaskId


class Backlog:
    """A priority queue of pieces; those of a task that ended are dropped when they come up."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, int, PieceRecord]] = []
        self._num_waiting = 0
        self._num_of_task: dict[TaskId, int] = {}

    def __len__(self) -> int:
        return self._num_waiting

    def push(self, piece: PieceRecord) -> None:
        """Add a piece at its place: by priority, then task, then item."""
        task = piece.task
        heapq.heappush(self._heap, (task.priority, task.task_id, piece.start, piece))
        self._num_of_task[task.task_id] = self._num_of_task.get(task.task_id, 0) + 1
        self._num_waiting += 1

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
                self._uncount(piece.task.task_id)
                return piece

    def forget(self, task: TaskRecord) -> None:
        """Stop counting the pieces of a task that is open no more."""
        self._num_waiting -= self._num_of_task.pop(task.task_id, 0)
        if not self._num_waiting:
            self._heap.clear()

    def pieces(self) -> list[PieceRecord]:
        """Return the waiting pieces in order. Takes linear time."""
        return [entry[3] for entry in sorted(self._heap) if entry[3].task.is_open]

    def _uncount(self, task_id: TaskId) -> None:
        self._num_waiting -= 1
        self._num_of_task[task_id] -= 1
        if not self._num_of_task[task_id]:
            del self._num_of_task[task_id]
