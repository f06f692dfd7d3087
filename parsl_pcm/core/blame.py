"""What went wrong, in words, and what it was held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parsl_pcm.core.records import ContextRecord, PieceRecord


@dataclass(slots=True, eq=False)
class Explanation:
    """What a person is told about something that went wrong."""

    message: str
    remote_traceback: str = ""
    log_tail: str = ""


@dataclass(slots=True, eq=False)
class Blame:
    """A death of a host that was held against what it ran or built: unjustly, if its node ends."""

    at: float
    context: ContextRecord
    pieces: list[PieceRecord]
    """What ran; empty if the host was still building the context."""

    def forgive(self) -> None:
        """Count the death no more."""
        if self.pieces:
            self.context.num_deaths = max(0, self.context.num_deaths - 1)
        else:
            self.context.num_setup_deaths = max(0, self.context.num_setup_deaths - 1)
        for piece in self.pieces:
            piece.forgive()
