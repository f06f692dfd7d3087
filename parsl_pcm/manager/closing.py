"""What the site's signals mean to a manager, and to what it reports from then on. Pure."""

from __future__ import annotations

import enum
import signal
from collections.abc import Iterable

from parsl_pcm.types import LeaseId
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.messages import PieceFailed, PieceRevoked

NOTICES = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""By which sites say that they take a node back.

SIGTERM: all of them. SIGUSR1: Slurm, as ``--signal=B:USR1`` asks. SIGUSR2: Grid Engine (``qsub
-notify``) and LSF before they kill.
"""
PATIENCE_S = 60.0
"""For an interchange that is silent after it was told of a notice; most sites kill sooner."""
_SAME_NOTICE_S = 0.5
"""One notice may come twice: to the process, and to all of its group or job."""


class Answer(enum.Enum):
    """What a manager does when a signal has come."""

    CLOSE = "close"
    """Takes nothing new, finishes what it can."""
    LEAVE = "leave"
    """Goes at once."""
    GO_ON = "go_on"
    """It knows that already."""


class Closing:
    """The last part of a manager's life, once the site has said that it takes the node back.

    Attributes
    ----------
    since_s
        Monotonic time of the notice; None: there was none.
    """

    def __init__(self) -> None:
        self.since_s: float | None = None

    def answer(self, signum: int, *, now: float, has_work: bool) -> Answer:
        """Return what a signal asks for: the first notice to close, the second one to leave.

        Parameters
        ----------
        has_work
            Whether there is something to finish.
        """
        if signum not in NOTICES:
            return Answer.LEAVE
        noticed_s = self.since_s
        if noticed_s is None:
            self.since_s = now
        if not has_work:
            return Answer.LEAVE
        if noticed_s is None:
            return Answer.CLOSE
        is_second = signum == signal.SIGTERM and now - noticed_s > _SAME_NOTICE_S
        return Answer.LEAVE if is_second else Answer.GO_ON

    def excuse(self, envelope: Envelope) -> Envelope:
        """Return a failed piece as one to run elsewhere, after a notice.

        The signal may have ended the engine behind the call; a call that fails by itself does so
        again.
        """
        if self.since_s is not None and isinstance(envelope.message, PieceFailed):
            return Envelope(PieceRevoked(lease_id=envelope.message.lease_id))
        return envelope

    def excuse_death(self, lease_ids: Iterable[LeaseId]) -> list[Envelope]:
        """Return what to say first when a host died: after a notice, its pieces did not kill it."""
        if self.since_s is None:
            return []
        return [Envelope(PieceRevoked(lease_id=lease_id)) for lease_id in lease_ids]
