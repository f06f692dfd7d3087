"""Any Slurm cluster: single idle GPUs of one partition, of one or several types.

Scheduler: Slurm

``sinfo -o "%P %G %l"`` shows partitions, types of GPU and longest walltimes. Best is a partition
whose jobs may be preempted: a block that is taken back costs no result.
"""

from parsl.config import Config

from parsl_pcm import PCMExecutor
from parsl_pcm.provider import OpportunisticProvider, slurm_flavour


def fresh_config(
    *,
    partition: str,
    gpu_types: tuple[str, ...] = (),
    account: str | None = None,
    qos: str | None = None,
    constraint: str | None = None,
    cores_per_gpu: int = 4,
    mem_gb_per_gpu: int | None = 16,
    scheduler_options: str = "",
    worker_init: str = "",
    max_blocks: int = 8,
    walltime: str = "04:00:00",
    address: str | None = None,
    run_dir: str = "runinfo",
) -> Config:
    """Return a configuration for blocks of one GPU, none before there is work.

    Parameters
    ----------
    partition
        Where idle GPUs are looked for, and asked for.
    gpu_types
        As after ``gpu:`` in ``sinfo -o %G``; contexts get the fastest that is idle and fits them.
        Empty: GPUs of any type.
    account, qos, constraint
        As for sbatch; None leaves the option out.
    cores_per_gpu, mem_gb_per_gpu
        Asked for with each GPU. ``mem_gb_per_gpu=None``: what the site gives.
    scheduler_options
        More lines that begin with ``#SBATCH``.
    worker_init
        Commands of the shell that prepare a job: modules, an environment. The environment of this
        Python is on the job's PATH anyway.
    address
        Of this machine, as compute nodes see it. None: they try all that it has.
    run_dir
        On a file system that compute nodes see.
    """
    flavours = [
        slurm_flavour(
            partition=partition,
            gpu_type=gpu_type,
            account=account,
            qos=qos,
            constraint=constraint,
            cores_per_gpu=cores_per_gpu,
            mem_gb_per_gpu=mem_gb_per_gpu,
            walltime=walltime,
            worker_init=worker_init,
            scheduler_options=scheduler_options,
        )
        for gpu_type in gpu_types or (None,)
    ]
    provider = OpportunisticProvider(flavours, max_blocks=max_blocks)
    executor = PCMExecutor(label="pcm", provider=provider, address=address)
    return Config(executors=[executor], run_dir=run_dir, usage_tracking=0)
