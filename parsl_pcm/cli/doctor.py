"""``parsl-pcm doctor``: what would go wrong with a configuration, before anything is submitted."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from parsl_pcm.cli.tables import BOLD, GREEN, RED, YELLOW, coloured, columns, complain, say

if TYPE_CHECKING:
    from parsl_pcm.cli.checks import Result

ALL_WELL, SOMETHING_FAILED, BAD_INPUT = 0, 1, 2
"""Exit codes."""
COLOURS = {"OK": GREEN, "WARN": YELLOW, "FAIL": RED}
TITLE_WIDTH = 15
MAX_WIDTH = 120
"""Columns; longer lines are hard to read."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to those of ``parsl-pcm``."""
    parser = subparsers.add_parser(
        "doctor",
        help="check a configuration on this login node, without submitting anything",
        description="Check a configuration on this login node, without submitting anything; "
        "without one, this machine. Exit code: 0 no check failed, 1 one did, 2 bad input.",
    )
    parser.add_argument(
        "config",
        nargs="?",
        metavar="CONFIG",
        help="a Python file with fresh_config(), or the name of a site (`parsl-pcm sites list`)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="settings",
        help="an argument for fresh_config(), as --set account=abc123 or --set max_blocks=8",
    )
    parser.add_argument("--script", action="store_true", help="also print the submit scripts")
    parser.add_argument(
        "--submit", action="store_true", help="also run a test job with one GPU, and tell of it"
    )
    parser.add_argument(
        "--wait-s",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="how long the test job may take to start (default: %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.set_defaults(func=run)


def run(arguments: argparse.Namespace) -> int:
    """Check; return the exit code."""
    from parsl_pcm.cli.checks import Level
    from parsl_pcm.cli.examination import BadConfigError, examine

    try:
        with _quiet_logs():
            results = _shown(examine(arguments), arguments)
    except BadConfigError as error:
        complain(str(error))
        return BAD_INPUT
    if arguments.json:
        say(json.dumps([_as_data(*each) for each in results], indent=1))
    else:
        _show_sum([result for _, result in results])
    has_failed = any(result.level is Level.FAIL for _, result in results)
    return SOMETHING_FAILED if has_failed else ALL_WELL


def _shown(
    found: Iterable[tuple[str, Result]], arguments: argparse.Namespace
) -> list[tuple[str, Result]]:
    """Show the results as they come, unless they shall be JSON; return them all."""
    results: list[tuple[str, Result]] = []
    for section, result in found:
        if not arguments.json:
            _show_heading(section, results[-1][0] if results else None)
            _show(result, is_with_text=arguments.script)
        results.append((section, result))
    return results


@contextlib.contextmanager
def _quiet_logs() -> Iterator[None]:
    """Keep what the parts complain of in their logs from the terminal: our results say it."""
    loggers = [logging.getLogger(name) for name in ("parsl", "parsl_pcm")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _show_heading(section: str, last: str | None) -> None:
    if section != last:
        say(("\n" if last else "") + coloured(section, BOLD))


def _show(result: Result, *, is_with_text: bool) -> None:
    level = coloured(f"{result.level.value:4}", COLOURS[result.level.value])
    first, *rest = _wrapped(result.detail)
    say(f"  {level}  {result.title:{TITLE_WIDTH}} {first}")
    margin = " " * (9 + TITLE_WIDTH)
    for line in rest:
        say(margin + line)
    if result.cure:
        for number, line in enumerate(_wrapped(result.cure)):
            say(f"{margin[:-3]}{'-> ' if number == 0 else '   '}{line}")
    if result.table:
        say("\n".join(columns(result.table, indent=margin)))
    if result.text and is_with_text:
        say("\n".join(f"        | {line}".rstrip() for line in result.text.rstrip().splitlines()))


def _wrapped(text: str) -> list[str]:
    width = min(shutil.get_terminal_size().columns, MAX_WIDTH) - TITLE_WIDTH - 9
    paragraphs = [
        textwrap.wrap(line, max(width, 30), break_on_hyphens=False) for line in text.splitlines()
    ]
    return [line for paragraph in paragraphs for line in paragraph] or [""]


def _show_sum(results: Sequence[Result]) -> None:
    counts = {level: sum(each.level.value == level for each in results) for level in COLOURS}
    words = [f"{counts['OK']} fine"]
    words += [f"{counts['WARN']} to know"] if counts["WARN"] else []
    words += [f"{counts['FAIL']} failed"] if counts["FAIL"] else []
    say("\n" + ", ".join(words) + ".")


def _as_data(section: str, result: Result) -> dict[str, Any]:
    return {
        "section": section,
        "level": result.level.value,
        "title": result.title,
        "detail": result.detail,
        "cure": result.cure,
        "table": [dict(zip(result.table[0], row, strict=True)) for row in result.table[1:]],
        "text": result.text,
    }
