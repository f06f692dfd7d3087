"""Grid Engine: idle GPUs from ``qhost``, our jobs from ``qstat``. One call each, read-only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from xml.etree import ElementTree

from parsl_pcm.provider.schedulers.commands import DEFAULT_TIMEOUT_S, ask
from parsl_pcm.provider.schedulers.loose_json import as_int
from parsl_pcm.provider.schedulers.observations import IdleGpus, Job, JobPhase, LookError

TYPE_RESOURCES = ("gpu_type", "gputype", "gpu_model")
"""Where sites keep the type of a host's GPUs: Grid Engine itself has no name for it."""


class GridEngineProbe:
    """Idle GPUs by queue and type.

    Grid Engine tells what is left of a host's GPUs, not how many it has: ``num_total`` is only a
    lower bound.

    Parameters
    ----------
    gpu_resource
        The site's name for GPUs as a consumable of the hosts.
    type_resource
        The site's name for the type of a host's GPUs; None tries the usual names.
    timeout_s
        How long the call may take.
    """

    def __init__(
        self,
        *,
        gpu_resource: str = "gpu",
        type_resource: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        self._gpu_resource = gpu_resource
        self._type_resources = (type_resource,) if type_resource else TYPE_RESOURCES
        # Names that the site does not have do no harm (seen with 8.1.9).
        names = ",".join((gpu_resource, *self._type_resources))
        self._command = ["qhost", "-q", "-F", names, "-xml"]
        self._timeout_s = timeout_s

    def look(self) -> list[IdleGpus]:
        """Return one entry for each queue and type of GPU.

        Raises
        ------
        LookError
            Grid Engine does not answer, or in a form that we do not know.
        """
        output = ask(self._command, timeout_s=self._timeout_s)
        return idle_gpus(output, self._gpu_resource, self._type_resources)


def idle_gpus(output: str, gpu_resource: str, type_resources: Sequence[str]) -> list[IdleGpus]:
    """Add up the GPUs of all hosts that ``qhost -q -F -xml`` printed, by queue and type."""
    idle: dict[tuple[str, str], int] = defaultdict(int)
    for host in _xml(output, "qhost").iter("host"):
        resources = _values(host, "resourcevalue")
        # Consumables are told as 2.000000.
        num_left = as_int(resources.get(gpu_resource, "").partition(".")[0])
        if num_left is None:
            continue
        types = (resources.get(name, "") for name in type_resources)
        gpu_type = next(filter(None, types), "").lower()
        for queue, takes_jobs in _queues(host):
            idle[queue, gpu_type] += max(0, num_left) if takes_jobs else 0
    return [
        IdleGpus(partition=key[0], gpu_type=key[1], num_idle=idle[key], num_total=idle[key])
        for key in sorted(idle)
    ]


def _queues(host: ElementTree.Element) -> Iterator[tuple[str, bool]]:
    """Yield the host's queues, and whether each takes a job now: a free slot, no state letter."""
    for queue in host.iter("queue"):
        values = _values(queue, "queuevalue")
        num_slots, num_used = as_int(values.get("slots")), as_int(values.get("slots_used"))
        is_full = num_slots is not None and (num_used or 0) >= num_slots
        yield queue.get("name") or "", not values.get("state_string") and not is_full


def _values(element: ElementTree.Element, tag: str) -> dict[str, str]:
    return {each.get("name", ""): (each.text or "").strip() for each in element.iter(tag)}


class GridEngineJobs:
    """Our jobs as ``qstat`` shows them. Grid Engine forgets a job as soon as it has ended."""

    def __init__(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._timeout_s = timeout_s

    def jobs(self, job_ids: Sequence[str]) -> Mapping[str, Job]:
        """Return those of the given jobs that have not ended, by job id.

        Raises
        ------
        LookError
            Grid Engine does not answer, or in a form that we do not know.
        """
        if not job_ids:
            return {}
        found = jobs(ask(["qstat", "-xml"], timeout_s=self._timeout_s))
        return {job_id: found[job_id] for job_id in job_ids if job_id in found}


def jobs(output: str) -> dict[str, Job]:
    """Read what ``qstat -xml`` printed."""
    entries = _xml(output, "qstat").iter("job_list")
    return {job.job_id: job for job in map(_job, entries)}


def _job(entry: ElementTree.Element) -> Job:
    job_id = entry.findtext("JB_job_number", "").strip()
    state = entry.findtext("state", "").strip()
    if not job_id or not state:
        raise LookError("qstat -xml did not tell job and state of an entry")
    phase = _phase(state)
    return Job(
        job_id=job_id,
        phase=phase,
        # How often is not told.
        num_restarts=1 if "R" in state else 0,
        notice_s=0.0 if "d" in state and phase is JobPhase.RUNNING else None,
        words=state,
    )


def _phase(state: str) -> JobPhase:
    """Read the letters of ``qstat(1)``: ``qw``, ``hqw``, ``Eqw``, ``Rq``, ``Rr``, ``dr``, ``S``."""
    if "q" in state or "w" in state:
        return JobPhase.PENDING
    # By the user, by a queue, by a threshold, by the scheduler.
    return JobPhase.SUSPENDED if set(state) & set("sSTNP") else JobPhase.RUNNING


def _xml(output: str, program: str) -> ElementTree.Element:
    start = output.find("<")
    try:
        return ElementTree.fromstring(output[max(0, start) :])
    except (ElementTree.ParseError, ValueError) as error:
        raise LookError(f"{program} printed XML that cannot be read: {error}") from None
