"""Processes that have imported what a host needs before that host is wanted.

Imports are the longest part of some set-ups. So beside a context that says what it imports, one
process is kept that has done so, and the next host of its kind on this node is made of it.
"""

from __future__ import annotations

import logging
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from parsl_pcm.manager.processes import (
    Child,
    lower_priority,
    restore_priority,
    signal_group,
    spawn,
)
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.messages import PrepareHost

logger = logging.getLogger(__name__)

MEMORY_FACTOR = 2
"""A spare needs as much free memory as this many hosts hold that are ready: it takes a part of one,
and must not be what drives the node out of memory."""


class SpareKind(Struct, frozen=True, kw_only=True):
    """What hosts must have in common for a spare to become any of them."""

    imports: tuple[str, ...]
    env: frozenset[tuple[str, str]]
    num_threads: int | None
    """OpenMP reads its number once, when it is loaded."""


class Spares:
    """At most one spare process of each kind.

    Parameters
    ----------
    log_dir
        Where a spare logs until it is a host.
    """

    def __init__(self, log_dir: Path) -> None:
        self._log_dir = log_dir
        self._children: dict[SpareKind, Child] = {}
        self._num_started = 0

    def has(self, kind: SpareKind) -> bool:
        """Whether there is one of this kind."""
        return kind in self._children

    def start(self, kind: SpareKind, environment: Mapping[str, str]) -> None:
        """Start one, at low priority; if the system refuses, there is none."""
        self._num_started += 1
        log_path = self._log_dir / f"spare-{self._num_started}.log"
        try:
            child = spawn(environment, log_path)
        except OSError as error:
            logger.warning("no spare process for %s: %s", ", ".join(kind.imports), error)
            return
        lower_priority(child.process.pid)
        child.channel.send([Envelope(PrepareHost(imports=kind.imports))])
        self._children[kind] = child
        logger.info(
            "process %s imports %s for a later host, log %s",
            child.process.pid,
            ", ".join(kind.imports),
            log_path,
        )

    def take(self, kind: SpareKind, log_path: Path) -> Child | None:
        """Give one away, at full priority and logging to `log_path` from its beginning; or None."""
        child = self._children.pop(kind, None)
        if child is None:
            return None
        restore_priority(child.process.pid)
        return Child(
            process=child.process,
            channel=child.channel,
            log_path=_renamed(child.log_path, log_path),
        )

    def drop_dead(self) -> None:
        """Forget those that have ended, and end what they left behind."""
        for kind, child in list(self._children.items()):
            if child.process.poll() is not None:
                logger.warning(
                    "spare process %s has ended, its log %s may say why",
                    child.process.pid,
                    child.log_path,
                )
                del self._children[kind]
                _end(child)

    def end(self, timeout_s: float) -> None:
        """End all, and wait until they are gone."""
        for child in self._children.values():
            _end(child)
        for child in self._children.values():
            try:
                child.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                logger.warning("spare process %s is not gone yet", child.process.pid)
        self._children.clear()


def _end(child: Child) -> None:
    signal_group(child.process.pid, signal.SIGKILL)
    child.channel.close()


def _renamed(path: Path, wanted: Path) -> Path:
    try:
        return path.rename(wanted)
    except OSError as error:
        logger.warning("the log %s keeps its name: %s", path, error)
        return path
