"""Checks of the submit script: rendered by the provider itself, handed to nobody."""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from parsl_pcm.cli.checks import Level, Result, fail, ok, warn
from parsl_pcm.launchers import block_command, export, walltime_of
from parsl_pcm.provider.schedulers.commands import ask
from parsl_pcm.provider.schedulers.observations import LookError

if TYPE_CHECKING:
    from parsl.providers.base import ExecutionProvider

DIRECTIVES = ("#SBATCH ", "#PBS ", "#$ ", "#BSUB ")
MAX_DETAIL_CHARS = 300


class _RenderedError(Exception):
    """The script is written: stop the provider before it submits."""


class Rendered:
    """The files that a provider would submit.

    Raises
    ------
    LookError
        If this provider does not write scripts, or cannot.
    """

    def __init__(self, provider: ExecutionProvider, launch_cmd: str) -> None:
        command = export(walltime_of(provider)) + block_command(
            launch_cmd.format(config="RUN_DIR/manager.json", block_id="0")
        )
        with tempfile.TemporaryDirectory() as directory:
            _write(provider, command, directory)
            files = sorted(Path(directory).iterdir(), key=os.path.getmtime)
            text = "\n".join(path.read_text() for path in files)
            self.text = text.replace(directory, "RUN_DIR/submit_scripts")

    @property
    def directives(self) -> list[str]:
        """What is asked of the scheduler, without the names of output files."""
        found = (
            line.removeprefix(start).strip()
            for line in self.text.splitlines()
            for start in DIRECTIVES
            if line.startswith(start)
        )
        return [each for each in found if not _names_files(each)]


def _names_files(directive: str) -> bool:
    return directive.startswith(("--output", "--error", "--job-name", "-o ", "-e ", "-N ", "-J "))


def _write(provider: ExecutionProvider, command: str, directory: str) -> None:
    """Let a copy of the provider write its scripts, and stop it there."""
    if not hasattr(provider, "_write_submit_script"):
        raise LookError(f"{type(provider).__name__} submits no script")
    stand_in: Any = copy.copy(provider)
    stand_in.resources, stand_in.script_dir = {}, directory
    write: Callable[..., object] = stand_in._write_submit_script

    def write_and_stop(*arguments: object) -> NoReturn:
        write(*arguments)
        raise _RenderedError

    stand_in._write_submit_script = write_and_stop
    try:
        stand_in.submit(command, 1, "parsl-pcm-doctor")
    except _RenderedError:
        return
    except Exception as error:
        raise LookError(f"{type(error).__name__}: {error}") from error
    raise LookError("the provider submitted something else than its script")


def submit_script(provider: ExecutionProvider, launch_cmd: str) -> Result:
    """Check that the provider can write its script."""
    try:
        rendered = Rendered(provider, launch_cmd)
    except LookError as error:
        return fail("submit script", str(error), "correct the arguments of the provider")
    asked = " ".join(rendered.directives)[:MAX_DETAIL_CHARS]
    detail = asked or f"{len(rendered.text.splitlines())} lines"
    return Result(Level.OK, "submit script", detail, text=rendered.text)


def hears_no_signals() -> Result:
    """Say what Parsl's default launcher does to the notice before a preemption."""
    return warn(
        "launcher",
        "with SingleNodeLauncher the manager does not hear the signal before a preemption",
        "set launcher=parsl_pcm.launchers.ExecLauncher() (or SrunLauncher() for several nodes)",
    )


def is_exclusive() -> Result:
    """Say what a provider's ``exclusive=True``, Parsl's default, means."""
    return warn(
        "whole nodes",
        "exclusive=True: each block takes a whole node with all its GPUs",
        "set exclusive=False, and gres='gpu:1' or the like, to take single idle GPUs",
    )


def would_be_taken(provider: ExecutionProvider, launch_cmd: str) -> Result:
    """Let Slurm validate the script, which submits nothing."""
    try:
        rendered = Rendered(provider, launch_cmd)
        with tempfile.NamedTemporaryFile("w", suffix=".sh") as script:
            script.write(rendered.text)
            script.flush()
            ask(("sbatch", "--test-only", script.name))
    except LookError as error:
        words = str(error).rpartition("exit code 1: ")[2]
        cure = "correct partition, account, qos, gres, constraint or walltime of the provider"
        return fail("test of script", words, cure)
    return ok("test of script", "Slurm would take it (sbatch --test-only)")
