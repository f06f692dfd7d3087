"""The users of a pool in virtual time: what they submitted, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping

from parsl_pcm.core import actions, events
from parsl_pcm.simulator.engine.parts import Model, Tally, TaskTruth
from parsl_pcm.types import ContextKey, TaskId


class Users:
    """All tasks, and the results that were delivered.

    Parameters
    ----------
    models
        By the names that the scheduler uses.
    is_recording
        Whether the ``waits_s`` of tallies are kept: an entry for each piece.
    """

    def __init__(self, models: Mapping[ContextKey, Model], *, is_recording: bool) -> None:
        self.tallies = {model.name: Tally() for model in models.values()}
        self.tasks: dict[TaskId, TaskTruth] = {}
        self.call_items: dict[TaskId, int] = {}
        """Of calls that nobody may cut: how many items the one item of each really is."""
        self.ended_at = 0.0
        """When the last task ended, or the last result was delivered."""
        self.troubles: list[tuple[float, str, str]] = []
        """(time, context, what the user was told)."""
        self._is_recording = is_recording
        self._submitted_at: dict[TaskId, float] = {}
        """If that is recorded."""

    def new_task(
        self, name: str, truth: TaskTruth, num_items: int, *, is_mapped: bool, priority: int
    ) -> events.TaskSubmitted:
        """Return what the scheduler is told of a new task."""
        task_id = TaskId(len(self.tasks) + 1)
        self.tasks[task_id] = truth
        if truth.call_items != 1:
            self.call_items[task_id] = truth.call_items
        return events.TaskSubmitted(
            task_id=task_id,
            context_key=ContextKey(name),
            num_items=num_items,
            is_mapped=is_mapped,
            priority=priority,
        )

    def note_submission(self, task_id: TaskId, now: float) -> None:
        """Remember since when a task waits."""
        if self._is_recording:
            self._submitted_at[task_id] = now

    def deliver(self, action: actions.DeliverRange, now: float) -> None:
        """Take results."""
        task = self.tasks[action.task_id]
        tally = task.tally
        num_items = (action.stop - action.start) * task.call_items
        tally.num_items += num_items
        tally.by_variant[action.variant] += num_items
        if self._is_recording:
            tally.waits_s.append(now - self._submitted_at[action.task_id])
        tally.ended_at = self.ended_at = now

    def take(self, action: actions.Action, now: float) -> bool:
        """Take what else is for users; whether it is."""
        match action:
            case actions.FailTask() | actions.DeliverException():
                tally = self.tasks[action.task_id].tally
                tally.num_failed_tasks += 1
                tally.ended_at = self.ended_at = now
            case actions.TellTrouble(context_key=key, message=message):
                self.troubles.append((now, str(key), message))
            case _:
                return False
        return True
