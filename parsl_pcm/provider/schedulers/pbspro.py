"""PBS Pro and OpenPBS: idle GPUs from ``pbsnodes``, our jobs from ``qstat``. Read-only.

States and exit codes as in the PBS Professional Reference Guide (2022.1) and OpenPBS's
``src/include/job.h``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from parsl_pcm.provider.schedulers.commands import DEFAULT_TIMEOUT_S, Forms, ask
from parsl_pcm.provider.schedulers.loose_json import as_dict, as_int, as_text, loads
from parsl_pcm.provider.schedulers.observations import Ending, IdleGpus, Job, JobPhase, LookError

TYPE_RESOURCES = ("gputype", "gpu_type", "gpu_model", "accelerator_model")
"""Where sites keep the type of a node's GPUs: PBS itself has no name for it."""
TAKES_JOBS_LATER = {"free", "busy", "job-busy", "job-exclusive", "job-sharing"}

Attributes = dict[str, Any]


class PBSProbe:
    """Idle GPUs by queue and type.

    Nodes that are not bound to a queue (attribute ``queue``, or a resource ``Qlist``) are told
    with the partition "".

    Parameters
    ----------
    gpu_resource
        The site's name for GPUs as a consumable resource.
    type_resource
        The site's resource with the type of a node's GPUs; None tries the usual names.
    timeout_s
        How long a call may take.
    """

    def __init__(
        self,
        *,
        gpu_resource: str = "ngpus",
        type_resource: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        self._gpu_resource = gpu_resource
        self._type_resources = (type_resource,) if type_resource else TYPE_RESOURCES
        json_form, text_form = ["pbsnodes", "-a", "-F", "json"], ["pbsnodes", "-a", "-v"]
        self._forms = Forms[Attributes](
            lambda: vnodes_of_json(ask(json_form, timeout_s=timeout_s)),
            lambda: vnodes_of_text(ask(text_form, timeout_s=timeout_s)),
        )

    def look(self) -> list[IdleGpus]:
        """Return one entry for each queue and type of GPU.

        Raises
        ------
        LookError
            PBS does not answer, or in a form that we do not know.
        """
        return idle_gpus(self._forms.rows(), self._gpu_resource, self._type_resources)


def vnodes_of_json(output: str) -> list[Attributes]:
    """Read what ``pbsnodes -a -F json`` printed."""
    answer = as_dict(loads(output, "pbsnodes -F json"))
    if "nodes" not in answer:
        raise LookError(f"pbsnodes -F json told of no nodes, only of {sorted(answer)}")
    return [as_dict(each) for each in as_dict(answer["nodes"]).values()]


def vnodes_of_text(output: str) -> list[Attributes]:
    """Read what ``pbsnodes -a -v`` printed: a name, then lines ``resources_assigned.ngpus = 1``."""
    vnodes: list[Attributes] = []
    for line in filter(str.strip, output.splitlines()):
        if not line[0].isspace():
            vnodes.append({})
            continue
        name, equals, value = line.strip().partition(" = ")
        if not vnodes or not equals:
            raise LookError(f"pbsnodes -v printed a line that is no attribute: {line[:200]!r}")
        group, dot, key = name.partition(".")
        target = vnodes[-1].setdefault(group, {}) if dot else vnodes[-1]
        target[key if dot else name] = value
    return vnodes


def idle_gpus(
    vnodes: Sequence[Attributes], gpu_resource: str, type_resources: Sequence[str]
) -> list[IdleGpus]:
    """Add up the GPUs of all nodes by queue and type."""
    idle: dict[tuple[str, str], int] = defaultdict(int)
    total: dict[tuple[str, str], int] = defaultdict(int)
    for vnode in vnodes:
        available = as_dict(vnode.get("resources_available"))
        num_idle, num_total = _gpus_of(vnode, gpu_resource)
        if not as_int(available.get(gpu_resource)):
            continue
        gpu_type = next(filter(None, (as_text(available.get(n)) for n in type_resources)), "")
        for queue in _queues(vnode, available):
            idle[queue, gpu_type.lower()] += num_idle
            total[queue, gpu_type.lower()] += num_total
    return [
        IdleGpus(partition=key[0], gpu_type=key[1], num_idle=idle[key], num_total=total[key])
        for key in sorted(total)
    ]


def _queues(vnode: Attributes, available: dict[str, Any]) -> list[str]:
    names = as_text(vnode.get("queue")) or as_text(available.get("Qlist"))
    return [name.strip() for name in names.split(",")]


def _gpus_of(vnode: Attributes, gpu_resource: str) -> tuple[int, int]:
    """Return the idle and all GPUs; those of a node out of service count for neither."""
    states = {state.strip() for state in as_text(vnode.get("state")).split(",")}
    if not states <= TAKES_JOBS_LATER:
        return 0, 0
    num_total = as_int(as_dict(vnode.get("resources_available")).get(gpu_resource)) or 0
    num_used = as_int(as_dict(vnode.get("resources_assigned")).get(gpu_resource)) or 0
    return (max(0, num_total - num_used) if states == {"free"} else 0), num_total


STATES = {
    "Q": JobPhase.PENDING, "W": JobPhase.PENDING, "H": JobPhase.PENDING, "T": JobPhase.PENDING,
    "M": JobPhase.PENDING, "R": JobPhase.RUNNING, "E": JobPhase.RUNNING, "B": JobPhase.RUNNING,
    "S": JobPhase.SUSPENDED, "U": JobPhase.SUSPENDED,
    "F": JobPhase.ENDED, "X": JobPhase.ENDED, "C": JobPhase.ENDED,
}  # fmt: skip
EXITING = "E"
KILLED_FOR_WALLTIME = -29
SUBSTATE_TERMINATED = 91
# 15001 and 15139, cut to a byte: a job is unknown, or has ended, the others are told all the same.
ACCEPTED = (0, 153, 35)


class PBSJobs:
    """Our jobs as ``qstat`` shows them, ended ones too where the site keeps a job history.

    PBS does not tell when it is about to take a node back: ``notice_s`` is not known before.
    """

    def __init__(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._has_history = True
        self._job_ids: tuple[str, ...] = ()
        self._forms = Forms[tuple[str, Attributes]](
            lambda: jobs_of_json(self._qstat("-f", "-F", "json")),
            # Values that JSON cannot take unescaped are often in the jobs' environment.
            lambda: jobs_of_text(self._qstat("-f")),
        )

    def jobs(self, job_ids: Sequence[str]) -> Mapping[str, Job]:
        """Return those of the given jobs (``123.server``) that PBS still knows, by job id.

        Raises
        ------
        LookError
            PBS does not answer, or in a form that we do not know.
        """
        if not job_ids:
            return {}
        self._job_ids = tuple(job_ids)
        # The server's name may be longer here than it was at submission.
        attributes = {_number(job_id): found for job_id, found in self._forms.rows()}
        return {
            job_id: job(job_id, attributes[_number(job_id)])
            for job_id in job_ids
            if _number(job_id) in attributes
        }

    def _qstat(self, *options: str) -> str:
        """Ask with the history of ended jobs, or without where there is none."""
        if self._has_history:
            try:
                return self._ask("-x", *options)
            except LookError as error:
                if "history" not in str(error):
                    raise
                self._has_history = False
        return self._ask(*options)

    def _ask(self, *options: str) -> str:
        command = ["qstat", *options, *self._job_ids]
        return ask(command, timeout_s=self._timeout_s, accepted=ACCEPTED)


def _number(job_id: str) -> str:
    return job_id.partition(".")[0]


def jobs_of_json(output: str) -> list[tuple[str, Attributes]]:
    """Read what ``qstat -f -F json`` printed: job ids with attributes."""
    answer = loads(output, "qstat -F json")
    if answer is not None and not isinstance(answer, dict):
        raise LookError("qstat -F json printed no object")
    # Without any job there is no "Jobs".
    jobs = as_dict(as_dict(answer).get("Jobs"))
    return [(job_id, as_dict(attributes)) for job_id, attributes in jobs.items()]


def jobs_of_text(output: str) -> list[tuple[str, Attributes]]:
    """Read what ``qstat -f`` printed: ``Job Id:``, then lines ``    job_state = R``."""
    jobs: list[tuple[str, Attributes]] = []
    for line in filter(str.strip, output.splitlines()):
        title, colon, job_id = line.partition("Job Id:")
        if colon and not title:
            jobs.append((job_id.strip(), {}))
        elif not jobs:
            raise LookError(f"qstat -f printed a line that belongs to no job: {line[:200]!r}")
        elif line.startswith("    "):
            # Other lines go on with a long value, which is none of those that we read.
            name, _, value = line.strip().partition(" = ")
            jobs[-1][1].setdefault(name, value)
    return jobs


def job(job_id: str, attributes: Attributes) -> Job:
    """Translate one job."""
    state = as_text(attributes.get("job_state"))
    if state not in STATES:
        raise LookError(f"qstat did not tell the state of job {job_id}, only {state!r}")
    phase = STATES[state]
    exit_code = as_int(attributes.get("Exit_status")) if phase is JobPhase.ENDED else None
    comment = as_text(attributes.get("comment"))
    return Job(
        job_id=job_id,
        phase=phase,
        ending=_ending(exit_code, attributes) if phase is JobPhase.ENDED else None,
        num_restarts=_num_restarts(attributes, phase),
        # The script has ended, its files are being delivered.
        notice_s=0.0 if state == EXITING else None,
        exit_code=_as_shells_do(exit_code),
        words=f"{state} ({comment})" if comment else state,
    )


def _num_restarts(attributes: Attributes, phase: JobPhase) -> int:
    """Count as Slurm does: a job that waits to be started again has been restarted once."""
    num_runs = as_int(attributes.get("run_count")) or 0
    return num_runs if phase is JobPhase.PENDING else max(0, num_runs - 1)


def _ending(exit_code: int | None, attributes: Attributes) -> Ending:
    if exit_code == KILLED_FOR_WALLTIME:
        return Ending.TIMED_OUT
    if as_int(attributes.get("substate")) == SUBSTATE_TERMINATED or exit_code is None:
        # Deleted: by somebody, or by the scheduler for another job.
        is_preempted = "preempt" in as_text(attributes.get("comment")).lower()
        return Ending.PREEMPTED if is_preempted else Ending.CANCELLED
    return Ending.FINISHED if exit_code == 0 else Ending.FAILED


def _as_shells_do(exit_code: int | None) -> int | None:
    """PBS adds 256 to the number of the signal that ended a job, the shells add 128."""
    return exit_code - 128 if exit_code is not None and exit_code > 256 else exit_code
