"""The progress bar of a map: ``tqdm.auto``, in a terminal or a notebook."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

from parsl_pcm.mapping.report import MapProgress


def is_watched() -> bool:
    """Whether somebody looks at what this process shows: in a terminal, or in a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if type(shell).__name__ == "ZMQInteractiveShell":
        return True
    return sys.stderr is not None and sys.stderr.isatty()


class ProgressBar:
    """Shows how far a map is. Whatever goes wrong with it, it is the bar alone that suffers."""

    def __init__(self, name: str, num_total: int | None) -> None:
        self._bar: Any = None
        with contextlib.suppress(Exception):
            from tqdm.auto import tqdm  # not in every process that imports us

            # Of 10 updates a second that come, all are shown, but for repeats.
            self._bar = tqdm(desc=name, total=num_total, unit="item", mininterval=0.1)

    def update(self, progress: MapProgress) -> None:
        """Show this."""
        if self._bar is None:
            return
        with contextlib.suppress(Exception):
            if progress.num_errors:
                self._bar.set_postfix(errors=progress.num_errors, refresh=False)
            self._bar.update(progress.num_done + progress.num_skipped - self._bar.n)

    def close(self, progress: MapProgress) -> None:
        """Show this, and leave it standing."""
        self.update(progress)
        if self._bar is not None:
            with contextlib.suppress(Exception):
                self._bar.close()
