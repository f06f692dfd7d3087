"""Flavours with good defaults, one function for each scheduler.

They differ from Parsl's providers in what idle GPUs ask for: blocks share nodes with others, are
killed as politely as the site can, keep their output when they are started again, and run the
manager in place of the job's shell, so that it hears what the site has to say.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from parsl_pcm.provider.flavours import Flavour

if TYPE_CHECKING:
    from parsl.launchers.base import Launcher
    from parsl.providers import (
        CondorProvider,
        GridEngineProvider,
        PBSProProvider,
        SlurmProvider,
    )

NO_LIMIT = 1_000_000
"""For Parsl's own max_blocks: ours are kept by growth."""
SECONDS_OF_NOTICE = 30
"""Before the end of the walltime; the shortest grace that sites give to preempted jobs."""


def slurm_flavour(  # noqa: PLR0913 - Parsl's names, all by keyword
    name: str | None = None,
    *,
    partition: str | None = None,
    gpu_type: str | None = None,
    gres: str | None = "gpu",
    account: str | None = None,
    qos: str | None = None,
    constraint: str | None = None,
    clusters: str | None = None,
    walltime: str = "04:00:00",
    cores_per_gpu: int = 4,
    mem_gb_per_gpu: int | None = 16,
    worker_init: str = "",
    scheduler_options: str = "",
    requeue: bool = False,
    launcher: Launcher | None = None,
    **limits: Any,
) -> Flavour:
    """Return a flavour of single GPUs of a Slurm partition.

    Parameters
    ----------
    name
        Default: partition and type.
    gpu_type
        As in ``sinfo -o %G``: ``a100`` in ``gpu:a100:4``. None: any, and Slurm is asked for none.
    gres
        The generic resource, ``gpu`` nearly everywhere: ``#SBATCH --gres=gpu:a100:1``. None: asks
        with ``--gpus-per-node=a100:1``.
    cores_per_gpu, mem_gb_per_gpu
        What a block asks for with each GPU; little, for an idle GPU is of no use to us when the
        cores or the memory beside it are taken. ``mem_gb_per_gpu=None``: what the site gives.
    walltime
        ``HH:MM:SS``. Short ones start sooner where the site fills gaps (backfill).
    scheduler_options
        More lines that begin with ``#SBATCH``; one with ``--signal`` takes the place of ours.
    requeue
        Whether the site shall start a block again itself after it took it back. By default not:
        a block is replaced at once and wherever a GPU is idle, while a job that Slurm starts again
        waits for 2 minutes first, and its partition may be full then.
    launcher
        Default: :class:`~parsl_pcm.launchers.ExecLauncher`.
    limits
        Other fields of :class:`Flavour`: ``max_blocks``, ``max_share``, ``keep_free``, ...
    """

    def provider(num_gpus: int) -> SlurmProvider:
        from parsl.providers import SlurmProvider

        count = _typed(gpu_type, num_gpus)
        return SlurmProvider(
            partition=partition,
            account=account,
            qos=qos,
            constraint=constraint,
            clusters=clusters,
            walltime=walltime,
            worker_init=worker_init,
            exclusive=False,
            cores_per_node=cores_per_gpu * max(num_gpus, 1),
            mem_per_node=mem_gb_per_gpu and mem_gb_per_gpu * max(num_gpus, 1),
            scheduler_options=_slurm_options(
                scheduler_options,
                requeue=requeue,
                gpus=None if gres or not num_gpus else f"--gpus-per-node={count}",
            ),
            gres=f"{gres}:{count}" if gres and num_gpus else None,
            launcher=launcher or _exec_launcher(),
            **_WITHOUT_LIMITS,
        )

    return Flavour(
        name or _name("slurm", partition, gpu_type or constraint),
        provider,
        partition=partition,
        gpu_type=gpu_type,
        **limits,
    )


