"""The ready hosts of one context by load, so that the least loaded one is found at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from parsl_pcm.core.inflight import FIRST_PLACES

if TYPE_CHECKING:
    from parsl_pcm.core.records import HostRecord
    from parsl_pcm.types import HostId


class HostLoads:
    """Hosts that may get pieces, in buckets by the number of leases that they hold.

    What a host with many places holds counts as if it had ``FIRST_PLACES`` of them, so that hosts
    which have learned different numbers are compared.

    Every operation costs the same whatever the number of hosts; ties go to the host that has
    been in its bucket for longest. (The buckets are OrderedDicts: looking for the first key of a
    dict takes longer the more keys were taken from its front.)
    """

    def __init__(self) -> None:
        self._buckets: list[OrderedDict[HostId, HostRecord]] = [OrderedDict()]
        self._least = 0
        self._load_of: dict[HostId, int] = {}

    def __len__(self) -> int:
        return len(self._load_of)

    def __contains__(self, host_id: HostId) -> bool:
        return host_id in self._load_of

    def put(self, host: HostRecord) -> None:
        """Add a host, or note that its load changed."""
        load = len(host.leases)
        if host.num_places > FIRST_PLACES:
            load = load * FIRST_PLACES // host.num_places
        host_id, buckets = host.host_id, self._buckets
        before = self._load_of.get(host_id)
        if before is not None:
            del buckets[before][host_id]
        while load >= len(buckets):
            buckets.append(OrderedDict())
        buckets[load][host_id] = host
        self._load_of[host_id] = load
        if load < self._least:
            self._least = load

    def discard(self, host: HostRecord) -> None:
        """Remove a host, if it is there."""
        load = self._load_of.pop(host.host_id, None)
        if load is not None:
            del self._buckets[load][host.host_id]

    def least_loaded(self) -> HostRecord | None:
        """Return the host with the fewest leases; None if there is no host."""
        if not self._load_of:
            return None
        while not self._buckets[self._least]:
            self._least += 1
        return next(iter(self._buckets[self._least].values()))

    def below(self, load: int) -> Iterator[HostRecord]:
        """Yield the hosts with less relative load than that, the least loaded first."""
        for bucket in self._buckets[:load]:
            yield from bucket.values()

    def most_loaded(self) -> HostRecord | None:
        """Return the host with the most leases; None if there is no host."""
        return next(self.equally_loaded(), None)

    def equally_loaded(self) -> Iterator[HostRecord]:
        """Yield the hosts with the most leases, which all have about as many."""
        while len(self._buckets) > 1 and not self._buckets[-1]:
            self._buckets.pop()
        self._least = min(self._least, len(self._buckets) - 1)
        return iter(self._buckets[-1].values())
