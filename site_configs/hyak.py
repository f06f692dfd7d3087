"""UW Hyak klone: idle GPUs of all groups, through the checkpoint partitions.

Scheduler: Slurm
Source: https://hyak.uw.edu/docs/compute/checkpoint (its text of 2024-09-27 in
    https://github.com/UWrc/UWrc.github.io), read 2026-11-22

A job is stopped without notice when the group that owns its GPU wants it, and after 8 to 9 hours in
any case. ckpt-all has all nodes, ckpt those with Intel's CPUs and older GPUs, ckpt-g2 those with
AMD's CPUs and L40 or L40S GPUs. `hyakalloc` shows what is idle.
"""

from parsl.config import Config

from parsl_pcm import PCMExecutor
from parsl_pcm.provider import OpportunisticProvider, slurm_flavour


def fresh_config(
    *,
    account: str,
    partition: str = "ckpt-all",
    gpu_types: tuple[str, ...] = (),
    worker_init: str = "",
    max_blocks: int = 8,
    walltime: str = "08:00:00",
    address: str | None = None,
    run_dir: str = "runinfo",
) -> Config:
    """Return a configuration for blocks of one GPU, none before there is work.

    Parameters
    ----------
    account
        Of your group, as `hyakalloc` shows it.
    partition
        ``ckpt-all``, ``ckpt`` or ``ckpt-g2``.
    gpu_types
        As after ``gpu:`` in ``sinfo -p ckpt-all -o %G``. Empty: GPUs of any type.
    worker_init
        Commands of the shell that prepare a job: modules, an environment. The environment of this
        Python is on the job's PATH anyway.
    address
        Of this machine, as compute nodes see it. None: they try all that it has.
    run_dir
        On a file system that compute nodes see.
    """
    flavours = [
        slurm_flavour(
            partition=partition,
            gpu_type=gpu_type,
            gres=None,
            account=account,
            walltime=walltime,
            worker_init=worker_init,
        )
        for gpu_type in gpu_types or (None,)
    ]
    provider = OpportunisticProvider(flavours, max_blocks=max_blocks)
    executor = PCMExecutor(label="pcm", provider=provider, address=address)
    return Config(executors=[executor], run_dir=run_dir, usage_tracking=0)
