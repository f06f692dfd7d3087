"""The end of a host whose context is dead though its process is not."""

from __future__ import annotations

import os
import sys
import traceback
from typing import NoReturn

from parsl_pcm.live import ContextLost

EXIT_CODE = 70
"""EX_SOFTWARE of sysexits.h."""


def end_if_lost(error: BaseException) -> None:
    """End this process if the error, or one behind it, says that its context is lost.

    The manager ends what it leaves behind, and the scheduler treats what ran as what had killed it.
    """
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        if isinstance(link, ContextLost):
            end(error)
        seen.add(id(link))
        link = link.__cause__ or link.__context__


def end(error: BaseException) -> NoReturn:
    """End this process; its log says why."""
    traceback.print_exception(type(error), error, error.__traceback__)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(EXIT_CODE)
