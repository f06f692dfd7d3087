"""One file for each run: everything that the scheduler heard and decided, in order.

The interchange writes a line for each ``scheduler.handle`` call; what we show of a run is computed
from these lines (:mod:`parsl_pcm.metrics`), and ``replay`` feeds them to a fresh scheduler, which
must decide the same. The lines are JSON, the first one a header. Arguments, results and the
environment of contexts never reach the scheduler, so they are not in here either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import msgspec
from msgspec import Struct

from parsl_pcm.core.actions import Action
from parsl_pcm.core.events import Event
from parsl_pcm.core.policy import DefaultPolicy
from parsl_pcm.core.scheduler import Scheduler
from parsl_pcm.types import NodeResources
from parsl_pcm.version import VERSION

FORMAT_VERSION = 4
"""Raised by one with every change of a line that an older reader would misread."""

_BUFFER_BYTES = 1 << 18
"""About a thousand lines: so few writes to a shared file system do not hold up the interchange."""


class LogHeader(Struct, frozen=True, kw_only=True):
    """First line of a log: what a replay needs to build the same scheduler."""

    label: str
    """Of the executor."""
    started_wall_s: float
    """Seconds since the epoch, for a person; the lines count from here on a steady clock."""
    max_attempts: int
    heartbeat_threshold_s: float
    fixed_prefetch: int | None
    notice_s: float
    possible_nodes: tuple[NodeResources, ...]
    format_version: int = FORMAT_VERSION
    pcm_version: str = VERSION


class LogRecord(Struct, frozen=True, kw_only=True, gc=False):
    """Any other line: one call of ``scheduler.handle``."""

    now: float
    """Exactly what the scheduler got: seconds since the start of the log."""
    event: Event
    actions: Sequence[Action]


class EventLogError(ValueError):
    """A file that is no event log, or one that this version cannot read."""


class EventLog:
    """The log while it is written.

    Lines are buffered: the owner calls ``flush`` when it is idle and at least every second, so
    that a crash loses no more than that.

    Parameters
    ----------
    path
        Must not exist yet.
    header
        Written to the disk at once.

    Raises
    ------
    FileExistsError
        If there is such a file: a log is never overwritten.
    OSError
        Here or from any method, if it cannot be written.
    """

    def __init__(self, path: Path, header: LogHeader) -> None:
        self._encode = msgspec.json.Encoder().encode
        self._file = path.open("xb", buffering=_BUFFER_BYTES)
        self._file.write(self._encode(header) + b"\n")
        self.flush()

    def append(self, now: float, event: Event, actions: Sequence[Action]) -> None:
        """Add a line; ``now`` is the same float that the scheduler got."""
        record = LogRecord(now=now, event=event, actions=actions)
        self._file.write(self._encode(record) + b"\n")

    def flush(self) -> None:
        """Hand all lines to the operating system."""
        self._file.flush()

    def close(self) -> None:
        """Write what is left. Repeating it is safe."""
        self._file.close()

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Log(NamedTuple):
    """A log that is read."""

    header: LogHeader
    records: Iterator[LogRecord]
    """In order, read as they are asked for; a line that a crash cut short is left out."""


def read_log(path: Path) -> Log:
    """Open a log, finished or still being written.

    Raises
    ------
    EventLogError
        If the file has no header, or one of another format; and from the iterator, if one of its
        lines is damaged.
    """
    lines = _whole_lines(path)
    return Log(_read_header(path, next(lines, b"")), _read_records(path, lines))


class Difference(NamedTuple):
    """Where a replay first decided otherwise."""

    line: int
    """Line of the log, counted from 1."""
    record: LogRecord
    replayed: list[Action]


def replay(path: Path) -> Difference | None:
    """Feed the events of a log into a fresh scheduler; return the first difference, if any."""
    header, records = read_log(path)
    scheduler = build_scheduler(header)
    for line, record in enumerate(records, start=2):
        replayed = scheduler.handle(record.event, record.now)
        if replayed != record.actions:
            return Difference(line, record, replayed)
    return None


def build_scheduler(header: LogHeader) -> Scheduler:
    """Return a fresh scheduler with the settings of a log: the same for live runs and replays."""
    return Scheduler(
        policy=DefaultPolicy(fixed_prefetch=header.fixed_prefetch),
        max_attempts=header.max_attempts,
        heartbeat_threshold_s=header.heartbeat_threshold_s,
        notice_s=header.notice_s,
        possible_nodes=header.possible_nodes,
    )


class _Version(Struct):
    """What the header of any format has."""

    format_version: int
    pcm_version: str


def _read_header(path: Path, line: bytes) -> LogHeader:
    try:
        version = msgspec.json.decode(line, type=_Version)
        if version.format_version == FORMAT_VERSION:
            return msgspec.json.decode(line, type=LogHeader)
    except msgspec.DecodeError as error:
        raise EventLogError(
            f"{path} does not begin with the header of an event log ({error}); give the file that "
            f"the interchange wrote into the run directory"
        ) from error
    raise EventLogError(
        f"{path} is an event log of format {version.format_version}, written by parsl_pcm "
        f"{version.pcm_version}; this is parsl_pcm {VERSION}, which reads format {FORMAT_VERSION}. "
        f"Read it with the version that wrote it"
    )


def _read_records(path: Path, lines: Iterator[bytes]) -> Iterator[LogRecord]:
    decoder = msgspec.json.Decoder(LogRecord)
    for number, line in enumerate(lines, start=2):
        try:
            yield decoder.decode(line)
        except msgspec.DecodeError as error:
            raise EventLogError(f"line {number} of {path} is damaged: {error}") from error


def _whole_lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield line
