"""A laptop or workstation, the one you are on: two contexts at a time on its CPUs.

Scheduler: none

On a machine with GPUs leave ``max_workers_per_node`` out: the executor finds the GPUs by itself.
"""

from parsl.config import Config
from parsl.providers import LocalProvider

from parsl_pcm import PCMExecutor


def fresh_config(*, run_dir: str = "runinfo") -> Config:
    """Return a configuration for two CPU hosts on this machine."""
    executor = PCMExecutor(
        label="pcm",
        address="127.0.0.1",
        max_workers_per_node=2,
        cores_per_worker=0.5,
        provider=LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1),
    )
    return Config(executors=[executor], run_dir=run_dir, usage_tracking=0)
