"""Where the sweep runs: this machine, or what the user's site file says."""

from __future__ import annotations

import argparse
import runpy
from pathlib import Path

from parsl.config import Config
from parsl.providers import LocalProvider

from fact_check.claims import InputError
from parsl_pcm import PCMExecutor


def load_config(arguments: argparse.Namespace) -> Config:
    """Return the configuration that the command line asks for.

    Raises
    ------
    InputError
        The site file cannot be used.
    """
    if arguments.site is not None:
        return site_config(arguments.site)
    return local_config(arguments.slots, arguments.out / "runinfo")


def local_config(num_slots: int, run_dir: Path) -> Config:
    """Return a configuration of `num_slots` CPU hosts on this machine."""
    executor = PCMExecutor(
        label="pcm",
        max_workers_per_node=num_slots,
        provider=LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1),
    )
    return Config(executors=[executor], run_dir=str(run_dir))


def site_config(path: Path) -> Config:
    """Return what ``fresh_config()`` of a Python file returns.

    Raises
    ------
    InputError
        The file is not there, or gives no Parsl configuration with a PCMExecutor named pcm.
    """
    if not path.is_file():
        raise InputError(f"--site {path}: no such file. Give a Python file with fresh_config().")
    fresh_config = runpy.run_path(str(path)).get("fresh_config")
    if not callable(fresh_config):
        raise InputError(f"--site {path}: defines no function fresh_config(). Add one.")
    config = fresh_config()
    if not isinstance(config, Config):
        raise InputError(
            f"--site {path}: fresh_config() returned a {type(config).__name__}. "
            "Return a parsl.Config."
        )
    labels = [each.label for each in config.executors if isinstance(each, PCMExecutor)]
    if "pcm" not in labels:
        raise InputError(
            f"--site {path}: has no PCMExecutor with label='pcm' (found: {labels or 'none'}). "
            "Add one: PCMExecutor(label='pcm', ...)."
        )
    return config
