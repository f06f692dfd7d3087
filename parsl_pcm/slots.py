"""What waits, in slots: the number that Parsl's strategies compare with the slots of the blocks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

GROWTH = 2
"""Until an item of a context was measured, its work asks for so many times the slots there are: a
strategy that looks every 5 s has 64 blocks within half a minute, and 10,000 calls that the first
host does in a second have asked for two."""


def slots_wanted(
    demands: Iterable[Mapping[str, Any]], *, num_slots: int, cores_per_slot: float
) -> int:
    """Return how many slots the open work could use now, at least 1.

    Parameters
    ----------
    demands
        Of the contexts, as the interchange tells them (``DEMAND``).
    num_slots
        Of all blocks, those that wait in the site's queue included.
    cores_per_slot
        A context that needs more cores takes as many slots as hold them.
    """
    measured = unmeasured = 0
    for demand in demands:
        wanted = math.ceil(demand["num_wanted"] * _slots_of_a_host(demand, cores_per_slot) - 1e-9)
        if demand["item_s"] is None:
            unmeasured += wanted
        else:
            measured += wanted
    return max(1, measured + min(unmeasured, GROWTH * num_slots))


def _slots_of_a_host(demand: Mapping[str, Any], cores_per_slot: float) -> float:
    """Return the slots of one host: less than one if several share a GPU.

    Before a node has come, the first way to build it tells.
    """
    if demand["hosts_per_gpu"]:
        return 1.0 / float(demand["hosts_per_gpu"])
    first = demand["ways"][0]
    return first["gpus"] or max(1, math.ceil((first["cores"] or 0.0) / cores_per_slot - 1e-9))