def htcondor_flavour(  # noqa: PLR0913 - Parsl's names, all by keyword
    name: str | None = None,
    *,
    gpu_type: str | None = None,
    requirements: str = "",
    project: str = "",
    cores_per_gpu: int = 4,
    mem_gb_per_gpu: float | None = 16.0,
    worker_init: str = "",
    scheduler_options: str = "",
    requeue: bool = False,
    launcher: Launcher | None = None,
    **limits: Any,
) -> Flavour:
    """Return a flavour of single GPUs of an HTCondor pool.

    Parameters
    ----------
    gpu_type
        As the pool names its GPUs (``condor_status -constraint 'TotalGpus > 0' -af
        GPUs_DeviceName``). It is for us alone: what the job must get is said in ``requirements``
        or ``scheduler_options``.
    requirements
        A ClassAd expression for the machine.
    scheduler_options
        More lines of the submit file, for example ``gpus_minimum_memory = 20000``.
    requeue
        Whether HTCondor shall start a block again itself after its machine was taken back. By
        default it is removed then, and replaced by growth wherever a GPU is idle.
    cores_per_gpu, mem_gb_per_gpu, launcher, limits
        As for :func:`slurm_flavour`.
    """

    def provider(num_gpus: int) -> CondorProvider:
        from parsl.providers import CondorProvider

        lines = [scheduler_options.strip()]
        if num_gpus:
            lines.append(f"request_gpus = {num_gpus}")
        if not requeue and "periodic_remove" not in scheduler_options.lower():
            lines.append("periodic_remove = (JobStatus == 1) && (NumJobStarts > 0)")
        return CondorProvider(
            requirements=requirements,
            project=project,
            cores_per_slot=cores_per_gpu * max(num_gpus, 1),
            mem_per_slot=mem_gb_per_gpu and mem_gb_per_gpu * max(num_gpus, 1),
            worker_init=worker_init,
            scheduler_options="\n".join(filter(None, lines)),
            launcher=launcher or _exec_launcher(),
            **_WITHOUT_LIMITS,
        )

    return Flavour(name or _name("htcondor", gpu_type), provider, gpu_type=gpu_type, **limits)


def pbs_flavour(  # noqa: PLR0913 - Parsl's names, all by keyword
    name: str | None = None,
    *,
    queue: str | None = None,
    gpu_type: str | None = None,
    select_options: str = "",
    account: str | None = None,
    walltime: str = "04:00:00",
    cores_per_gpu: int = 4,
    mem_gb_per_gpu: int | None = 16,
    worker_init: str = "",
    scheduler_options: str = "",
    requeue: bool = False,
    launcher: Launcher | None = None,
    **limits: Any,
) -> Flavour:
    """Return a flavour of single GPUs of a PBS Pro (or OpenPBS) queue.

    Parameters
    ----------
    gpu_type
        As the site names its GPUs. It is for us alone: what the job must get is said in
        ``select_options``, for names differ from site to site.
    select_options
        More of the select statement, for example ``gpu_model=a100``.
    scheduler_options
        More lines that begin with ``#PBS``.
    requeue
        Whether PBS shall start a block again itself after it took it back (``#PBS -r``).
    walltime, cores_per_gpu, mem_gb_per_gpu, launcher, limits
        As for :func:`slurm_flavour`.
    """

    def provider(num_gpus: int) -> PBSProProvider:
        from parsl.providers import PBSProProvider

        parts = [f"ngpus={num_gpus}"] if num_gpus else []
        if mem_gb_per_gpu:
            parts.append(f"mem={mem_gb_per_gpu * max(num_gpus, 1)}gb")
        parts.append(select_options.strip(":"))
        rerun = _rerun("#PBS", scheduler_options, requeue=requeue)
        return PBSProProvider(
            queue=queue,
            account=account,
            walltime=walltime,
            worker_init=worker_init,
            cpus_per_node=cores_per_gpu * max(num_gpus, 1),
            select_options=":".join(filter(None, parts)),
            scheduler_options=_lines(scheduler_options, rerun),
            launcher=launcher or _exec_launcher(),
            **_WITHOUT_LIMITS,
        )

    return Flavour(
        name or _name("pbs", queue, gpu_type),
        provider,
        partition=queue,
        gpu_type=gpu_type,
        **limits,
    )


