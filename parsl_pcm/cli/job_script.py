"""A batch job script, taken apart: its directives, and the lines that prepare the environment."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from parsl_pcm.sites import SiteError

PREFIXES = ("#SBATCH", "#PBS")
OTHER_PREFIXES = {"#BSUB": "LSF", "#$ -": "Grid Engine", "#COBALT": "Cobalt", "#MSUB": "Moab"}

_PREPARES = {
    "module", "ml", "source", ".", "export", "eval", "spack", "unset", "ulimit", "umask", "shopt",
    "cd",
}  # fmt: skip
_CONDAS = {"conda", "mamba", "micromamba"}
_CHATTER = {
    "echo", "printf", "date", "hostname", "pwd", "whoami", "env", "printenv", "nvidia-smi",
    "mkdir", "set", "ls", "true", ":", "scontrol",
}  # fmt: skip
"""What scripts do before their program that a worker does not need."""


@dataclass(frozen=True)
class JobScript:
    """What a script asks of the scheduler, and how it prepares for its program."""

    prefix: str
    """``#SBATCH`` or ``#PBS``."""
    directives: tuple[tuple[str, ...], ...]
    """The words of each directive line, without the prefix."""
    preparation: tuple[str, ...]
    """Lines of the shell, in order."""
    program: str
    """The first line that is neither preparation nor chatter: reading stopped there."""
    notes: tuple[str, ...]
    """Sentences for the user about what was left out, and why."""


def read_job_script(text: str) -> JobScript:
    """Take a script apart.

    Raises
    ------
    SiteError
        It has no directives that we know, or those of two schedulers.
    """
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    prefix = _prefix(lines)
    num_comments = next(
        (number for number, line in enumerate(lines) if _is_command(line)), len(lines)
    )
    directives = [line for line in lines[:num_comments] if line.startswith(prefix)]
    ignored = [line for line in lines[num_comments:] if line.startswith(prefix)]
    preparation, program = _preparation(lines[num_comments:])
    notes = [
        f"left out: {line!r}, for it comes after the first command, where schedulers ignore it"
        for line in ignored
    ]
    return JobScript(
        prefix=prefix,
        directives=tuple(tuple(_words(line[len(prefix) :])) for line in directives),
        preparation=tuple(preparation),
        program=program,
        notes=tuple(notes),
    )


def _prefix(lines: list[str]) -> str:
    found = [prefix for prefix in PREFIXES if any(line.startswith(prefix) for line in lines)]
    if len(found) == 1:
        return found[0]
    if found:
        raise SiteError("the script has #SBATCH and #PBS lines: leave those of one scheduler")
    for prefix, scheduler in OTHER_PREFIXES.items():
        if any(line.startswith(prefix) for line in lines):
            raise SiteError(
                f"the script is for {scheduler}; only Slurm's and PBS's are understood. Start "
                "from `parsl-pcm sites list` instead"
            )
    raise SiteError(
        "the script has no #SBATCH or #PBS lines at the start of a line, so it does not say what "
        "to ask of a scheduler"
    )


def _is_command(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError as error:
        raise SiteError(f"the directive {line.strip()!r} cannot be read: {error}") from error


def _preparation(lines: list[str]) -> tuple[list[str], str]:
    """Return the lines to keep, and the line of the program."""
    kept: list[str] = []
    for line in filter(_is_command, lines):
        commands = list(_commands(line))
        if all(_prepares(words) for words in commands):
            kept.append(line.strip())
        elif not all(_prepares(words) or words[0] in _CHATTER for words in commands):
            return kept, line.strip()
    return kept, ""


def _prepares(words: list[str]) -> bool:
    first = words[0]
    if first in _CONDAS:
        return words[1:2] in (["activate"], ["deactivate"])
    return first in _PREPARES or re.match(r"[A-Za-z_]\w*=", first) is not None


def _commands(line: str) -> Iterator[list[str]]:
    """Yield the words of each command of a line of the shell; a lone "?" if it cannot be told."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        tokens = list(lexer)
    except ValueError:  # an open quote: the line goes on in the next
        yield ["?"]
        return
    words: list[str] = []
    depth = 0
    for token in tokens:
        depth += token.count("(") - token.count(")")
        if depth == 0 and token and set(token) <= set(";&|"):
            yield words or ["?"]
            words = []
        else:
            words.append(token)
    if words:
        yield words
