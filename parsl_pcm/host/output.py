"""What user code printed, written out in time."""

from __future__ import annotations

import contextlib
import sys


def flush_output() -> None:
    """Write out what user code printed: the end of the log must explain a sudden death."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError, OSError, AttributeError):  # closed or replaced
            stream.flush()
