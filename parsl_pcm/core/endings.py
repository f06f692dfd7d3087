"""How tasks and items end, and when what waits for a context is hopeless.

What raises or kills its host ends an ordinary task. The pieces of a mapped one are narrowed down
(``narrowing.py``) to the items that do it.
"""

from __future__ import annotations

from collections.abc import Sequence

from parsl_pcm.core import actions
from parsl_pcm.core.actions import Action, FailureReason
from parsl_pcm.core.cluster import Cluster
from parsl_pcm.core.dispatch import Dispatcher
from parsl_pcm.core.events import HostExited
from parsl_pcm.core.explain import explain_kill, explain_misfit, explain_setup
from parsl_pcm.core.narrowing import MAX_PARTS, Span, split_killer, split_raised
from parsl_pcm.core.records import (
    ContextRecord,
    Explanation,
    LeaseRecord,
    PieceRecord,
    TaskRecord,
)
from parsl_pcm.core.transitions import HostState, TaskState
from parsl_pcm.types import NodeResources

MAX_SETUP_FAILURES = 2
"""A set-up that failed on so many nodes and never worked is the recipe's fault, not the nodes'."""


class Endings:
    """The decisions that end tasks.

    Parameters
    ----------
    cluster, dispatcher
        The state of the run, and who changes its hosts.
    decided
        Where decisions are appended; the scheduler hands them out.
    max_attempts
        A task or item that was running when so many hosts died is given up.
    possible_nodes
        Kinds of nodes that may still come.
    """

    def __init__(
        self,
        cluster: Cluster,
        dispatcher: Dispatcher,
        decided: list[Action],
        *,
        max_attempts: int,
        possible_nodes: Sequence[NodeResources],
    ) -> None:
        self._cluster = cluster
        self._dispatcher = dispatcher
        self._decided = decided
        self._max_attempts = max_attempts
        self._possible_nodes = possible_nodes

    def end(self, task: TaskRecord, state: TaskState) -> None:
        """End a task: nothing of it is sent any more, what runs is asked back."""
        self._cluster.close_task(task, state)
        for lease in task.leases.values():
            self._dispatcher.revoke(lease)
        self._decided.append(actions.ForgetTask(task_id=task.task_id))

    def finish_if_done(self, task: TaskRecord) -> None:
        """End a task of which every item is over."""
        if task.is_open and task.num_delivered == task.num_items:
            self.end(task, TaskState.FINISHED)

    def fail(
        self,
        task: TaskRecord,
        reason: FailureReason,
        why: Explanation,
        item: int | None = None,
    ) -> None:
        """End a task without a result; because of this item, if of one."""
        self.end(task, TaskState.FAILED)
        self._decided.append(
            actions.FailTask(
                task_id=task.task_id,
                reason=reason,
                message=why.message,
                remote_traceback=why.remote_traceback,
                log_tail=why.log_tail,
                item=item,
            )
        )

    # --- what raised, or killed its host ------------------------------------------------------

    def blame_exception(self, lease: LeaseRecord) -> None:
        """Deliver the exception that a piece raised, once it is known which item did."""
        piece, task = lease.piece, lease.piece.task
        if task.is_mapped and piece.num_items > 1:
            left = Span(piece.start, piece.stop)
            parts = split_raised(left, has_progressed=lease.has_reported)
            self._cluster.split(piece, parts, self._cluster.now)
        elif task.is_tolerant:
            self._decided.append(
                actions.DeliverItemException(task_id=task.task_id, item=piece.start)
            )
            self._pass_over(piece)
        else:
            self.end(task, TaskState.FAILED)
            item = piece.start if task.is_mapped else None
            self._decided.append(actions.DeliverException(task_id=task.task_id, item=item))

    def distrust(self, task: TaskRecord) -> None:
        """End a task of which delivered results may be those of other items, tolerant or not."""
        if task.is_open:
            self.end(task, TaskState.FAILED)
            self._decided.append(actions.DeliverException(task_id=task.task_id))

    def blame_deaths(self, leases: Sequence[LeaseRecord], death: HostExited) -> None:
        """Let the pieces that ran when their host died wait as suspects, or give them up."""
        for lease in leases:
            piece = lease.piece
            if piece.task.is_mapped and piece.num_items > 1:
                max_parts = max(1, MAX_PARTS // len(leases))
                left = Span(piece.start, piece.stop)
                parts = split_killer(left, has_progressed=lease.has_reported, max_parts=max_parts)
                self._cluster.split(piece, parts, self._cluster.now)
            elif piece.num_kills < self._max_attempts:
                self._cluster.enqueue(piece, self._cluster.now)
            elif piece.is_wanted:
                self._give_up(piece, explain_kill(piece, death))

    def _give_up(self, piece: PieceRecord, why: Explanation) -> None:
        """Say that a piece kills hosts: it is an ordinary task, or one item."""
        task, reason = piece.task, FailureReason.KILLS_HOST
        if not task.is_tolerant:
            self.fail(task, reason, why, piece.start if task.is_mapped else None)
            return
        self._decided.append(
            actions.FailItem(
                task_id=task.task_id,
                item=piece.start,
                reason=reason,
                message=why.message,
                log_tail=why.log_tail,
            )
        )
        self._pass_over(piece)

    def _pass_over(self, piece: PieceRecord) -> None:
        """Go on without an item that cannot be done: that was told, so it is over."""
        piece.start = piece.stop
        self._cluster.count_delivered(piece.task, 1)
        self.finish_if_done(piece.task)

    # --- hopeless contexts --------------------------------------------------------------------

    def fits_somewhere(self, context: ContextRecord) -> bool:
        """Fail what waits for a context that no node known so far, or to come, could ever hold."""
        capacity = self._cluster.capacity
        if capacity.could_ever_fit(context.requirements):
            return True
        why = explain_misfit(context, capacity.kinds(), self._possible_nodes)
        self._fail_waiting(context, FailureReason.DOES_NOT_FIT, why)
        return False

    def give_up_if_hopeless(self, context: ContextRecord) -> None:
        """Fail what waits for a context that fails everywhere, with the first failure."""
        num_failures = len(context.failures)
        if num_failures == 0:
            return
        never_worked = context.num_ready_ever == 0 and num_failures >= MAX_SETUP_FAILURES
        has_chance = context.hosts or self._cluster.has_untried_manager(context)
        if has_chance and not never_worked:
            return
        why = explain_setup(context)
        context.failures.clear()
        context.num_setup_deaths = 0
        for host in list(context.hosts.values()):
            if host.state is HostState.STARTING:
                self._dispatcher.placement.stop_host(host)
        self._fail_waiting(context, FailureReason.SETUP_FAILED, why)

    def _fail_waiting(
        self, context: ContextRecord, reason: FailureReason, why: Explanation
    ) -> None:
        waiting = [*context.suspects.pieces(), *context.backlog.pieces()]
        for task in {piece.task.task_id: piece.task for piece in waiting}.values():
            self.fail(task, reason, why)