def grid_engine_flavour(  # noqa: PLR0913 - Parsl's names, all by keyword
    name: str | None = None,
    *,
    queue: str | None = None,
    gpu_type: str | None = None,
    gpu_resource: str | None = "gpu",
    walltime: str = "04:00:00",
    worker_init: str = "",
    scheduler_options: str = "",
    requeue: bool = False,
    launcher: Launcher | None = None,
    **limits: Any,
) -> Flavour:
    """Return a flavour of single GPUs of a Grid Engine queue.

    Parameters
    ----------
    gpu_type
        As the site names its GPUs. It is for us alone: what the job must get is said in
        ``scheduler_options``.
    gpu_resource
        The site's consumable for GPUs: ``#$ -l gpu=1``. None: ``scheduler_options`` say it.
    scheduler_options
        More lines that begin with ``#$``: cores, memory, project, type of GPU.
    requeue
        Whether Grid Engine shall start a block again itself (``#$ -r``).
    walltime, launcher, limits
        As for :func:`slurm_flavour`.
    """

    def provider(num_gpus: int) -> GridEngineProvider:
        from parsl.providers import GridEngineProvider

        gpus = f"#$ -l {gpu_resource}={num_gpus}" if gpu_resource and num_gpus else ""
        rerun = _rerun("#$", scheduler_options, requeue=requeue)
        return GridEngineProvider(
            queue=queue,
            walltime=walltime,
            worker_init=worker_init,
            scheduler_options=_lines(scheduler_options, gpus, rerun),
            launcher=launcher or _exec_launcher(),
            **_WITHOUT_LIMITS,
        )

    return Flavour(
        name or _name("grid_engine", queue, gpu_type),
        provider,
        partition=queue,
        gpu_type=gpu_type,
        **limits,
    )


def local_flavour(
    name: str = "local",
    *,
    max_blocks: int = 1,
    gpus_per_block: int = 1,
    worker_init: str = "",
    launcher: Launcher | None = None,
    **limits: Any,
) -> Flavour:
    """Return a flavour of blocks on this machine; its GPUs, if any, count as idle always.

    Parameters
    ----------
    max_blocks
        One block finds all the GPUs of the machine.
    gpus_per_block
        How many GPUs contexts may count on; one that needs more is told that nothing serves it.
    launcher
        Default: :class:`~parsl_pcm.launchers.ExecLauncher`.
    """
    from parsl.providers import LocalProvider

    provider = LocalProvider(
        worker_init=worker_init, launcher=launcher or _exec_launcher(), **_WITHOUT_LIMITS
    )
    return Flavour(name, provider, max_blocks=max_blocks, gpus_per_block=gpus_per_block, **limits)


_WITHOUT_LIMITS: dict[str, Any] = {"init_blocks": 0, "min_blocks": 0, "max_blocks": NO_LIMIT}


def _exec_launcher() -> Launcher:
    from parsl_pcm.launchers import ExecLauncher

    return ExecLauncher()


def _name(kind: str, *parts: str | None) -> str:
    return "-".join(part for part in parts if part) or kind


def _typed(gpu_type: str | None, num_gpus: int) -> str:
    return f"{gpu_type}:{num_gpus}" if gpu_type else str(num_gpus)


def _slurm_options(given: str, *, requeue: bool, gpus: str | None) -> str:
    ours = ["--open-mode=append", "--requeue" if requeue else "--no-requeue"]
    if gpus is not None:
        ours.append(gpus)
    if "--signal" not in given:
        # B: to the shell of the job, whose place the manager takes.
        ours.append(f"--signal=B:TERM@{SECONDS_OF_NOTICE}")
    return _lines(given, *(f"#SBATCH {option}" for option in ours))


def _rerun(prefix: str, given: str, *, requeue: bool) -> str:
    """Return the line that says whether to start the job again, unless one is given."""
    is_given = re.search(rf"^{re.escape(prefix)}\s+-r\b", given, re.MULTILINE)
    return "" if is_given else f"{prefix} -r {'y' if requeue else 'n'}"


def _lines(*parts: str) -> str:
    return "\n".join(part.strip() for part in parts if part.strip())
