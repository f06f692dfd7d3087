"""Tracebacks as the user wants to read them: beginning in the user's code, not in ours."""

from __future__ import annotations

import traceback
from types import FrameType


def format_remote(error: BaseException) -> str:
    """Return the formatted traceback of `error` without the frames that called the user's code."""
    position = error.__traceback__
    while position is not None and _is_machinery(position.tb_frame):
        position = position.tb_next
    return "".join(traceback.format_exception(type(error), error, position))


def describe(error: BaseException) -> str:
    """Return the type and the text of an exception, without its notes."""
    name = type(error).__name__
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the user's __str__ may do anything
        text = "(its text cannot be made)"
    return f"{name}: {text}" if text else name


def _is_machinery(frame: FrameType) -> bool:
    module: str = frame.f_globals.get("__name__", "")
    if module.startswith("parsl_pcm.engines"):
        return False
    return module == "contextlib" or module.partition(".")[0] == "parsl_pcm"
