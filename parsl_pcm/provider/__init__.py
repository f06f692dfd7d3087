"""Blocks on GPUs that nobody uses now: the provider for PCMExecutor.

1. ``observations.py``   what can be seen of a site: idle GPUs, our jobs (two Protocols)
2. ``slurm.py`` ``htcondor.py`` ``pbspro.py`` ``grid_engine.py`` ``parsl_jobs.py``  who sees it
3. ``flavours.py``       kinds of block to choose from; ``gpus.py``: facts about GPUs;
   ``ready_made.py``: one function a scheduler; ``defaults.py``: its probe and its job book
4. ``growth.py``         pure: which blocks to ask for, which to give back, when to hold back;
   its parts: ``demand.py`` ``block.py`` ``history.py`` ``holdback.py`` ``catalogue.py``
   ``allowance.py`` ``needs.py`` ``surplus.py``
5. ``opportunistic.py``  OpportunisticProvider: Parsl's provider interface over all of that
6. ``ledger.py``         every job that was submitted, so that none is left behind

Importing this package is light: Parsl is imported when a provider is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parsl_pcm.provider.demand import Limits
    from parsl_pcm.provider.flavours import Flavour
    from parsl_pcm.provider.growth import Growth
    from parsl_pcm.provider.observations import (
        Ending,
        IdleGpus,
        Job,
        JobBook,
        JobPhase,
        LookError,
        Probe,
    )
    from parsl_pcm.provider.opportunistic import OpportunisticProvider
    from parsl_pcm.provider.ready_made import (
        grid_engine_flavour,
        htcondor_flavour,
        local_flavour,
        pbs_flavour,
        slurm_flavour,
    )

__all__ = [
    "Ending",
    "Flavour",
    "Growth",
    "IdleGpus",
    "Job",
    "JobBook",
    "JobPhase",
    "Limits",
    "LookError",
    "OpportunisticProvider",
    "Probe",
    "grid_engine_flavour",
    "htcondor_flavour",
    "local_flavour",
    "pbs_flavour",
    "slurm_flavour",
]

_MODULE_OF = {
    "Flavour": "flavours",
    "Growth": "growth",
    "Limits": "demand",
    "OpportunisticProvider": "opportunistic",
    **dict.fromkeys(
        ["Ending", "IdleGpus", "Job", "JobBook", "JobPhase", "LookError", "Probe"], "observations"
    ),
    **dict.fromkeys([name for name in __all__ if name.endswith("_flavour")], "ready_made"),
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
