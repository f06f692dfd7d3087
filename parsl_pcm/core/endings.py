"""How tasks end, and when what waits for a context is hopeless."""

from __future__ import annotations

from collections.abc import Sequence

from parsl_pcm.core import actions
from parsl_pcm.core.actions import Action, FailureReason
from parsl_pcm.core.cluster import Cluster
from parsl_pcm.core.dispatch import Dispatcher
from parsl_pcm.core.explain import explain_misfit, explain_setup
from parsl_pcm.core.records import ContextRecord, Explanation, TaskRecord
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
    possible_nodes
        Kinds of nodes that may still come.
    """

    def __init__(
        self,
        cluster: Cluster,
        dispatcher: Dispatcher,
        decided: list[Action],
        possible_nodes: Sequence[NodeResources],
    ) -> None:
        self._cluster = cluster
        self._dispatcher = dispatcher
        self._decided = decided
        self._possible_nodes = possible_nodes

    def end(self, task: TaskRecord, state: TaskState) -> None:
        """End a task: nothing of it is sent any more, what runs is asked back."""
        self._cluster.close_task(task, state)
        for lease in task.leases.values():
            self._dispatcher.revoke(lease)
        self._decided.append(actions.ForgetTask(task_id=task.task_id))

    def fail(self, task: TaskRecord, reason: FailureReason, why: Explanation) -> None:
        """End a task without a result."""
        self.end(task, TaskState.FAILED)
        self._decided.append(
            actions.FailTask(
                task_id=task.task_id,
                reason=reason,
                message=why.message,
                remote_traceback=why.remote_traceback,
                log_tail=why.log_tail,
            )
        )

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
                self._dispatcher.stop_host(host)
        self._fail_waiting(context, FailureReason.SETUP_FAILED, why)

    def _fail_waiting(
        self, context: ContextRecord, reason: FailureReason, why: Explanation
    ) -> None:
        waiting = [*context.suspects.pieces(), *context.backlog.pieces()]
        for task in {piece.task.task_id: piece.task for piece in waiting}.values():
            self.fail(task, reason, why)
