"""How far the source may run ahead of the results, and how fast they come."""

from __future__ import annotations

from collections import deque

MAX_SENT_BYTES = 128 << 20
"""Of frames under way: the interchange holds them. Of prompts of 600 bytes 200,000: a hundred GPUs
that each do 30 a second are busy for a minute."""
MAX_HELD_BYTES = 128 << 20
"""Of results that nobody has taken, with those that what is under way will bring."""
MAX_ITEMS = 1 << 20
"""Under way, or done and not taken: their keys are held, about 100 bytes each."""
FIRST_ITEMS = 1 << 15
"""Under way before the first result shows how large results are."""
MIN_ITEMS = 1024
"""Under way however large results are, unless more are held than may be: hosts need something."""

RATE_S = 30.0
"""The rate is that of the last so many seconds: it follows what hosts come and go."""
_SAMPLE_S = 1.0


class Window:
    """Counts what is under way and what is held, and says whether more may be sent."""

    def __init__(self) -> None:
        self.num_sent = 0
        self.num_held = 0
        self.held_bytes = 0
        self._sent_bytes = 0
        self._num_seen = 0
        self._seen_bytes = 0

    def send(self, num_items: int, num_bytes: int) -> None:
        """Count what was sent."""
        self.num_sent += num_items
        self._sent_bytes += num_bytes

    def end(self, num_items: int, num_bytes: int) -> None:
        """Count what was sent and is not under way any more, but for :meth:`hold`."""
        self.num_sent -= num_items
        self._sent_bytes -= num_bytes

    def hold(self, num_items: int, num_bytes: int) -> None:
        """Count results that wait."""
        self.num_held += num_items
        self.held_bytes += num_bytes

    def learn(self, num_items: int, num_bytes: int) -> None:
        """Expect results of this size."""
        self._num_seen += num_items
        self._seen_bytes += num_bytes

    def release(self, num_items: int, num_bytes: int) -> None:
        """Count results that were taken."""
        self.num_held -= num_items
        self.held_bytes -= num_bytes

    @property
    def is_open(self) -> bool:
        """Whether more may be sent."""
        return self._sent_bytes < MAX_SENT_BYTES and not self.is_held_up

    @property
    def is_held_up(self) -> bool:
        """Whether nothing more may be sent until results are taken, or known better."""
        if self.held_bytes >= MAX_HELD_BYTES or self.num_sent + self.num_held >= MAX_ITEMS:
            return True
        if not self._num_seen:
            return self.num_sent >= FIRST_ITEMS
        expected_bytes = self.num_sent * self._seen_bytes / self._num_seen
        return self.num_sent >= MIN_ITEMS and self.held_bytes + expected_bytes >= MAX_HELD_BYTES


class Pace:
    """Measures how many items are done a second."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque(maxlen=int(RATE_S / _SAMPLE_S))

    def note(self, num_done: int, *, now: float) -> None:
        """Take note of how many items are done so far."""
        if not self._samples or now - self._samples[-1][0] >= _SAMPLE_S:
            self._samples.append((now, num_done))

    def items_per_s(self, num_done: int, *, now: float) -> float:
        """Return the rate of late; 0.0 before there is one."""
        recent = [sample for sample in self._samples if now - sample[0] <= RATE_S]
        since, num_then = (recent or [(now, num_done)])[0]
        return (num_done - num_then) / (now - since) if now > since else 0.0
