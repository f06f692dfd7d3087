"""A process that imports what takes long before anybody needs it."""

from __future__ import annotations

import importlib
import os
import traceback
from collections.abc import Iterable

from parsl_pcm.host.output import flush_output


def import_early(modules: Iterable[str]) -> None:
    """Import modules; one that cannot be imported is told to the log alone.

    The set-up would fail the same way, and tells the user then.
    """
    # Asking CUDA what devices there are would fix the answer for good, and a spare sees none yet.
    # Asked so, torch asks the driver's management library instead, which does not.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    for module in modules:
        try:
            importlib.import_module(module)
        except BaseException:  # noqa: BLE001 - modules run any code, `sys.exit` included
            traceback.print_exc()
    flush_output()
