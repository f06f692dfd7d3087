"""An HTCondor pool: one GPU a slot, wherever one is idle.

The words in capitals are yours to replace. The execution points must reach the submit machine on
``worker_port_range``, and find ``YOUR_ENVIRONMENT`` (a shared file system, or a container).
"""

from parsl.config import Config
from parsl.providers import CondorProvider

from parsl_pcm import PCMExecutor


def fresh_config(run_dir: str = "runinfo") -> Config:
    """Return a configuration for up to sixteen one-GPU slots, none before there is work."""
    provider = CondorProvider(
        cores_per_slot=4,
        mem_per_slot=32,
        scheduler_options="request_gpus = 1\nrequire_gpus = Capability >= 7.0",
        worker_init="source YOUR_ENVIRONMENT/bin/activate",
        walltime="04:00:00",
        init_blocks=0,
        min_blocks=0,
        max_blocks=16,
    )
    executor = PCMExecutor(
        label="pcm",
        provider=provider,
        address="YOUR_SUBMIT_MACHINE",
        worker_port_range=(54000, 55000),
        heartbeat_period=10,
        heartbeat_threshold=60,
    )
    return Config(executors=[executor], run_dir=run_dir, usage_tracking=0)
