"""Asking a scheduler through its command-line tools."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Generic, TypeVar

from parsl_pcm.provider.schedulers.observations import LookError

DEFAULT_TIMEOUT_S = 20.0
"""A busy Slurm controller answers within seconds; its own clients give up after some 10 s."""
# What the clients of Slurm (measured, 22.05), HTCondor, PBS and Grid Engine say in that case.
UNREACHABLE = ("unable to contact", "failed to connect", "cannot connect", "unable to send message")

Row = TypeVar("Row")


class NoAnswerError(LookError):
    """No program, no end, or nobody there: to ask in another form would not help."""


def ask(
    command: Sequence[str],
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    environment: Mapping[str, str] | None = None,
    accepted: Collection[int] = (0,),
) -> str:
    """Return what a command prints, in the C locale.

    Parameters
    ----------
    command
        Program and arguments; no shell is involved.
    environment
        Variables to set for it besides ours.
    accepted
        Exit codes with which the output is an answer.

    Raises
    ------
    NoAnswerError
        The program is not there, did not end in time, or does not reach the scheduler.
    LookError
        It failed.
    """
    program = command[0]
    variables = {**os.environ, "LC_ALL": "C", **(environment or {})}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            env=variables,
            check=False,
        )
    except FileNotFoundError:
        raise NoAnswerError(
            f"the command {program!r} is not on PATH: run this on a login node of the cluster, or "
            "load the module that has it"
        ) from None
    except OSError as error:
        raise NoAnswerError(f"the command {program!r} cannot be run: {error}") from error
    except subprocess.TimeoutExpired:
        raise NoAnswerError(
            f"{' '.join(command)} did not answer within {timeout_s:g} s: the scheduler is busy or "
            "unreachable"
        ) from None
    if done.returncode not in accepted:
        words = done.stderr.decode(errors="replace").strip() or "it printed nothing"
        is_unreachable = any(sign in words.lower() for sign in UNREACHABLE)
        raise (NoAnswerError if is_unreachable else LookError)(
            f"{' '.join(command)} failed with exit code {done.returncode}: {words}"
        )
    return done.stdout.decode(errors="replace")


class Forms(Generic[Row]):
    """Ways to ask for the same: asks in the one that worked last, in the next one if that fails.

    Parameters
    ----------
    forms
        Each asks and reads, or raises LookError; the best one first.
    """

    def __init__(self, *forms: Callable[[], list[Row]]) -> None:
        self._forms = list(forms)

    def rows(self) -> list[Row]:
        """Return the answer.

        Raises
        ------
        LookError
            None of them gave one; tells what was wrong with the first.
        """
        first_error: LookError | None = None
        for form in list(self._forms):
            try:
                rows = form()
            except LookError as error:
                first_error = first_error or error
                if isinstance(error, NoAnswerError):
                    break
            else:
                self._forms.remove(form)
                self._forms.insert(0, form)
                return rows
        raise first_error or LookError("there is no form to ask in")
