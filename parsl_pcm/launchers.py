"""What the shell of a block's job runs, and how."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from parsl.launchers.base import Launcher
from parsl.providers import CondorProvider
from parsl.providers.base import ExecutionProvider
from parsl.providers.cluster_provider import ClusterProvider


class ExecLauncher(Launcher):
    """For blocks of one node: the manager takes the place of the shell of the job.

    Many sites send the signal that announces a preemption to the shell alone, which would not pass
    it on (Slurm with ``proctrack/cgroup``, or ``--signal=B:...``). The command that PCMExecutor
    launches ends with ``exec``, so it must only run in that shell and not below it. ``CORES`` is
    set as by Parsl's own launchers.
    """

    def __call__(
        self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = ""
    ) -> str:
        """Return what the job runs.

        Raises
        ------
        ValueError
            If the block should run more than one manager.
        """
        if tasks_per_node * nodes_per_block != 1:
            raise ValueError(
                f"ExecLauncher runs one manager in a block of one node, not {tasks_per_node} on "
                f"each of {nodes_per_block} nodes; use SrunLauncher or MpiExecLauncher for those"
            )
        return f"export CORES=$(getconf _NPROCESSORS_ONLN)\n{command}"


def export(variables: Mapping[str, str]) -> str:
    """Return shell commands that export these variables, for the beginning of a command line."""
    return "".join(f"export {name}={shlex.quote(value)}; " for name, value in variables.items())


def block_command(command: str) -> str:
    """Return what a block runs, in a shell of the site, so that it becomes the manager.

    The environment of the script is the fallback on its PATH. The age of the shell says how much
    of the walltime is gone already, the time of ``worker_init`` included.
    """
    directory = Path(sys.executable).parent
    age = "$(ps -o etimes= -p $$ 2>/dev/null | tr -d ' ')"
    return f'export PATH="$PATH:{directory}"; export PARSL_PCM_BLOCK_AGE_S={age}; {command}'


def walltime_of(provider: ExecutionProvider) -> dict[str, str]:
    """Return the variable that tells a manager how long its block may live; empty if unknown.

    Parsl hands whole minutes to some schedulers, and HTCondor none at all.
    """
    if not isinstance(provider, ClusterProvider) or isinstance(provider, CondorProvider):
        return {}
    hours, minutes, seconds = (int(part) for part in str(provider.walltime).split(":"))
    whole_minutes_s = (hours * 60 + minutes) * 60
    return {"PARSL_PCM_WALLTIME_S": str(whole_minutes_s or seconds)}
