"""The files of contexts on nodes in virtual time: fetched once for all hosts, and unpacked."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from parsl_pcm.simulator.engine.parts import VirtualHost
from parsl_pcm.simulator.engine.staging import Staging
from parsl_pcm.simulator.engine.timeline import Timeline
from parsl_pcm.types import ManagerId

Done = Callable[[], object]


class Files:
    """What is there and unpacked, and who waits for the rest."""

    def __init__(self, time: Timeline, staging: Staging) -> None:
        self._time = time
        self._staging = staging
        self._waiting: dict[ManagerId, dict[str, list[Done] | None]] = {}
        """Of each key: who waits for its files; None: they are there."""

    def bring(self, host: VirtualHost, done: Done) -> None:
        """Bring the files that a host needs to its node, once for all hosts of the node.

        Parameters
        ----------
        done
            Called when they are unpacked: now, if they are. Never if the node goes before.
        """
        if not _needs_any(host):
            done()
            return
        keys = self._waiting.setdefault(host.manager_id, {})
        key = f"{host.model.name}/{host.order.variant}"
        if key not in keys:
            keys[key] = [done]
            self._fetch(host, key, partial(self._end, host.manager_id, key))
        elif (waiters := keys[key]) is None:
            done()
        else:
            waiters.append(done)

    def bring_again(self, host: VirtualHost, done: Done) -> None:
        """Bring the files to a host that keeps none: for it alone, and whatever was there."""
        if not _needs_any(host):
            done()
            return
        key = f"host {host.host_id}"
        self._staging.drop(host.manager_id, key)
        self._fetch(host, key, done)

    def forget(self, manager_id: ManagerId) -> None:
        """Take a node away, with all that is on it or on its way."""
        self._waiting.pop(manager_id, None)
        self._staging.forget(manager_id)

    def _fetch(self, host: VirtualHost, key: str, done: Done) -> None:
        unpack = partial(self._time.after, host.way.unpack_on(host.kind), done)
        self._staging.fetch(host.manager_id, key, host.way.files_bytes, unpack)

    def _end(self, manager_id: ManagerId, key: str) -> None:
        keys = self._waiting.get(manager_id)
        waiters = keys.get(key) if keys is not None else None
        if keys is not None and waiters is not None:
            keys[key] = None
            for done in waiters:
                done()


def _needs_any(host: VirtualHost) -> bool:
    return bool(host.way.files_bytes or host.way.unpack_s)
