"""NCSA Delta: A100 and A40 GPUs of the preemptible partitions, at half the charge.

Scheduler: Slurm
Source: https://github.com/ncsa/Delta_doc docs/source/user_guide (running_jobs.rst of 2025-04-22,
    architecture.rst of 2025-05-20, job_accounting.rst of 2024-09-13), read 2026-11-22

A job runs for 10 minutes at least before it is preempted, and gets SIGTERM 5 minutes before the
end. Charge factors: 0.5 (A100) and 0.25 (A40); 1 and 0.5 in the ordinary partitions. Charged is the
largest share of a node that was asked for: 16 cores or 62.5 GB are a GPU's. Nodes are shared.
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
        The GPU account to charge; `accounts` shows yours, they end in ``-delta-gpu``.
    worker_init
        Commands of the shell that prepare a job: modules, an environment. The environment of this
        Python is on the job's PATH anyway.
    walltime
        ``HH:MM:SS``, 48 hours at most.
    address
        Of this machine, as compute nodes see it. None: they try all that it has.
    run_dir
        On a file system that compute nodes see.
    """
    # GB/s are those of NVIDIA's data sheets: the larger, the faster an LLM decodes.
    flavours = [
        slurm_flavour(
            partition=partition,
            account=account,
            gres=None,
            gpu_memory=gpu_memory,
            compute_capability=compute_capability,
            speed=gb_per_s,
            max_gpus_per_block=4,
            cores_per_gpu=8,
            mem_gb_per_gpu=48,
            walltime=walltime,
            worker_init=worker_init,
        )
        for partition, gpu_memory, compute_capability, gb_per_s in (
            ("gpuA100x4-preempt", "40 GB", 8.0, 1555),
            ("gpuA40x4-preempt", "48 GB", 8.6, 696),
        )
    ]
    provider = OpportunisticProvider(flavours, max_blocks=max_blocks)
    executor = PCMExecutor(label="pcm", provider=provider, address=address)
    return Config(executors=[executor], run_dir=run_dir, usage_tracking=0)
