"""The log of what happens in the user's process; Parsl's own log has its own lines only."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path


def log_to(path: Path) -> Callable[[], None]:
    """Write what this package logs, from INFO on, to a file as well; return what ends that."""
    package = logging.getLogger("parsl_pcm")
    level = package.level
    handler = logging.FileHandler(path)
    handler.setLevel(logging.INFO)
    handler.setFormatter(
        logging.Formatter("%(asctime)s.%(msecs)03d %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")
    )
    package.addHandler(handler)
    if package.getEffectiveLevel() > logging.INFO:
        package.setLevel(logging.INFO)

    def end() -> None:
        package.removeHandler(handler)
        package.setLevel(level)
        handler.close()

    return end
