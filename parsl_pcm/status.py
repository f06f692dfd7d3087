"""What a person may want to know of a running executor."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextStatus:
    """A context at one moment.

    Attributes
    ----------
    loading, warm
        Hosts that are building it; hosts in which it is live.
    queued, running
        Pieces of calls that wait for it, and that use it now.
    setup_s, item_s
        Running means of what a set-up and an item took; None until one was measured.
    """

    name: str
    context_key: str
    loading: int
    warm: int
    queued: int
    running: int
    setup_s: float | None
    item_s: float | None
