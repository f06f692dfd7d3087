"""What the scheduler of a pool in virtual time heard, and when."""

from __future__ import annotations

from parsl_pcm.core import events
from parsl_pcm.eventlog import LogRecord


class Seen:
    """All that the scheduler heard."""

    def __init__(self) -> None:
        self.records: list[LogRecord] = []

    def observe(self, record: LogRecord) -> None:
        self.records.append(record)

    def of(self, *kinds: type) -> list[tuple[float, events.Event]]:
        return [
            (round(record.now, 6), record.event)
            for record in self.records
            if isinstance(record.event, kinds)
        ]

    def times(self, *kinds: type) -> list[float]:
        return [now for now, _ in self.of(*kinds)]
