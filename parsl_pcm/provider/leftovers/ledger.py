"""Every job that a run submitted, on disk, so that none is left in the queue when the run dies.

Append-only JSON lines in the run directory: who owns the run, each job before anybody can forget
it, each end. A job submitted in the instant of a crash is in no ledger, but carries the run's tag
in its name (:mod:`parsl_pcm.provider.leftovers.cancelling` finds it by that).
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import psutil
from msgspec import Struct

if TYPE_CHECKING:
    from parsl.providers.base import ExecutionProvider

logger = logging.getLogger(__name__)

LEDGER_NAME = "jobs.jsonl"
"""Name of a ledger in the directory of its executor, below the run directory."""
TAG_PREFIX = "pcm-"
SAME_START_S = 5.0
"""Two looks at one process agree on its start within this: the wall clock may have been set."""
LOCAL = "local"
"""The kind of a process of this machine, in the place of a scheduler's."""
KINDS = {
    "slurm": "slurm",
    "condor": "condor",
    "pbspro": "pbs",
    "torque": "pbs",
    "grid_engine": "grid_engine",
    "lsf": "lsf",
    "local": LOCAL,
}
"""Kind of scheduler by the label of Parsl's provider."""


class Owner(Struct, frozen=True, kw_only=True, tag="owner"):
    """The process that runs the executor."""

    hostname: str
    pid: int
    process_start_s: float
    """Seconds since the epoch: the same number may name another process later."""
    label: str
    """Of the executor."""
    tag: str
    """Part of the name of every job of the run, and of no other's."""
    schedulers: tuple[str, ...] = ()
    """Kinds that the run may submit to: a job that is in no ledger can only be there."""


class SubmittedJob(Struct, frozen=True, kw_only=True, tag="submitted"):
    """A job that the scheduler accepted."""

    job_id: str
    scheduler: str
    """Kind, see :func:`scheduler_kind`."""
    name: str = ""
    process_start_s: float | None = None
    """Seconds since the epoch, for a process of this machine; None for a scheduler's job."""


class _JobEnded(Struct, frozen=True, kw_only=True, tag="ended"):
    job_id: str


class _RunClosed(Struct, frozen=True, kw_only=True, tag="closed"):
    """The run has ended in order: its process may live on, but needs no job any more."""


_Record = Owner | SubmittedJob | _JobEnded | _RunClosed


class LedgerContents(Struct, frozen=True, kw_only=True):
    """What a ledger says."""

    owner: Owner | None
    """None: it was cut short before its first line was whole."""
    open_jobs: tuple[SubmittedJob, ...]
    """Those whose end is not recorded, oldest first."""
    schedulers: tuple[str, ...]
    """Kinds that the run may have submitted to."""
    is_closed: bool


