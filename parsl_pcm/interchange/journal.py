"""What is kept of a run while it goes on: the event log on disk, and the metrics of it so far."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from parsl_pcm.clock import wall_s
from parsl_pcm.config import InterchangeConfig
from parsl_pcm.core.actions import Action
from parsl_pcm.core.events import Event
from parsl_pcm.eventlog import EventLog, LogHeader, LogRecord
from parsl_pcm.metrics import Metrics

logger = logging.getLogger(__name__)


def header_of(config: InterchangeConfig) -> LogHeader:
    """Return the header of the event log of a run that begins now."""
    return LogHeader(
        label=config.label,
        started_wall_s=wall_s(),
        max_attempts=config.max_attempts,
        heartbeat_threshold_s=config.heartbeat_threshold_s,
        fixed_prefetch=config.prefetch_capacity,
        notice_s=config.notice_s,
        possible_nodes=config.possible_nodes,
    )


class Journal:
    """The event log and the metrics of a run.

    A disk that fills up ends the log, with an error in ours, and never the run.
    """

    def __init__(self, path: Path, header: LogHeader) -> None:
        self._path = path
        self._metrics = Metrics()
        self._log: EventLog | None = EventLog(path, header)

    def record(self, event: Event, decided: Sequence[Action], now: float) -> None:
        """Take down one step of the scheduler."""
        self._metrics.observe(LogRecord(now=now, event=event, actions=decided))
        if self._log is not None:
            try:
                self._log.append(now, event, decided)
            except OSError as error:
                self._give_up(error)

    def flush(self) -> None:
        """Bring what was recorded to the disk."""
        if self._log is not None:
            try:
                self._log.flush()
            except OSError as error:
                self._give_up(error)

    def summary(self) -> str:
        """Return five lines about the run so far."""
        return self._metrics.summary(str(self._path))

    def close(self) -> None:
        """Flush, and end the log."""
        self.flush()
        if self._log is not None:
            self._log.close()

    def _give_up(self, error: OSError) -> None:
        logger.error("the event log %s ends here, the run goes on: %s", self._path, error)
        self._log = None
