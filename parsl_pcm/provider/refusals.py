"""Why a job was not taken: the scheduler's own words, and whether asking again can help."""

from __future__ import annotations

import re
import subprocess

from parsl.providers.errors import SubmitException

_PASSING = re.compile(
    r"unable to contact|timed? ?out|connection (refused|reset|closed)|zero bytes"
    r"|temporarily (unavailable|unable)|temporary failure|communication (failure|error)"
    r"|transport endpoint|cannot connect|can't connect|failed to connect|could not connect"
    r"|no route to host|in the process of|try again|retry|slurm_persist|backup controller"
    r"|end of file|expired|failed to fetch ads",
    re.IGNORECASE,
)
"""What Slurm, PBS, HTCondor, Grid Engine and LSF say when their server is busy or away."""


def words_of(error: BaseException) -> str:
    """Return what the scheduler said, without Parsl's wrapping where there is any."""
    if isinstance(error, SubmitException):
        said = [text.strip() for text in (error.stderr, error.stdout) if text and text.strip()]
        return " ".join(said) or f"{error.message} (exit code {error.retcode})"
    if isinstance(error, subprocess.TimeoutExpired):
        return f"{error.cmd} did not answer within {error.timeout:g} s: timed out"
    return f"{type(error).__name__}: {error}"


def is_passing(error: BaseException) -> bool:
    """Whether the scheduler was busy or away, rather than unwilling."""
    return isinstance(error, subprocess.TimeoutExpired) or bool(_PASSING.search(words_of(error)))
