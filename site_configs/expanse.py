"""SDSC Expanse: V100 GPUs of the gpu-preempt partition.

Scheduler: Slurm
Source: https://www.sdsc.edu/support/user_guides/expanse.html (partitions and examples, in public
    copies of its text), read 2026-11-22
Source: https://access-ci.atlassian.net/wiki/spaces/ACCESSdocumentation/pages/467111296 (nodes;
    stored copy without a date), read 2026-11-22
Source: https://hpc-training.sdsc.edu/hpc-training-docs/sdsc-summer-institute-2023 (3.5: preemptible
    jobs; synchronised 2026-04-24), read 2026-11-22

gpu-preempt: 7 days and one node at most, 24 GPUs in all jobs of a group, 0.8 of the charge and no
refund. Jobs must say how much memory they want. Nodes have four V100 of 32 GB and 40 cores.
"""

from parsl.config import Config

from parsl_pcm import PCMExecutor
from parsl_pcm.provider import OpportunisticProvider, slurm_flavour


def fresh_config(
    *,
    account: str,
    worker_init: str = "",
    max_blocks: int = 8,
    walltime: str = "04:00:00",
    address: str | None = None,
    run_dir: str = "runinfo",
) -> Config:
    """Return a configuration for blocks of one GPU, none before there is work.

    Parameters
    ----------
    account
        The project to charge; `expanse-client` shows yours.
    worker_init
        Commands of the shell that prepare a job: modules, an environment. The environment of this
        Python is on the job's PATH anyway.
    walltime
        ``HH:MM:SS``, 7 days at most.
    address
        Of this machine, as compute nodes see it. None: they try all that it has.
    run_dir
        On a file system that compute nodes see.
    """
    flavour = slurm_flavour(
        partition="gpu-preempt",
        account=account,
        gres=None,
        gpu_memory="32 GB",
        compute_capability=7.0,
        max_gpus_per_block=4,
        mem_gb_per_gpu=32,
        walltime=walltime,
        worker_init=worker_init,
    )
    provider = OpportunisticProvider([flavour], max_blocks=max_blocks)
    executor = PCMExecutor(label="pcm", provider=provider, address=address)
    return Config(executors=[executor], run_dir=run_dir, usage_tracking=0)
