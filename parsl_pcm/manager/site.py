"""What the site tells a block through its environment: when it ends, how often it was restarted.

Functions of an environment. A value that makes no sense is logged and counts as not told: a block
that runs is worth more than one that stops at a strange variable.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

logger = logging.getLogger(__name__)


class GpuFacts(Struct, frozen=True, kw_only=True):
    """What is known of the GPUs of a block without asking a driver."""

    name: str | None = None
    memory_bytes: int | None = None
    compute_capability: float | None = None


def remaining_s(
    environment: Mapping[str, str], *, now_wall_s: float, since_start_s: float = 0.0
) -> float | None:
    """Return the seconds until the site ends this block; None if it does not say.

    ``SLURM_JOB_END_TIME`` (seconds since the epoch, in newer versions of Slurm) is exact. Else it
    is the walltime that the block was submitted with, less its age when the manager was launched.

    Parameters
    ----------
    now_wall_s
        Seconds since the epoch, by the clock of this node.
    since_start_s
        Seconds since the manager was launched.
    """
    end_s = _number(environment, "SLURM_JOB_END_TIME")
    if end_s is not None and end_s > now_wall_s:
        return end_s - now_wall_s
    if end_s is not None:
        logger.warning("SLURM_JOB_END_TIME=%.0f is over, and yet we run: not used", end_s)
    walltime_s = _number(environment, "PARSL_PCM_WALLTIME_S")
    if walltime_s is None:
        return None
    age_s = (_number(environment, "PARSL_PCM_BLOCK_AGE_S") or 0.0) + since_start_s
    if walltime_s > age_s:
        return walltime_s - age_s
    logger.warning("a walltime of %.0f s is over after %.0f s, yet we run", walltime_s, age_s)
    return None


def num_restarts(environment: Mapping[str, str]) -> int:
    """Return how often the site has started this block again after taking it back.

    Slurm says so in ``SLURM_RESTART_COUNT`` (unset the first time), HTCondor in the ClassAd of the
    job, Grid Engine only whether it did at all (``RESTARTED``, sge_submit(1)). PBS sets no such
    variable.
    """
    if condor_ad := environment.get("_CONDOR_JOB_AD"):  # first: its pilots may run in Slurm jobs
        return _num_condor_starts(Path(condor_ad))
    count = _number(environment, "SLURM_RESTART_COUNT")
    if count is not None:
        return int(count)
    return int(environment.get("RESTARTED") == "1")


def gpu_facts(environment: Mapping[str, str]) -> GpuFacts:
    """Return what ``PARSL_PCM_GPU`` (JSON) says of the GPUs that this block was submitted for."""
    text = environment.get("PARSL_PCM_GPU")
    if not text:
        return GpuFacts()
    try:
        return msgspec.json.decode(text, type=GpuFacts)
    except msgspec.DecodeError as error:
        logger.warning("PARSL_PCM_GPU=%s is not used: %s", text, error)
        return GpuFacts()


def _num_condor_starts(ad: Path) -> int:
    """Return how often a job had started before this time.

    The ad on the node is a copy from before this start: the shadow counts a start when the starter
    reports it (``BaseShadow::resourceBeganExecution``).
    """
    try:
        text = ad.read_text(errors="replace")
    except OSError as error:
        logger.warning("_CONDOR_JOB_AD=%s cannot be read: %s", ad, error)
        return 0
    found = re.search(r"^NumJobStarts\s*=\s*(\d+)\s*$", text, re.MULTILINE | re.IGNORECASE)
    return int(found[1]) if found else 0


def _number(environment: Mapping[str, str], name: str) -> float | None:
    text = environment.get(name, "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isfinite(value) and value >= 0:
        return value
    logger.warning("%s=%s is no number of 0 or more: not used", name, text)
    return None
