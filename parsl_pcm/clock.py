"""The only place that reads a clock."""

from __future__ import annotations

import time


def monotonic_s() -> float:
    """Return monotonic seconds: for durations and deadlines, never across processes."""
    return time.monotonic()


def wall_s() -> float:
    """Return seconds since the epoch: for people, and to compare with what a site tells in them."""
    return time.time()
