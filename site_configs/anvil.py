"""Purdue Anvil: A100 GPUs of the ordinary GPU partition, where they are idle.

Scheduler: Slurm
Source: https://github.com/PurdueRCAC/RCAC-Docs docs/userguides/anvil of 2025-12-16 (16 nodes of
    4 A100 with 40 GB, jobs need --gpus-per-node), read 2026-11-22
Source: https://github.com/Parsl/parsl parsl/configs/anvil.py of 2026-08-06 (partition, one GPU of a
    shared node), read 2026-11-22

No preemptible queue is described there: these are ordinary jobs at the ordinary charge, asked for
while GPUs are idle and given back when there is no work.
"""

from parsl.config import Config

from parsl_pcm import PCMExecutor
from parsl_pcm.provider import OpportunisticProvider, slurm_flavour


def fresh_config(
    *,
    account: str,
    partition: str = "gpu",
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
        The allocation to charge; `mybalance` shows yours.
    partition
        Another one of A100 nodes, if your allocation has it.
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
        account=account,
        gres=None,
        gpu_memory="40 GB",
        compute_capability=8.0,
        max_gpus_per_block=4,
        walltime=walltime,
        worker_init=worker_init,
    )
    provider = OpportunisticProvider([flavour], max_blocks=max_blocks)
    executor = PCMExecutor(label="pcm", provider=provider, address=address)
    return Config(executors=[executor], run_dir=run_dir, usage_tracking=0)
