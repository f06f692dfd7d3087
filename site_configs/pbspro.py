"""A PBS Pro or OpenPBS cluster: one GPU a block.

The words in capitals are yours to replace.
"""

from parsl.config import Config
from parsl.providers import PBSProProvider

from parsl_pcm import PCMExecutor


def fresh_config(run_dir: str = "runinfo") -> Config:
    """Return a configuration for up to four one-GPU jobs, none before there is work."""
    provider = PBSProProvider(
        queue="YOUR_QUEUE",
        account="YOUR_ACCOUNT",
        select_options="ngpus=1:mem=32gb",
        scheduler_options="#PBS -l filesystems=YOUR_FILESYSTEMS",
        worker_init="source YOUR_ENVIRONMENT/bin/activate",
        cpus_per_node=4,
        walltime="04:00:00",
        init_blocks=0,
        min_blocks=0,
        max_blocks=4,
    )
    executor = PCMExecutor(
        label="pcm",
        provider=provider,
        address="YOUR_LOGIN_NODE",
        worker_port_range=(54000, 55000),
    )
    return Config(executors=[executor], run_dir=run_dir, usage_tracking=0)
