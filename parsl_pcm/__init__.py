"""Pervasive context management for Parsl: LLM inference on GPUs that nobody reserved.

The flow: ``@context`` declares what builds an expensive object (:mod:`parsl_pcm.context`). A
``@python_app`` names it as the default value of a parameter, and ``PCMExecutor``
(:mod:`parsl_pcm.executor`) sends each call to the interchange, whose scheduler
(:mod:`parsl_pcm.core`) gives it to a host in which that object is live already: one process a
context (:mod:`parsl_pcm.host`), started and watched by the manager of its node
(:mod:`parsl_pcm.manager`). What crosses between them is in :mod:`parsl_pcm.wire`.

Importing this package is light: whatever needs Parsl is imported when first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# Imported at once, not lazily: the function must take the name over from the module of that name.
from parsl_pcm.context import ContextRecipe, context
from parsl_pcm.live import ContextLost, live_context, live_variant
from parsl_pcm.version import VERSION

if TYPE_CHECKING:
    from parsl_pcm.errors import PCMError
    from parsl_pcm.executor import PCMExecutor
    from parsl_pcm.mapping.api import pcm_map
    from parsl_pcm.mapping.report import ItemError
    from parsl_pcm.mapping.run import MapRun

__all__ = [
    "ContextLost",
    "ContextRecipe",
    "ItemError",
    "MapRun",
    "PCMError",
    "PCMExecutor",
    "__version__",
    "context",
    "live_context",
    "live_variant",
    "pcm_map",
]

__version__ = VERSION

_MODULE_OF = {
    "ItemError": "parsl_pcm.mapping.report",
    "MapRun": "parsl_pcm.mapping.run",
    "PCMError": "parsl_pcm.errors",
    "PCMExecutor": "parsl_pcm.executor",
    "pcm_map": "parsl_pcm.mapping.api",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
