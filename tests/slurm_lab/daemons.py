"""Daemons in the foreground of nobody: they end with the process that started them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

STOP_TIMEOUT_S = 10.0


class Daemon:
    """One process that runs until it is stopped, or until the main thread of ours ends."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @classmethod
    def start(cls, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Daemon:
        """Start it; what it prints goes to the end of the log."""
        # The kernel sends the signal when we die, however we die.
        command = ["setpriv", "--pdeathsig", "TERM", *command]
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(environment),
                cwd="/",
                start_new_session=True,
            )
        return cls(process)

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End it, by force if it does not heed."""
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def clean_environment() -> dict[str, str]:
    """Return the environment of a daemon: nothing of ours, so that no test mistakes it for one."""
    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
