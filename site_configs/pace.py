"""Georgia Tech PACE Phoenix: GPUs of many types under the free, preemptible embers QOS.

Scheduler: Slurm
Source: https://gatech.service-now.com (knowledge article "PACE - External - Phoenix Cluster
    Resources", public copy of 2025-07-12: GPUs, partitions, only the inferno QOS is charged),
    read 2026-11-22
Source: job scripts and notes of PACE users of 2026 on GitHub (--qos=embers with --partition and
    --gres=gpu:1; 8 hours at most; an hour before a job can be preempted, which cancels it),
    read 2026-11-22
"""

from parsl.config import Config

from parsl_pcm import PCMExecutor
from parsl_pcm.provider import OpportunisticProvider, slurm_flavour

PARTITIONS = ("gpu-h200", "gpu-h100", "gpu-a100", "gpu-l40s", "gpu-rtx6000", "gpu-v100")


def fresh_config(
    *,
    account: str,
    partitions: tuple[str, ...] = PARTITIONS,
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
        The charge account, which is not charged under embers; `pace-quota` shows yours.
    partitions
        Those to look into; users from outside have the same with ``-X`` at the end.
    worker_init
        Commands of the shell that prepare a job: modules, an environment. The environment of this
        Python is on the job's PATH anyway.
    walltime
        ``HH:MM:SS``, 8 hours at most.
    address
        Of this machine, as compute nodes see it. None: they try all that it has.
    run_dir
        On a file system that compute nodes see.
    """
    # GPUs of a node; of the smallest GPU there: memory, compute capability, GB/s of that memory.
    facts = {
        "gpu-h200": (8, "141 GB", 9.0, 4800),
        "gpu-h100": (8, "80 GB", 9.0, 3350),
        "gpu-a100": (2, "40 GB", 8.0, 1555),
        "gpu-l40s": (8, "48 GB", 8.9, 864),
        "gpu-rtx6000": (4, "24 GB", 7.5, 672),
        "gpu-v100": (2, "16 GB", 7.0, 900),
    }
    unknown = (None, None, None, None)
    flavours = []
    for partition in partitions:
        name = partition.removesuffix("-X")
        most_gpus, gpu_memory, compute_capability, gb_per_s = facts.get(name, unknown)
        flavour = slurm_flavour(
            partition=partition,
            qos="embers",
            account=account,
            gpu_memory=gpu_memory,
            compute_capability=compute_capability,
            speed=gb_per_s,
            max_gpus_per_block=most_gpus,
            walltime=walltime,
            worker_init=worker_init,
        )
        flavours.append(flavour)
    provider = OpportunisticProvider(flavours, max_blocks=max_blocks)
    executor = PCMExecutor(label="pcm", provider=provider, address=address)
    return Config(executors=[executor], run_dir=run_dir, usage_tracking=0)
