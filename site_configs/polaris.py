"""ALCF Polaris: whole nodes of four A100 of the preemptable queue.

Scheduler: PBS
Source: https://github.com/argonne-lcf/user-guides docs/polaris (running-jobs/index.md of
    2026-02-17, index.md of 2025-03-11), read 2026-11-22
Source: https://github.com/Parsl/parsl parsl/configs/polaris.py of 2026-08-06 (ngpus=4, 64 CPUs,
    interface bond0), read 2026-11-22

Jobs of this queue are killed without any warning when the demand queue wants their nodes. 1 to 10
nodes, 5 minutes to 72 hours, 20 jobs of a project at most. Compute nodes reach the Internet through
a proxy alone.
"""

from parsl.config import Config

from parsl_pcm import PCMExecutor
from parsl_pcm.provider import OpportunisticProvider, pbs_flavour


def fresh_config(
    *,
    account: str,
    filesystems: str = "home:eagle",
    worker_init: str = "",
    max_blocks: int = 4,
    walltime: str = "04:00:00",
    address: str | None = None,
    run_dir: str = "runinfo",
) -> Config:
    """Return a configuration for blocks of one node, none before there is work.

    Parameters
    ----------
    account
        The project to charge.
    filesystems
        Those that the job needs, with colons.
    worker_init
        Commands of the shell that prepare a job: modules, an environment. The environment of this
        Python is on the job's PATH anyway.
    walltime
        ``HH:MM:SS``, 72 hours at most.
    address
        Of this machine, as compute nodes see it. None: they try all that it has
        (``parsl.addresses.address_by_interface("bond0")`` in Parsl's own configuration).
    run_dir
        On a file system that compute nodes see.
    """
    flavour = pbs_flavour(
        queue="preemptable",
        account=account,
        gpu_memory="40 GB",
        compute_capability=8.0,
        gpus_per_block=4,
        max_gpus_per_block=4,
        cores_per_gpu=16,
        mem_gb_per_gpu=None,
        select_options="system=polaris",
        scheduler_options=f"#PBS -l filesystems={filesystems}",
        walltime=walltime,
        worker_init=worker_init,
    )
    provider = OpportunisticProvider([flavour], max_blocks=max_blocks)
    executor = PCMExecutor(label="pcm", provider=provider, address=address)
    return Config(executors=[executor], run_dir=run_dir, usage_tracking=0)