class Ledger:
    """Records the jobs of a run as they come and go.

    Every record is in the file when its method returns. Threads may share a ledger. A file that
    cannot be written is logged and does not stop the run.

    Parameters
    ----------
    path
        Created with its directories, for its owner's eyes only. A file that is there is continued.
    label
        Of the executor.
    schedulers
        Kinds that the run may submit to, see :func:`scheduler_kind`.

    Attributes
    ----------
    tag
        To be the first part of the name of every job of this run.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, label: str, schedulers: Iterable[str] = ()
    ) -> None:
        self.path = Path(path).absolute()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        earlier = read_ledger(self.path).owner if self.path.exists() else None
        self.tag = earlier.tag if earlier else TAG_PREFIX + secrets.token_hex(4)
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        # Whoever wrote here before may have stopped in the middle of a line.
        self._before_next = b"\n" if os.fstat(self._file).st_size else b""
        self._write(
            Owner(
                hostname=socket.gethostname(),
                pid=os.getpid(),
                process_start_s=psutil.Process().create_time(),
                label=label,
                tag=self.tag,
                schedulers=tuple(schedulers),
            )
        )

    def submitted(self, job_id: str, scheduler: str, job_name: str = "") -> None:
        """Record a job, at once when its id is known."""
        start_s = process_start_s(int(job_id)) if scheduler == LOCAL else None
        self._write(
            SubmittedJob(job_id=job_id, scheduler=scheduler, name=job_name, process_start_s=start_s)
        )

    def ended(self, job_id: str) -> None:
        """Record that a job will never run again, whoever ended it."""
        self._write(_JobEnded(job_id=job_id))

    def close(self) -> None:
        """Record that the run has ended; jobs still open may be cancelled by anybody of us."""
        if self._file >= 0:
            self._write(_RunClosed())
            os.close(self._file)
            self._file = -1

    def _write(self, record: _Record) -> None:
        line = self._before_next + msgspec.json.encode(record) + b"\n"
        try:
            is_whole = os.write(self._file, line) == len(line)
        except OSError as error:
            logger.warning("cannot write %s: %s. Not recorded: %s", self.path, error, record)
            is_whole = False
        self._before_next = b"" if is_whole else b"\n"


def read_ledger(path: str | os.PathLike[str]) -> LedgerContents:
    """Return what a ledger says; lines that a crash cut short are skipped.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    owner: Owner | None = None
    jobs: dict[str, SubmittedJob] = {}
    schedulers: dict[str, None] = {}
    is_closed = False
    for record in _records(Path(path).read_bytes()):
        match record:
            case Owner():
                owner, is_closed = record, False
                schedulers.update(dict.fromkeys(record.schedulers))
            case SubmittedJob(job_id=job_id, scheduler=scheduler):
                jobs[job_id] = record
                schedulers[scheduler] = None
            case _JobEnded(job_id=job_id):
                jobs.pop(job_id, None)
            case _RunClosed():
                is_closed = True
    return LedgerContents(
        owner=owner,
        open_jobs=tuple(jobs.values()),
        schedulers=tuple(schedulers),
        is_closed=is_closed,
    )


def _records(text: bytes) -> list[_Record]:
    decoder = msgspec.json.Decoder(_Record)
    records = []
    for line in text.splitlines():
        try:
            records.append(decoder.decode(line))
        except msgspec.DecodeError:
            continue
    return records


def record_ends(path: str | os.PathLike[str], job_ids: Iterable[str]) -> None:
    """Write into the ledger of a dead run that its jobs are gone."""
    lines = [msgspec.json.encode(_JobEnded(job_id=job_id)) for job_id in job_ids]
    with open(path, "ab") as file:
        file.write(b"".join(b"\n" + line + b"\n" for line in lines))


def is_owner_alive(owner: Owner) -> bool | None:
    """Return whether the process of a run lives; None if it is on another machine."""
    if owner.hostname != socket.gethostname():
        return None
    return is_same_process(owner.pid, owner.process_start_s)


def is_same_process(pid: int, start_s: float) -> bool:
    """Return whether the process that started then under this number is still there."""
    now_there_s = process_start_s(pid)
    return now_there_s is not None and abs(now_there_s - start_s) < SAME_START_S


def process_start_s(pid: int) -> float | None:
    """Return when a process started, in seconds since the epoch; None if it has ended."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return float(process.create_time())
    except psutil.NoSuchProcess:
        return None


def scheduler_kind(provider: ExecutionProvider) -> str:
    """Return who runs the jobs of a Parsl provider: ``slurm``, ``condor``, ``local`` and so on.

    Slurm's jobs on other clusters need their names too: ``slurm@alpha,beta``. A provider of an
    unknown kind is named by its label.
    """
    label = str(provider.label).lower()
    kind = KINDS.get(label, label)
    clusters = getattr(provider, "clusters", None)
    return f"{kind}@{clusters}" if clusters else kind


def cleaning_command(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the command that cancels what a dead run left in the queue, from its ledger."""
    return (sys.executable, "-m", "parsl_pcm.cli", "clean", "--quiet", "--after-crash", str(path))
