"""Any HTCondor pool with a shared file system: one GPU a slot, wherever one is idle.

Scheduler: HTCondor

``condor_status -constraint "TotalGpus > 0"`` shows whether the pool has GPUs.
"""

from parsl.config import Config

from parsl_pcm import PCMExecutor
from parsl_pcm.provider import OpportunisticProvider, htcondor_flavour


def fresh_config(
    *,
    min_capability: float | None = None,
    min_memory_gb: int | None = None,
    requirements: str = "",
    cores_per_gpu: int = 4,
    mem_gb_per_gpu: float = 16.0,
    worker_init: str = "",
    max_blocks: int = 16,
    address: str | None = None,
    run_dir: str = "runinfo",
) -> Config:
    """Return a configuration for slots of one GPU, none before there is work.

    Parameters
    ----------
    min_capability
        Lowest CUDA compute capability that is taken; None: any GPU.
    min_memory_gb
        Least memory of a GPU that is taken, in units of 1000 MB; None: any.
    requirements
        A ClassAd expression that machines must fulfil.
    cores_per_gpu, mem_gb_per_gpu
        Asked for with each GPU.
    worker_init
        Commands of the shell that prepare a job: modules, an environment. The environment of this
        Python is on the job's PATH anyway.
    address
        Of this machine, as execution machines see it. None: they try all that it has.
    run_dir
        On a file system that this machine and execution machines see under the same path.
    """
    wishes = []
    if min_capability is not None:
        wishes.append(f"gpus_minimum_capability = {min_capability}")
    if min_memory_gb is not None:
        wishes.append(f"gpus_minimum_memory = {min_memory_gb * 1000}")
    flavour = htcondor_flavour(
        requirements=requirements,
        gpu_memory=None if min_memory_gb is None else min_memory_gb * 1000**3,
        compute_capability=min_capability,
        cores_per_gpu=cores_per_gpu,
        mem_gb_per_gpu=mem_gb_per_gpu,
        worker_init=worker_init,
        scheduler_options="\n".join(wishes),
    )
    provider = OpportunisticProvider([flavour], max_blocks=max_blocks)
    executor = PCMExecutor(label="pcm", provider=provider, address=address)
    return Config(executors=[executor], run_dir=run_dir, usage_tracking=0)
