"""What the job of a block runs."""

from __future__ import annotations

import os
import subprocess

import pytest

from parsl_pcm.launchers import ExecLauncher


def test_process_of_the_job_becomes_that_of_the_command() -> None:
    command = "export SHELL_PID=$$; exec sh -c 'echo \"$SHELL_PID $$ $CORES\"'"
    script = f"true worker_init\n{ExecLauncher()(command, 1, 1)}\necho the shell lives on\n"
    job = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    shell, process, cores = job.stdout.split()
    assert shell == process
    assert int(cores) == os.sysconf("SC_NPROCESSORS_ONLN")


@pytest.mark.parametrize(("tasks_per_node", "nodes_per_block"), [(2, 1), (1, 2), (0, 1)])
def test_more_than_one_manager_is_refused_with_the_cure(
    tasks_per_node: int, nodes_per_block: int
) -> None:
    with pytest.raises(ValueError, match="use SrunLauncher"):
        ExecLauncher()("true", tasks_per_node, nodes_per_block)


def test_repr_recreates_it() -> None:
    assert isinstance(eval(repr(ExecLauncher(debug=False))), ExecLauncher)
    assert not eval(repr(ExecLauncher(debug=False))).debug
