"""Any PBS Pro or OpenPBS cluster: idle GPUs of one queue.

Scheduler: PBS
"""

from parsl.config import Config

from parsl_pcm import PCMExecutor
from parsl_pcm.provider import OpportunisticProvider, pbs_flavour


def fresh_config(
    *,
    queue: str,
    account: str | None = None,
    gpu_type: str | None = None,
    gpus_per_block: int = 1,
    cores_per_gpu: int = 4,
    mem_gb_per_gpu: int | None = 16,
    select_options: str = "",
    scheduler_options: str = "",
    worker_init: str = "",
    max_blocks: int = 4,
    walltime: str = "04:00:00",
    address: str | None = None,
    run_dir: str = "runinfo",
) -> Config:
    """Return a configuration for blocks of one GPU (by default), none before there is work.

    Parameters
    ----------
    queue, account
        As for qsub.
    gpu_type
        What the GPUs are, such as ``a100``: so that their memory is known. It is not asked for;
        that is for ``select_options``, in the site's own words.
    gpus_per_block
        All those of a node where the site gives whole nodes only.
    cores_per_gpu, mem_gb_per_gpu
        Asked for with each GPU. ``mem_gb_per_gpu=None``: what the site gives.
    select_options
        More of the select statement, such as ``gpu_model=a100``.
    scheduler_options
        More lines that begin with ``#PBS``.
    worker_init
        Commands of the shell that prepare a job: modules, an environment. The environment of this
        Python is on the job's PATH anyway.
    address
        Of this machine, as compute nodes see it. None: they try all that it has.
    run_dir
        On a file system that compute nodes see.
    """
    flavour = pbs_flavour(
        queue=queue,
        account=account,
        gpu_type=gpu_type,
        gpus_per_block=gpus_per_block,
        max_gpus_per_block=gpus_per_block,
        cores_per_gpu=cores_per_gpu,
        mem_gb_per_gpu=mem_gb_per_gpu,
        select_options=select_options,
        walltime=walltime,
        worker_init=worker_init,
        scheduler_options=scheduler_options,
    )
    provider = OpportunisticProvider([flavour], max_blocks=max_blocks)
    executor = PCMExecutor(label="pcm", provider=provider, address=address)
    return Config(executors=[executor], run_dir=run_dir, usage_tracking=0)
