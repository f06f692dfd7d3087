"""Michigan Great Lakes: A40 or V100 GPUs of the ordinary partitions, where they are idle.

Scheduler: Slurm
Source: https://arc.umich.edu/document/greatlakes-policies/ (partitions spgpu and gpu, 14 days at
    most; stored copy without a date), read 2026-11-22

The page as stored names no preemptible partition: these are ordinary jobs at the ordinary charge,
asked for while GPUs are idle and given back when there is no work. If ``sinfo`` shows you a
preemptible one, give it as ``partition``.
"""

from parsl.config import Config

from parsl_pcm import PCMExecutor
from parsl_pcm.provider import OpportunisticProvider, slurm_flavour


def fresh_config(
    *,
    account: str,
    partition: str = "spgpu",
    worker_init: str = "",
    max_blocks: int = 4,
    walltime: str = "02:00:00",
    address: str | None = None,
    run_dir: str = "runinfo",
) -> Config:
    """Return a configuration for blocks of one GPU, none before there is work.

    Parameters
    ----------
    account
        The Slurm account to charge.
    partition
        ``spgpu``: A40; ``gpu``: V100.
    worker_init
        Commands of the shell that prepare a job: modules, an environment. The environment of this
        Python is on the job's PATH anyway.
    address
        Of this machine, as compute nodes see it. None: they try all that it has.
    run_dir
        On a file system that compute nodes see.
    """
    flavour = slurm_flavour(
        partition=partition,
        gres=None,
        account=account,
        walltime=walltime,
        worker_init=worker_init,
    )
    provider = OpportunisticProvider([flavour], max_blocks=max_blocks)
    executor = PCMExecutor(label="pcm", provider=provider, address=address)
    return Config(executors=[executor], run_dir=run_dir, usage_tracking=0)
