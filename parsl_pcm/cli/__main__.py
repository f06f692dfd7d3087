"""Entry point of ``parsl-pcm``.

Exit codes: 0 all is well, 1 something that was checked or tried is not, 2 bad input, 130
stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from parsl_pcm.version import VERSION

COMMANDS = ("sites", "doctor", "clean", "simulate")
STOPPED = 130
"""As shells say it of Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sub-command that the arguments name; return its exit code."""
    try:
        parsed = parser().parse_args(arguments)
        return int(parsed.func(parsed))
    except BrokenPipeError:  # `parsl-pcm sites list | head`
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        return STOPPED


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = argparse.ArgumentParser(
        prog="parsl-pcm",
        description="Contexts that stay live on GPUs that nobody reserved: site configurations, "
        "checks, cleaning up, and planning.",
    )
    top.add_argument("--version", action="version", version=f"parsl-pcm {VERSION}")
    subparsers = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        import_module(f"parsl_pcm.cli.{command}").add_parser(subparsers)
    return top


if __name__ == "__main__":
    sys.exit(main())
