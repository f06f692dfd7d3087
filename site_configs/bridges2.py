"""PSC Bridges-2: H100, L40S and V100 GPUs of the shared GPU partition, where they are idle.

Scheduler: Slurm
Source: https://www.psc.edu/resources/bridges-2/user-guide/ (partition, types, 48 h and 4 GPUs a job
    at most, charges; as job scripts and notes of its users of 2026 quote it), read 2026-11-22

No preemptible partition was found: these are ordinary jobs at the ordinary charge (an H100 counts
twice), asked for while GPUs are idle and given back when there is no work.
"""

from parsl.config import Config

from parsl_pcm import PCMExecutor
from parsl_pcm.provider import OpportunisticProvider, slurm_flavour


def fresh_config(
    *,
    account: str | None = None,
    gpu_types: tuple[str, ...] = ("h100-80", "l40s-48", "v100-32"),
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
        The allocation to charge, if you have several; `projects` shows yours.
    gpu_types
        Those to take: h100-80, l40s-48, v100-32, v100-16.
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
    flavours = [
        slurm_flavour(
            partition="GPU-shared",
            gpu_type=gpu_type,
            gpu_memory=f"{gpu_type.partition('-')[2]} GB",
            gres=None,
            account=account,
            max_gpus_per_block=4,
            mem_gb_per_gpu=None,
            walltime=walltime,
            worker_init=worker_init,
        )
        for gpu_type in gpu_types
    ]
    provider = OpportunisticProvider(flavours, max_blocks=max_blocks)
    executor = PCMExecutor(label="pcm", provider=provider, address=address)
    return Config(executors=[executor], run_dir=run_dir, usage_tracking=0)
