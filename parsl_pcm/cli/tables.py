"""Plain aligned columns and a little colour for people at a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

GREEN, YELLOW, RED, BOLD = "32", "33", "31", "1"


def say(line: str = "") -> None:
    """Write a line for the user."""
    sys.stdout.write(line + "\n")


def complain(line: str) -> None:
    """Write a line about what is wrong, to stderr."""
    sys.stderr.write(line + "\n")


def columns(rows: Sequence[Sequence[str]], *, indent: str = "") -> list[str]:
    """Return a line for each row, its cells under each other; the last cell is not padded."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return [
        indent
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def coloured(text: str, colour: str) -> str:
    """Return the text in a colour, if stdout is a terminal whose user does not refuse colours."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{colour}m{text}\x1b[0m"
