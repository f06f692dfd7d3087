"""What the user is told of a context: each thing once, however often it happens."""

from __future__ import annotations

from parsl_pcm.core import actions
from parsl_pcm.core.actions import Action
from parsl_pcm.core.blame import Explanation
from parsl_pcm.core.records import ContextRecord


class Troubles:
    """The news about contexts.

    Parameters
    ----------
    decided
        Where decisions are appended; the scheduler hands them out.
    """

    def __init__(self, decided: list[Action]) -> None:
        self._decided = decided

    def tell(self, context: ContextRecord, topic: str, why: Explanation) -> None:
        """Tell the user of trouble, unless the same has been told of this context."""
        context.trouble = why.message
        if topic not in context.told:
            context.told.add(topic)
            self._decided.append(
                actions.TellTrouble(
                    context_key=context.context_key, message=why.message, log_tail=why.log_tail
                )
            )
