"""OpportunisticProvider: blocks on whatever is idle, behind Parsl's provider interface."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Sequence
from typing import Any

import msgspec
from parsl.jobs.states import JobState, JobStatus
from parsl.providers.base import ExecutionProvider
from parsl.providers.errors import SubmitException

from parsl_pcm.clock import monotonic_s
from parsl_pcm.launchers import export, walltime_of
from parsl_pcm.provider.flavours import Flavour
from parsl_pcm.provider.growth.demand import (
    LOOK_EVERY_S,
    BlockRequest,
    BlockUse,
    Demand,
    Limits,
)
from parsl_pcm.provider.growth.growth import Growth
from parsl_pcm.provider.leftovers.cancelling import CANCEL_COMMANDS, cancel, jobs_of_run
from parsl_pcm.provider.leftovers.ledger import scheduler_kind
from parsl_pcm.provider.leftovers.queues import jobs_in_queue
from parsl_pcm.provider.looking import Looker
from parsl_pcm.provider.refusals import is_passing, words_of
from parsl_pcm.provider.schedulers.observations import Ending, Job, LookError
from parsl_pcm.provider.statuses import output_paths, parsl_status
from parsl_pcm.types import NodeResources, Requirements

logger = logging.getLogger(__name__)

OUTPUT_TAIL_CHARS = 2000


class OpportunisticProvider(ExecutionProvider):
    """Asks for blocks where GPUs are idle now, and gives them back when nobody needs them.

    A :class:`~parsl_pcm.PCMExecutor` drives it by itself, also with ``Config(strategy="none")``:
    it knows which contexts wait and what each block does. Under any other executor, Parsl's
    strategies drive it: ``max_blocks`` is at each moment what is held plus what may be asked for.

    Parameters
    ----------
    flavours
        Kinds of block to choose from, see :class:`~parsl_pcm.provider.Flavour`. A block is asked
        for in the fastest one that is idle and can hold a context that waits.
    max_blocks
        Over all flavours, waiting ones included. None: as many as there are idle GPUs.
    min_blocks
        Held even without work, as far as GPUs are idle.
    init_blocks
        Asked for at the start.
    max_share
        Of the GPUs that are idle or ours, above 0 and at most 1.
    keep_free
        Idle GPUs that are left to others.
    keep_warm_s
        How long a block without work is kept while no task is open. None: as long as building its
        context again would take, 30 s at least.
    look_every_s
        Seconds between two looks at the site while there is work or a block, at least 1.
    parallelism
        As in Parsl's providers; only Parsl's strategies read it.

    Raises
    ------
    TypeError, ValueError
        For limits that contradict each other, no flavour, or two of one name.
    """

    nodes_per_block = 1
    status_polling_interval = 1
    """Seconds. An answer costs nothing: the site itself is asked every ``look_every_s``."""

    def __init__(  # noqa: PLR0913 - as many as Parsl's other providers, most of them names of theirs
        self,
        flavours: Sequence[Flavour],
        *,
        max_blocks: int | None = None,
        min_blocks: int = 0,
        init_blocks: int = 0,
        max_share: float = 1.0,
        keep_free: int = 0,
        keep_warm_s: float | None = None,
        look_every_s: float = LOOK_EVERY_S,
        parallelism: float = 1.0,
    ) -> None:
        limits = Limits(
            max_blocks=max_blocks, min_blocks=min_blocks, max_share=max_share, keep_free=keep_free
        )
        _check(flavours, init_blocks, max_blocks, look_every_s)
        self.flavours = tuple(flavours)
        self.limits = limits
        self.min_blocks = min_blocks
        self.init_blocks = init_blocks
        self.keep_warm_s = keep_warm_s
        self.look_every_s = look_every_s
        self.parallelism = parallelism
        self.cores_per_node = None
        self.mem_per_node = None
        self.resources: dict[object, Any] = {}
        self.script_dir: str | None = None
        self._by_name = {flavour.name: flavour for flavour in self.flavours}
        self._lock = threading.RLock()
        self._growth = Growth(self.flavours, limits, keep_warm_s=keep_warm_s)
        self._looker = Looker(self._by_name, self._growth, self._lock)
        self._submitting = threading.Lock()
        self._looking = threading.Lock()
        self._looked_at: float | None = None
        self._strays: list[tuple[str, str]] = []
        """Kind of scheduler and name of jobs that may have been taken though it did not say so."""

    def __repr__(self) -> str:
        limits = self.limits
        return (
            f"OpportunisticProvider({list(self.flavours)!r}, max_blocks={limits.max_blocks}, "
            f"min_blocks={self.min_blocks}, init_blocks={self.init_blocks}, "
            f"max_share={limits.max_share}, keep_free={limits.keep_free}, "
            f"keep_warm_s={self.keep_warm_s}, look_every_s={self.look_every_s}, "
            f"parallelism={self.parallelism})"
        )

    # --- what Parsl asks ----------------------------------------------------------------------

    @property
    def label(self) -> str:
        """The name of this provider in logs."""
        return "opportunistic"

    @property
    def max_blocks(self) -> int:  # type: ignore[override] # a plain attribute elsewhere
        """Blocks that are held, and as many more as may be asked for now."""
        self._look_if_due()
        with self._lock:
            num_open = len(self._growth.blocks)
            most = self.limits.max_blocks
            room = self._growth.room(monotonic_s())
            return num_open + room if most is None else min(most, num_open + room)

    def submit(self, command: str, tasks_per_node: int, job_name: str = "parsl.pcm") -> str:
        """Ask for one block in the best flavour, and return the site's name for its job.

        Raises
        ------
        SubmitException
            If no flavour has room, or the site refuses; with the scheduler's own words.
        """
        self._look_if_due()
        with self._submitting:  # or two threads would both take what is idle
            return self._submit_best(command, tasks_per_node, job_name)

    def _submit_best(self, command: str, tasks_per_node: int, job_name: str) -> str:
        with self._lock:
            request = self._growth.any_block(monotonic_s())
            if request is None:
                reason = self._growth.waiting_for(monotonic_s()) or "no block may be asked for now"
                raise SubmitException(job_name, reason)
        try:
            job_id = self._submit(request, command, tasks_per_node, job_name)
        except Exception as error:
            self._note_refusal(request, error, job_name)
            raise SubmitException(job_name, f"{request.flavour}: {words_of(error)}") from error
        with self._lock:
            self._growth.submitted(job_id, request, monotonic_s())
            self.resources[job_id] = {
                "job_id": job_id,
                "status": JobStatus(JobState.PENDING),
                "request": request,
            }
        logger.info("asked for a block of flavour %s: job %s", request.flavour, job_id)
        return job_id

    def status(self, job_ids: Sequence[object]) -> list[JobStatus]:
        """Return what the last look at the site has shown."""
        self._look_if_due()
        return [self.resources[job_id]["status"] for job_id in job_ids]

    def cancel(self, job_ids: Sequence[object]) -> list[bool]:
        """Give blocks back; False for those whose scheduler did not take the order."""
        taken: dict[object, bool] = {}
        of_provider: dict[int, list[object]] = {}
        for job_id in job_ids:
            of_provider.setdefault(id(self.provider_of(job_id)), []).append(job_id)
        for ids in of_provider.values():
            taken.update(zip(ids, self._cancel(ids), strict=True))
        with self._lock:
            for job_id in job_ids:
                if taken[job_id]:
                    self._growth.given_back(str(job_id), monotonic_s())
        return [taken[job_id] for job_id in job_ids]

    # --- what PCMExecutor asks ----------------------------------------------------------------

    @property
    def providers(self) -> list[ExecutionProvider]:
        """Parsl's providers behind the flavours, one a flavour."""
        return [flavour.block_provider(flavour.gpus_per_block) for flavour in self.flavours]

    def provider_of(self, job_id: object) -> ExecutionProvider:
        """Return the provider of Parsl that a job was submitted through."""
        request: BlockRequest = self.resources[job_id]["request"]
        return self._by_name[request.flavour].block_provider(request.num_gpus)

    def possible_nodes(self) -> tuple[NodeResources, ...]:
        """Return the largest node that each flavour could bring."""
        return tuple(flavour.node_resources() for flavour in self.flavours)

    def hosts_to_come(self, ways: Sequence[Requirements], num_blocks: int) -> int | None:
        """Return how many hosts of a context could come with blocks besides so many, at most.

        None: as many as there are idle GPUs.
        """
        with self._lock:
            return self._growth.hosts_to_come(tuple(ways), num_blocks)

    def look(self) -> list[Job]:
        """Ask the site; return our jobs that changed since the last look.

        Never raises: a site that does not answer is logged, and nothing is asked of it meanwhile.
        Returns at once if another thread is asking.
        """
        if not self._looking.acquire(blocking=False):
            return []
        try:
            self._looked_at = monotonic_s()
            self._looker.look_at_idle_gpus()
            changed = self._looker.look_at_jobs()
            for job in changed:
                self._note_change(job)
            self._cancel_strays()
            return changed
        finally:
            self._looking.release()

    def saw_demand(self, demands: Sequence[Demand], uses: Sequence[BlockUse]) -> None:
        """Take in which contexts wait for hosts, and what each block does."""
        with self._lock:
            self._growth.saw_demand(demands, uses, monotonic_s())

    def manager_registered(self, job_id: str) -> None:
        """Note that a block works."""
        with self._lock:
            self._growth.manager_registered(job_id, monotonic_s())

    def room(self) -> int:
        """Return how many blocks shall be asked for now."""
        with self._lock:
            return self._growth.room(monotonic_s())

    def to_give_back(self) -> list[str]:
        """Return the jobs that nobody needs any more."""
        with self._lock:
            return self._growth.to_give_back(monotonic_s())

    def has_open_jobs(self) -> bool:
        """Whether any job may still be in a queue or on a node."""
        with self._lock:
            return bool(self._growth.blocks) or bool(self._strays)

    def waiting_for(self) -> str:
        """Return what is waited for, in a sentence; "" if nothing is."""
        with self._lock:
            return self._growth.waiting_for(monotonic_s())

    def reason_to_give_up(self) -> str | None:
        """Return why no block will ever serve a task; None while there is hope."""
        with self._lock:
            return self._growth.reason_to_give_up()

    # --- the parts ----------------------------------------------------------------------------

    def _look_if_due(self) -> None:
        """Look where nobody else does it for us: under an executor of Parsl's own."""
        if self._looked_at is None or monotonic_s() >= self._looked_at + self.look_every_s:
            self.look()

    def _submit(
        self, request: BlockRequest, command: str, tasks_per_node: int, job_name: str
    ) -> str:
        flavour = self._by_name[request.flavour]
        provider = flavour.block_provider(request.num_gpus)
        provider.script_dir = self.script_dir
        known = {**walltime_of(provider), **_gpu_facts(flavour)}
        job_id = provider.submit(export(known) + command, tasks_per_node, job_name)
        if not job_id:
            raise SubmitException(job_name, "the site gave no job id")
        return str(job_id)

    def _note_refusal(self, request: BlockRequest, error: Exception, job_name: str) -> None:
        words, passing = words_of(error), is_passing(error)
        logger.warning("no block of flavour %s: %s", request.flavour, words)
        with self._lock:
            self._growth.refused(request, words, monotonic_s(), is_transient=passing)
            if passing:  # it may have taken the job before its answer got lost
                kind = scheduler_kind(
                    self._by_name[request.flavour].block_provider(request.num_gpus)
                )
                if kind.partition("@")[0] in CANCEL_COMMANDS:
                    self._strays.append((kind, f"{job_name}."))

    def _cancel_strays(self) -> None:
        with self._lock:
            strays = list(self._strays)
        for kind, name in strays:
            with contextlib.suppress(LookError):
                found = [job.job_id for job in jobs_of_run(jobs_in_queue(kind), (), name)]
                if found:
                    logger.warning("cancelling jobs that were taken unnoticed: %s", found)
                    cancel(kind, found)
                with self._lock:
                    self._strays.remove((kind, name))

    def _cancel(self, job_ids: Sequence[object]) -> Sequence[bool]:
        try:
            return self.provider_of(job_ids[0]).cancel(job_ids)
        except Exception as error:  # noqa: BLE001 - a scheduler that is away is no bug of ours
            logger.warning("jobs %s could not be cancelled: %s", job_ids, words_of(error))
            return [False] * len(job_ids)

    def _note_change(self, job: Job) -> None:
        resource = self.resources[job.job_id]
        paths = output_paths(self.provider_of(job.job_id).resources[job.job_id])
        resource["status"] = status = parsl_status(job, *paths)
        if job.ending is Ending.FAILED:
            output = (status.stderr_summary or status.stdout_summary or "")[-OUTPUT_TAIL_CHARS:]
            with self._lock:
                self._growth.saw_output(resource["request"].flavour, output.strip())


def _check(
    flavours: Sequence[Flavour], init_blocks: int, max_blocks: int | None, look_every_s: float
) -> None:
    names = [flavour.name for flavour in flavours]
    if not names:
        raise ValueError("OpportunisticProvider needs at least one flavour, see parsl_pcm.provider")
    if len(set(names)) < len(names):
        raise ValueError(f"flavours need different names, but these were given: {names}")
    if init_blocks < 0 or (max_blocks is not None and init_blocks > max_blocks):
        raise ValueError(f"init_blocks={init_blocks} must be from 0 to max_blocks={max_blocks}")
    if look_every_s < 1:
        raise ValueError(f"look_every_s={look_every_s} must be at least 1: schedulers are shared")


def _gpu_facts(flavour: Flavour) -> dict[str, str]:
    """Return the variable that tells a manager about its GPUs where no driver does."""
    known = {
        "name": flavour.gpu_type,
        "memory_bytes": flavour.gpu_memory,
        "compute_capability": flavour.compute_capability,
    }
    facts = {name: value for name, value in known.items() if value is not None}
    return {"PARSL_PCM_GPU": msgspec.json.encode(facts).decode()} if facts else {}
