"""Slurm: idle GPUs from ``sinfo``, our jobs from ``squeue``. One call each, read-only."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from parsl_pcm.clock import wall_s
from parsl_pcm.provider.schedulers import slurm_json, slurm_text
from parsl_pcm.provider.schedulers.commands import DEFAULT_TIMEOUT_S, Forms, ask
from parsl_pcm.provider.schedulers.observations import IdleGpus, Job
from parsl_pcm.provider.schedulers.slurm_rows import JobRow, NodeRow, idle_gpus, job


class SlurmProbe:
    """Idle GPUs by partition and type, in Slurm's own words.

    A GPU counts as idle if no job holds it, not even one that we could displace, and its node
    takes jobs now and has a free CPU.

    Parameters
    ----------
    clusters
        For ``--clusters``; None is the cluster of this machine.
    partitions
        Those to look at; none means all that this user can see.
    gres_name
        The site's name for GPUs as a generic resource.
    timeout_s
        How long a call may take.
    """

    def __init__(
        self,
        *,
        clusters: str | None = None,
        partitions: Sequence[str] = (),
        gres_name: str = "gpu",
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        self._gres_name = gres_name
        sinfo = ["sinfo", "--noheader", "--Node", *_on(clusters)]
        if partitions:
            sinfo.append(f"--partition={','.join(partitions)}")
        text = [*sinfo, "-O", slurm_text.format_of(slurm_text.NODE_FIELDS)]
        self._forms = Forms[NodeRow](
            lambda: slurm_text.node_rows(ask(text, timeout_s=timeout_s), gres_name),
            lambda: slurm_json.node_rows(ask([*sinfo, "--json"], timeout_s=timeout_s), gres_name),
        )
        self._partitions = frozenset(partitions)

    def look(self) -> list[IdleGpus]:
        """Return one entry for each partition and type of GPU.

        Raises
        ------
        LookError
            Slurm does not answer, or in no form that we know.
        """
        # 22.05 lists all partitions in JSON, whatever was asked for.
        rows = self._forms.rows()
        if self._partitions:
            rows = [row for row in rows if row.partition in self._partitions]
        return idle_gpus(rows, self._gres_name)


class SlurmJobs:
    """Our jobs as ``squeue`` shows them, all of this user's in one call.

    Slurm forgets a job some minutes after its end (``MinJobAge``, 300 s by default); one that is
    not in the answer has ended before that. Jobs in a grace period have ``notice_s``: the kill
    comes at the end of it or up to 10 s later (measured on 22.05), never before.

    Parameters
    ----------
    clusters
        For ``--clusters``; None is the cluster of this machine.
    timeout_s
        How long a call may take.
    now_s
        Seconds since the epoch. Slurm tells instants, by the clock of its controller: sites keep
        their clocks together (munge refuses them otherwise).
    """

    def __init__(
        self,
        *,
        clusters: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        now_s: Callable[[], float] = wall_s,
    ) -> None:
        self._now_s = now_s
        user = str(os.getuid())
        squeue = ["squeue", "--noheader", "--states=all", f"--user={user}", *_on(clusters)]
        text = [*squeue, "-O", slurm_text.format_of(slurm_text.JOB_FIELDS)]
        self._forms = Forms[JobRow](
            lambda: slurm_text.job_rows(
                ask(text, timeout_s=timeout_s, environment=slurm_text.TIMES)
            ),
            lambda: slurm_json.job_rows(ask([*squeue, "--json"], timeout_s=timeout_s), user),
        )

    def jobs(self, job_ids: Sequence[str]) -> Mapping[str, Job]:
        """Return those of the given jobs that Slurm still knows, by job id.

        Raises
        ------
        LookError
            Slurm does not answer, or in no form that we know.
        """
        if not job_ids:
            return {}
        rows = {row.job_id: row for row in self._forms.rows()}
        now_s = self._now_s()
        return {job_id: job(rows[job_id], now_s) for job_id in job_ids if job_id in rows}


def _on(clusters: str | None) -> list[str]:
    return [] if clusters is None else [f"--clusters={clusters}"]
