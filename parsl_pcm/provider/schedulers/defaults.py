"""Which probe and which job book belong to a provider.

All flavours of one cluster share one of each, so that one call to the scheduler answers for all.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from parsl_pcm.provider.schedulers.observations import JobBook, Probe

if TYPE_CHECKING:
    from parsl.providers.base import ExecutionProvider


_KINDS = ("SlurmProvider", "CondorProvider", "PBSProProvider", "GridEngineProvider")


def default_probe(provider: ExecutionProvider) -> Probe | None:
    """Return the probe of the provider's scheduler; None if there is none for it."""
    return _probe(_kind(provider), _clusters(provider))


def default_jobs(provider: ExecutionProvider) -> JobBook:
    """Return the job book of the provider's scheduler; else one that asks the provider itself."""
    book = _job_book(_kind(provider), _clusters(provider))
    if book is not None:
        return book
    from parsl_pcm.provider.schedulers.parsl_jobs import ParslJobs

    return ParslJobs(provider)


def _kind(provider: ExecutionProvider) -> str:
    """Return the name of the class of Parsl's that it is, or inherits from; "" for any other.

    By name, so that Parsl, which takes most of a second, need not be imported here.
    """
    names = [each.__name__ for each in type(provider).__mro__]
    return next((name for name in names if name in _KINDS), "")


def _clusters(provider: ExecutionProvider) -> str | None:
    """Return the clusters of a federation that it submits to (Slurm only)."""
    return getattr(provider, "clusters", None)


@functools.cache
def _probe(kind: str, clusters: str | None) -> Probe | None:
    match kind:
        case "SlurmProvider":
            from parsl_pcm.provider.schedulers.slurm import SlurmProbe

            return SlurmProbe(clusters=clusters)
        case "CondorProvider":
            from parsl_pcm.provider.schedulers.htcondor import CondorProbe

            return CondorProbe()
        case "PBSProProvider":
            from parsl_pcm.provider.schedulers.pbspro import PBSProbe

            return PBSProbe()
        case "GridEngineProvider":
            from parsl_pcm.provider.schedulers.grid_engine import GridEngineProbe

            return GridEngineProbe()
        case _:
            return None


@functools.cache
def _job_book(kind: str, clusters: str | None) -> JobBook | None:
    match kind:
        case "SlurmProvider":
            from parsl_pcm.provider.schedulers.slurm import SlurmJobs

            return SlurmJobs(clusters=clusters)
        case "CondorProvider":
            from parsl_pcm.provider.schedulers.htcondor import CondorJobs

            return CondorJobs()
        case "PBSProProvider":
            from parsl_pcm.provider.schedulers.pbspro import PBSJobs

            return PBSJobs()
        case "GridEngineProvider":
            from parsl_pcm.provider.schedulers.grid_engine import GridEngineJobs

            return GridEngineJobs()
        case _:
            return None
