"""How tasks and items end, and when what waits for a context is hopeless.

What raises or kills its host ends an ordinary task. The pieces of a mapped one are narrowed down
(``narrowing.py``) to the items that do it.
"""

from __future__ import annotations

from collections.abc import Sequence

from parsl_pcm.core import actions
from parsl_pcm.core.actions import Action, FailureReason
from parsl_pcm.core.blame import Explanation
from parsl_pcm.core.capacity import could_hold
from parsl_pcm.core.cluster import Cluster
from parsl_pcm.core.dispatch import Dispatcher
from parsl_pcm.core.events import HostExited
from parsl_pcm.core.explain import (
    explain_kill,
    explain_misfit,
    explain_not_warm,
    explain_setup,
    explain_waiting,
)
from parsl_pcm.core.narrowing import MAX_PARTS, Span, split_killer, split_raised
from parsl_pcm.core.quarantine import Quarantine
from parsl_pcm.core.records import ContextRecord, LeaseRecord, PieceRecord, TaskRecord
from parsl_pcm.core.rooms import fit
from parsl_pcm.core.transitions import HostState, ManagerState, TaskState
from parsl_pcm.core.troubles import Troubles
from parsl_pcm.types import NodeResources

MAX_ALIKE = 2
"""A set-up that never worked and went wrong in the same way on so many nodes: the recipe is bad."""
MAX_FAILURES = 3
"""Likewise, in whatever ways."""
SOON_S = 60.0
"""A context that has worked waits so long for the end of a quarantine, if nothing else is left."""


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
        self.troubles = Troubles(decided)
        """What users are told of contexts that go on."""
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
        """Fail what waits for a context that no node known so far, or to come, could ever hold.

        What waits for a node that was never there is told so.
        """
        capacity = self._cluster.capacity
        kinds = capacity.kinds()
        if any(fit(kind, context) is not None for kind in kinds):
            context.told.discard("waits")
            return True
        if capacity.could_ever_fit(context):
            if kinds:
                self.troubles.tell(context, "waits", explain_waiting(context, kinds))
            return True
        why = explain_misfit(context, kinds, self._possible_nodes)
        self._fail_waiting(context, FailureReason.DOES_NOT_FIT, why)
        return False

    def give_up_if_hopeless(self, context: ContextRecord) -> None:
        """Fail what waits for a context that cannot be built, with the first failure.

        The next call tries again. Nothing keeps it warm any more: nobody would hear that it fails.
        """
        if not context.quarantine or not self._is_hopeless(context):
            return
        why = explain_setup(context)
        if context.num_warm:
            context.num_warm = 0
            self.troubles.tell(context, f"warm: {why.message}", explain_not_warm(context, why))
        context.quarantine.clear()
        context.num_setup_deaths = 0
        for host in list(context.hosts.values()):
            if host.state is HostState.STARTING:
                self._dispatcher.placement.stop_host(host)
        self._fail_waiting(context, FailureReason.SETUP_FAILED, why)

    def _is_hopeless(self, context: ContextRecord) -> bool:
        """Whether a context that failed on some nodes will not work on any.

        Where most of its hosts are still at it, one of them may show that it is the nodes.
        """
        never_worked = context.num_ready_ever == 0
        quarantine = context.quarantine
        if never_worked and len(quarantine) > context.num_starting and is_recipe_bad(quarantine):
            return True
        if context.hosts or context.asleep:
            return False
        managers = [m for m in self._cluster.managers.values() if m.state is ManagerState.ACTIVE]
        fitting = [m for m in managers if could_hold(m, context)]
        if never_worked:
            return all(manager.manager_id in quarantine for manager in fitting)
        soon = self._cluster.now + SOON_S
        return not any(context.may_try(manager, soon) for manager in fitting)

    def _fail_waiting(
        self, context: ContextRecord, reason: FailureReason, why: Explanation
    ) -> None:
        waiting = [*context.suspects.pieces(), *context.backlog.pieces()]
        for task in {piece.task.task_id: piece.task for piece in waiting}.values():
            self.fail(task, reason, why)


def is_recipe_bad(quarantine: Quarantine) -> bool:
    """Whether so many nodes have failed that it is the recipe's fault, if it never worked."""
    return len(quarantine) >= MAX_FAILURES or quarantine.num_alike() >= MAX_ALIKE
