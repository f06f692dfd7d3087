"""Notre Dame CRC: the HTCondor pool, on machines of many kinds that others leave idle.

Scheduler: HTCondor
Source: https://wiki.crc.nd.edu/w/index.php/Notre_Dame_Condor_Policy (machines are taken back by
    their owners; stored copy without a date), read 2026-11-22
Source: https://arxiv.org/abs/2509.13201 (2025-09: HTCondor fills machines that Grid Engine leaves
    free; 567 GPUs of 18 models; jobs of 1 GPU, 2 cores, 10 GB), read 2026-11-22

Source: course notes of 2026 on GitHub (jobs are submitted on condorfe.crc.nd.edu), read 2026-11-22

The oldest GPUs named in the paper are GTX TITAN X of 2015. vLLM needs capability 7.0, hence the
default of ``min_capability``.
"""

from parsl.config import Config

from parsl_pcm import PCMExecutor
from parsl_pcm.provider import OpportunisticProvider, htcondor_flavour


def fresh_config(
    *,
    min_capability: float | None = 7.0,
    min_memory_gb: int | None = None,
    requirements: str = "",
    cores_per_gpu: int = 2,
    mem_gb_per_gpu: float = 10.0,
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
        On a file system that the front end and execution machines see under the same path.
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
