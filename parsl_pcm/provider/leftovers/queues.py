"""Jobs of this user in the queue of a scheduler, without the provider that submitted them.

One question a scheduler, through its own command-line tools, and one reader for the answer.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePath
from xml.etree import ElementTree

from msgspec import Struct

from parsl_pcm.provider.schedulers.commands import ask
from parsl_pcm.provider.schedulers.observations import LookError


class QueuedJob(Struct, frozen=True, kw_only=True):
    """A job of this user that its scheduler still has."""

    job_id: str
    name: str
    state: str
    """In the scheduler's own words."""
    is_leaving: bool = False
    """It ends, or has ended: once cancelled, it needs nothing but a moment."""


def jobs_in_queue(kind: str) -> list[QueuedJob]:
    """Return all jobs of this user that a scheduler has.

    Parameters
    ----------
    kind
        See :func:`parsl_pcm.provider.leftovers.ledger.scheduler_kind`.

    Raises
    ------
    LookError
        It cannot be asked, or is of a kind that we have no tools for.
    """
    scheduler, _, clusters = kind.partition("@")
    look = _LOOKS.get(scheduler)
    if look is None:
        raise LookError(f"jobs of {scheduler!r} cannot be seen from here: use the site's own tools")
    return look(clusters)


def _slurm_jobs(clusters: str) -> list[QueuedJob]:
    where = (f"--clusters={clusters}",) if clusters else ()
    command = ("squeue", *where, "--noheader", "--all", f"--user={os.getuid()}")
    return read_squeue(ask((*command, "--format=%i|%T|%j")))


def read_squeue(text: str) -> list[QueuedJob]:
    """Return the jobs in squeue's lines of id, state and name."""
    return _rows((line.split("|", 2) for line in text.splitlines()), leaving={"COMPLETING"})


def _condor_jobs(_: str) -> list[QueuedJob]:
    return read_condor_q(ask(("condor_q", "-af:j", "JobStatus", "Out")))


def read_condor_q(text: str) -> list[QueuedJob]:
    """Return the jobs in condor_q's lines of id, state and output file, which has their name.

    Parsl's jobs stay in the queue after their end (``leave_in_queue``) until they are removed.
    """
    rows = [line.split(None, 2) for line in text.splitlines()]
    return _rows([row[0], row[1], PurePath(row[2]).name] for row in rows if len(row) == 3)


def _pbs_jobs(_: str) -> list[QueuedJob]:
    job_ids = ask(("qselect", "-u", getpass.getuser())).split()
    if not job_ids:
        return []
    with contextlib.suppress(LookError):
        return read_qstat(ask(("qstat", "-f", *job_ids)))
    jobs: list[QueuedJob] = []
    for job_id in job_ids:  # one that ended a moment ago makes qstat fail for all
        with contextlib.suppress(LookError):
            jobs += read_qstat(ask(("qstat", "-f", job_id)))
    return jobs


def read_qstat(text: str) -> list[QueuedJob]:
    """Return the jobs in the attributes that PBS's or Torque's ``qstat -f`` lists."""
    whole_lines = text.replace("\n\t", "")  # it breaks long ones
    return _rows(
        (
            (found[1], _attribute(block, "job_state"), _attribute(block, "Job_Name"))
            for block in re.split(r"\n(?=Job Id:)", whole_lines)
            if (found := re.match(r"\s*Job Id:\s*(\S+)", block))
        ),
        leaving={"E", "F", "C"},  # exiting, finished, completed
    )


def _attribute(block: str, name: str) -> str:
    found = re.search(rf"^\s+{name} = (.*)$", block, flags=re.MULTILINE)
    return found[1].strip() if found else ""


def _grid_engine_jobs(_: str) -> list[QueuedJob]:
    return read_qstat_xml(ask(("qstat", "-xml", "-u", getpass.getuser())))


def read_qstat_xml(text: str) -> list[QueuedJob]:
    """Return the jobs in Grid Engine's ``qstat -xml``; a ``d`` in the state: being deleted."""
    try:
        entries = list(ElementTree.fromstring(text).iter("job_list"))
    except ElementTree.ParseError as error:
        raise LookError(f"qstat -xml printed no XML: {error}") from error
    jobs = _rows(
        [
            entry.findtext("JB_job_number", ""),
            entry.findtext("state", ""),
            entry.findtext("JB_name", ""),
        ]
        for entry in entries
    )
    return [
        QueuedJob(job_id=job.job_id, name=job.name, state=job.state, is_leaving="d" in job.state)
        for job in jobs
    ]


def _lsf_jobs(_: str) -> list[QueuedJob]:
    try:
        return read_bjobs(ask(("bjobs", "-noheader", "-o", "jobid stat job_name delimiter='|'")))
    except LookError as error:
        if "No unfinished job found" in str(error):
            return []
        raise


def read_bjobs(text: str) -> list[QueuedJob]:
    """Return the jobs in bjobs' lines of id, state and name."""
    return _rows(
        (line.split("|", 2) for line in text.splitlines()), leaving={"DONE", "EXIT", "ZOMBI"}
    )


def _rows(
    rows: Iterable[Sequence[str]], *, leaving: frozenset[str] | set[str] = frozenset()
) -> list[QueuedJob]:
    """Return a job for each row of id, state and name; rows of another form are no jobs."""
    return [
        QueuedJob(job_id=row[0], state=row[1], name=row[2], is_leaving=row[1] in leaving)
        for row in rows
        if len(row) == 3
    ]


_LOOKS: Mapping[str, Callable[[str], list[QueuedJob]]] = {
    "slurm": _slurm_jobs,
    "condor": _condor_jobs,
    "pbs": _pbs_jobs,
    "grid_engine": _grid_engine_jobs,
    "lsf": _lsf_jobs,
}
"""Each gets the clusters to ask, "" for the scheduler's own."""
