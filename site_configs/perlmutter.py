"""NERSC Perlmutter: whole nodes of four A100 under the preempt QOS.

Scheduler: Slurm
Source: https://docs.nersc.gov/jobs/policy/ (QOSes, and that each job needs one; of the stored copy
    the beginning only), read 2026-11-22
Source: job scripts and notes of NERSC users of 2026 on GitHub that quote that page (GPU nodes with
    ``-C gpu -q preempt``; 2 h at least, 48 h at most; preemptible after 2 h; a quarter of the
    charge; parts of nodes are for the shared QOS), read 2026-11-22

A block is a whole node of four GPUs.
"""

from parsl.config import Config

from parsl_pcm import PCMExecutor
from parsl_pcm.provider import OpportunisticProvider, slurm_flavour


def fresh_config(
    *,
    account: str,
    constraint: str = "gpu",
    worker_init: str = "",
    max_blocks: int = 4,
    walltime: str = "06:00:00",
    address: str | None = None,
    run_dir: str = "runinfo",
) -> Config:
    """Return a configuration for blocks of one node, none before there is work.

    Parameters
    ----------
    account
        The project to charge; Iris shows yours.
    constraint
        ``gpu``: any A100 node, of 40 GB or 80 GB a GPU; ``gpu&hbm80g``: 80 GB alone.
    worker_init
        Commands of the shell that prepare a job: modules, an environment. The environment of this
        Python is on the job's PATH anyway.
    walltime
        ``HH:MM:SS``, from 02:00:00 to 48:00:00.
    address
        Of this machine, as compute nodes see it. None: they try all that it has.
    run_dir
        On a file system that compute nodes see.
    """
    flavour = slurm_flavour(
        "preempt",
        qos="preempt",
        constraint=constraint,
        account=account,
        gres=None,
        gpus_per_block=4,
        max_gpus_per_block=4,
        gpu_memory="80 GB" if "hbm80g" in constraint else "40 GB",
        compute_capability=8.0,
        cores_per_gpu=32,
        mem_gb_per_gpu=None,
        walltime=walltime,
        worker_init=worker_init,
    )
    provider = OpportunisticProvider([flavour], max_blocks=max_blocks)
    executor = PCMExecutor(label="pcm", provider=provider, address=address)
    return Config(executors=[executor], run_dir=run_dir, usage_tracking=0)
