"""Blocks on GPUs that nobody uses now: the provider for PCMExecutor.

1. ``flavours.py``       kinds of block to choose from; ``gpus.py``: facts about GPUs;
   ``ready_made.py``: one function for each scheduler
2. ``schedulers/``       what can be seen of a site: idle GPUs (a Probe), our jobs (a JobBook)
3. ``growth/``           pure: which blocks to ask for, which to give back, when to hold back
4. ``opportunistic.py``  OpportunisticProvider: Parsl's provider interface over all of that, with
   ``looking.py`` (asks the site), ``refusals.py`` and ``statuses.py`` (what it says, in our words)
5. ``leftovers/``        the ledger of jobs, so that none is left behind

Importing this package is light: Parsl is imported when a provider is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parsl_pcm.provider.flavours import Flavour
    from parsl_pcm.provider.growth.demand import Limits
    from parsl_pcm.provider.growth.growth import Growth
    from parsl_pcm.provider.opportunistic import OpportunisticProvider
    from parsl_pcm.provider.ready_made import (
        grid_engine_flavour,
        htcondor_flavour,
        local_flavour,
        pbs_flavour,
        slurm_flavour,
    )
    from parsl_pcm.provider.schedulers.observations import (
        Ending,
        IdleGpus,
        Job,
        JobBook,
        JobPhase,
        LookError,
        Probe,
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
    "Growth": "growth.growth",
    "Limits": "growth.demand",
    "OpportunisticProvider": "opportunistic",
    **dict.fromkeys(
        ["Ending", "IdleGpus", "Job", "JobBook", "JobPhase", "LookError", "Probe"],
        "schedulers.observations",
    ),
    **dict.fromkeys([name for name in __all__ if name.endswith("_flavour")], "ready_made"),
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
