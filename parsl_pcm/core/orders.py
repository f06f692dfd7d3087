"""What managers are told about hosts: each order is recorded, then given."""

from __future__ import annotations

from parsl_pcm.core import actions
from parsl_pcm.core.actions import Action
from parsl_pcm.core.capacity import Place
from parsl_pcm.core.cluster import Cluster
from parsl_pcm.core.records import ContextRecord, HostRecord, LeaseRecord


class Orders:
    """The ways to start and end hosts, to put them to sleep, and to ask pieces back.

    Parameters
    ----------
    cluster
        Where they are recorded.
    decided
        Where they are appended; the scheduler hands them out.
    """

    def __init__(self, cluster: Cluster, decided: list[Action]) -> None:
        self._cluster = cluster
        self._decided = decided

    def start(self, context: ContextRecord, place: Place) -> HostRecord:
        """Start a host."""
        host = self._cluster.add_host(context, place)
        self._decided.append(
            actions.StartHost(
                manager_id=place.manager.manager_id,
                host_id=host.host_id,
                context_key=context.context_key,
                device_ids=place.manager.device_ids(place.device_positions),
                variant=place.variant,
            )
        )
        return host

    def stop(self, host: HostRecord, *, is_eviction: bool = False) -> None:
        """End a host that has no piece, or none that anybody still counts on."""
        self._cluster.host_stopping(host)
        self._decided.append(
            actions.StopHost(
                manager_id=host.manager.manager_id, host_id=host.host_id, is_eviction=is_eviction
            )
        )

    def sleep(self, host: HostRecord) -> None:
        """Put an idle host to sleep."""
        self._cluster.host_dozing(host)
        self._decided.append(
            actions.SleepHost(manager_id=host.manager.manager_id, host_id=host.host_id)
        )

    def wake(self, host: HostRecord) -> None:
        """Wake a host that sleeps and whose full claim fits."""
        self._cluster.host_waking(host)
        self._decided.append(
            actions.WakeHost(manager_id=host.manager.manager_id, host_id=host.host_id)
        )

    def reclaim(self, host: HostRecord, newcomer: ContextRecord) -> None:
        """Give a host nothing new, and ask back what waits there: it leaves when it is idle."""
        self._cluster.reclaim(host, newcomer)
        for lease in host.queued():
            self.revoke(lease)

    def revoke(self, lease: LeaseRecord) -> None:
        """Ask for a piece back, once."""
        if lease.is_revoking:
            return
        lease.is_revoking = True
        host = lease.host
        self._decided.append(
            actions.RevokeLease(
                manager_id=host.manager.manager_id, host_id=host.host_id, lease_id=lease.lease_id
            )
        )
