"""How the command of a block is run inside its job."""

from __future__ import annotations

from parsl.launchers.base import Launcher


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
