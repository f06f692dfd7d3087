"""Whether the user's process is gone, and what is done then: its jobs that wait are cancelled."""

from __future__ import annotations

import logging
import os
import select
import subprocess
import sys
from pathlib import Path

from parsl_pcm.config import InterchangeConfig

logger = logging.getLogger(__name__)


class Parent:
    """The executor's process, which started this one."""

    def __init__(self) -> None:
        self._pid = os.getppid()

    def is_gone(self) -> bool:
        """Whether it has ended.

        Its end of our stdin closes with it, unless a fork of it holds that open; then we have
        another parent.
        """
        return self.closed_stdin() or os.getppid() != self._pid

    def closed_stdin(self) -> bool:
        """Whether our stdin has ended."""
        return bool(select.select([sys.stdin], [], [], 0)[0])


def start_cleaning(config: InterchangeConfig) -> None:
    """Start the clean-up command of the configuration, if it has one, and leave it alone.

    It outlives this process and the terminal, and writes to ``clean.log`` in the run directory.
    """
    if not config.clean_command:
        return
    try:
        with (Path(config.run_dir) / "clean.log").open("ab") as log:
            cleaner = subprocess.Popen(
                config.clean_command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        logger.error("the jobs that wait cannot be cancelled: %s", error)
        return
    logger.info("process %s cancels the jobs that wait; see clean.log", cleaner.pid)
