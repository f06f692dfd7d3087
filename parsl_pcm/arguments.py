"""Checks of the constructor arguments of PCMExecutor that types cannot express."""

from __future__ import annotations

import math
from collections.abc import Sequence


def check_arguments(
    cores_per_worker: float,
    max_workers_per_node: int | None,
    cpu_affinity: str,
    max_attempts: int,
) -> None:
    """Refuse values that no node could honour.

    Raises
    ------
    ValueError
        Naming the argument, its value, and what is allowed.
    """
    if cores_per_worker <= 0:
        raise ValueError(f"cores_per_worker must be above 0, not {cores_per_worker}")
    if max_workers_per_node is not None and max_workers_per_node < 1:
        raise ValueError(f"max_workers_per_node must be 1 or more, not {max_workers_per_node}")
    if cpu_affinity not in ("block", "none"):
        raise ValueError(
            f"cpu_affinity must be 'block' (hosts get cores of their own) or 'none' (they share "
            f"them), not {cpu_affinity!r}"
        )
    if max_attempts < 1:
        raise ValueError(f"max_attempts must be 1 or more, not {max_attempts}")


def check_seconds(name: str, value: float) -> None:
    """Refuse a duration that is no finite number of seconds from 0 on.

    Raises
    ------
    ValueError
        Naming the argument, its value, and what is allowed.
    """
    if not (value >= 0 and math.isfinite(value)):
        raise ValueError(f"{name} must be a number of seconds, 0 or more, not {value}")


def wanted_accelerators(available: int | Sequence[str]) -> int | tuple[str, ...] | None:
    """Return how many devices a manager shall take of those it was given, or which; None: all.

    HighThroughputExecutor makes the names "0", "1" and so on of a number. On a node that is shared
    these are somebody else's devices.
    """
    if isinstance(available, int):
        return available or None
    return tuple(available) or None
