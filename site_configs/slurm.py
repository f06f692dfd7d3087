"""A Slurm cluster: one GPU a block, from a partition whose jobs may be preempted.

The words in capitals are yours to replace. ``exclusive=False`` matters: Parsl's default asks for
whole nodes, and an idle GPU is seldom alone on its node.
"""

from parsl.config import Config
from parsl.providers import SlurmProvider

from parsl_pcm import PCMExecutor


def fresh_config(run_dir: str = "runinfo") -> Config:
    """Return a configuration for up to eight one-GPU jobs, none before there is work."""
    provider = SlurmProvider(
        partition="YOUR_PREEMPTIBLE_PARTITION",
        account="YOUR_ACCOUNT",
        exclusive=False,
        gpus_per_node=1,
        cores_per_node=4,
        mem_per_node=32,
        # Appending keeps the log of a job that was preempted and started again.
        scheduler_options="#SBATCH --open-mode=append",
        worker_init="source YOUR_ENVIRONMENT/bin/activate",
        walltime="04:00:00",
        init_blocks=0,
        min_blocks=0,
        max_blocks=8,
    )
    executor = PCMExecutor(
        label="pcm",
        provider=provider,
        address="YOUR_LOGIN_NODE",
        worker_port_range=(54000, 55000),
        heartbeat_period=10,
        heartbeat_threshold=60,
    )
    return Config(executors=[executor], run_dir=run_dir, usage_tracking=0)
