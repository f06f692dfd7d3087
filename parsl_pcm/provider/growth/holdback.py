"""Holding back: how many blocks of a flavour may wait at once, and when none is asked for."""

from __future__ import annotations

import math

FIRST_WINDOW = 4
"""Blocks that may wait before the first one has started: enough to see whether any does."""
MAX_WINDOW = 256
"""Blocks in the queue at once that no scheduler minds."""
PATIENCE_S = 60.0
"""For a block to start where GPUs are idle; Slurm's slower passes are 30 to 60 s apart."""
REFUSAL_WAITS_S = (5.0, 300.0)
"""First and longest: a limit of the site may be lifted in minutes, a typing error never."""
LOSS_WAITS_S = (5.0, 120.0)
"""First and longest: in a storm GPUs are free for moments only; it passes within minutes."""
NUM_FREE_LOSSES = 2
"""In a row without holding back: GPUs that nobody reserved are lost now and then."""
FUTILE_WAITS_S = (5.0, 300.0)
"""First and longest: GPUs that turned out not to do will not do next time."""


class Backoff:
    """Waits that double with every setback, until something goes well.

    Setbacks during a wait count as one: what they befell had begun before the wait.

    Parameters
    ----------
    waits_s
        The first wait and the longest.
    num_free
        Setbacks in a row that cause no wait.
    """

    def __init__(self, waits_s: tuple[float, float], *, num_free: int = 0) -> None:
        self._first_s, self._longest_s = waits_s
        self._num_free = num_free
        self.num_in_row = 0
        self.until_s = -math.inf

    def set_back(self, now: float) -> bool:
        """Count a setback, unless a wait is on; return whether it counted."""
        if now < self.until_s:
            return False
        self.num_in_row += 1
        num_doublings = self.num_in_row - self._num_free - 1
        if num_doublings >= 0:
            wait_s = self._first_s * 2.0 ** min(num_doublings, 32)
            self.until_s = now + min(wait_s, self._longest_s)
        return True

    def shorten(self, now: float) -> None:
        """Wait no longer than after a first setback: something has changed."""
        self.until_s = min(self.until_s, now + self._first_s)

    def left(self, now: float) -> str:
        """Return the rest of the wait in words."""
        return f"{math.ceil(self.until_s - now)} s"

    def clear(self) -> None:
        """Begin again: something went well."""
        self.num_in_row = 0
        self.until_s = -math.inf


class HoldBack:
    """Whether one flavour may be asked for more, by what became of what was asked before."""

    def __init__(self) -> None:
        self.window = FIRST_WINDOW
        """Blocks that may wait at once."""
        self._silence = Backoff(REFUSAL_WAITS_S)
        """Submissions that the scheduler did not answer."""
        self._refusals: dict[int, Backoff] = {}
        """By size of block: a site may have no node for the largest."""
        self.losses = Backoff(LOSS_WAITS_S, num_free=NUM_FREE_LOSSES)
        """Blocks that were taken away, or failed, before they were worth their start."""
        self.futility = Backoff(FUTILE_WAITS_S)
        """Blocks that came up and could not be used, though work waited."""
        self.num_refused = 0
        """Submissions in a row that the scheduler turned down, for a reason that stays."""
        self.num_failed = 0
        """Blocks in a row that ended by themselves before their manager registered."""
        self.words = ""
        """Of the scheduler, about the last setback."""
        self.probe_trouble: str | None = None
        """Why it cannot be told now what is idle."""
        self.book_trouble: str | None = None
        """Why it cannot be told now what became of our jobs."""
        self._shrunk_s = -math.inf

    def was_accepted(self, num_gpus: int) -> None:
        """Note that the scheduler took a submission."""
        self._silence.clear()
        self._refusals.pop(num_gpus, None)
        self.num_refused = 0

    def was_refused(self, num_gpus: int, words: str, now: float, *, is_transient: bool) -> None:
        """Note that the scheduler turned a submission down, or did not answer."""
        self.words = words
        if is_transient:
            self._silence.set_back(now)
            return
        refusals = self._refusals.setdefault(num_gpus, Backoff(REFUSAL_WAITS_S))
        if refusals.set_back(now):
            self.num_refused += 1

    def block_started(self) -> None:
        """Note that a block has got its node."""
        self.window = min(2 * self.window, MAX_WINDOW)

    def block_stays_waiting(self, num_waiting: int, now: float) -> None:
        """Note that a block waits though GPUs are idle."""
        if now - self._shrunk_s >= PATIENCE_S:
            self._shrunk_s = now
            self.window = max(min(self.window, num_waiting) // 2, 1)

    def block_failed(self, words: str) -> None:
        """Note that a block ended by itself before its manager registered."""
        self.num_failed += 1
        self.words = words

    def block_ended(self, now: float) -> None:
        """Note that there is a place free again, which a limit of the site may have withheld."""
        for refusals in self._refusals.values():
            refusals.shorten(now)

    def block_registered(self) -> None:
        """Note that a manager has registered: the environment is sound."""
        self.num_failed = 0

    def why(self, now: float, num_gpus: int) -> str | None:
        """Return why no block of this size may be asked for now; None if one may."""
        if self.probe_trouble is not None:
            return f"its idle GPUs are unknown ({self.probe_trouble})"
        if self.book_trouble is not None:
            return f"the state of our jobs is unknown ({self.book_trouble})"
        for backoff, what in self._waits(num_gpus):
            if now < backoff.until_s:
                what = what.format(words=self.words, num=backoff.num_in_row)
                return f"{what}, next try in {backoff.left(now)}"
        return None

    def _waits(self, num_gpus: int) -> list[tuple[Backoff, str]]:
        waits = [
            (self._silence, "a submission was not answered ({words})"),
            (self.losses, "{num} blocks in a row were lost soon after their start"),
            (self.futility, "its last blocks could not be used"),
        ]
        if num_gpus in self._refusals:
            waits.append((self._refusals[num_gpus], "a block was refused ({words})"))
        return waits
