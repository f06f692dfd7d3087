"""Starting hosts: their cores, their environment, their log; and spares for later ones."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from parsl_pcm.config import ManagerConfig
from parsl_pcm.manager.claims import Claims
from parsl_pcm.manager.environment import (
    HostSurroundings,
    host_environment,
    own_variables,
    spare_environment,
)
from parsl_pcm.manager.hosts import HostProcess
from parsl_pcm.manager.memory import GpuUsers, HostMemory
from parsl_pcm.manager.node import usable_cores
from parsl_pcm.manager.processes import Child, pin, spawn
from parsl_pcm.manager.spares import SpareKind, Spares
from parsl_pcm.types import HostId
from parsl_pcm.wire.messages import StartHost

logger = logging.getLogger(__name__)


class HostStarter:
    """Starts host processes as the configuration and the node say.

    Attributes
    ----------
    spares
        What it has ready for hosts to come.
    """

    def __init__(
        self,
        config: ManagerConfig,
        surroundings: HostSurroundings,
        claims: Claims,
        gpu_users: GpuUsers,
        *,
        log_dir: Path,
        environment: Mapping[str, str],
    ) -> None:
        self._config = config
        self._surroundings = surroundings
        self._claims = claims
        self._gpu_users = gpu_users
        self._log_dir = log_dir
        self._environment = environment
        self._cores_of_host: dict[HostId, tuple[int, ...]] = {}
        self.spares = Spares(log_dir)

    def start(self, start: StartHost, now: float) -> HostProcess:
        """Start a host; give its cores back with :meth:`release_cores`, also if this raises.

        Raises
        ------
        OSError
            If the system cannot start another process.
        """
        cores = self._claim_cores(start)
        log_path = self._log_dir / f"host-{start.host_id}-{_file_name(start.name)}.log"
        child = self.spares.take(self._kind_of(start), log_path) or self._spawn(start, log_path)
        memory = HostMemory(child.process.pid, start.device_ids, self._gpu_users)
        host = HostProcess(start, child, memory, now=now)
        _pin(host, cores)
        logger.info(
            "host %s: process %s builds %r%s%s, log %s",
            start.host_id,
            host.pid,
            start.name,
            f" on {', '.join(start.device_ids)}" if start.device_ids else "",
            f" on cores {', '.join(map(str, cores))}" if cores else "",
            host.log_path,
        )
        return host

    def order_for(self, start: StartHost) -> StartHost:
        """Return what to send to the host: a spare learns from it what its environment lacks."""
        return msgspec.structs.replace(start, env=own_variables(start, self._surroundings))

    def keep_spare(self, start: StartHost) -> None:
        """See to it that there is a spare for another host like this one."""
        kind = self._kind_of(start)
        if not self.spares.has(kind):
            environment = spare_environment(
                self._environment, start, self._surroundings, num_threads=kind.num_threads
            )
            self.spares.start(kind, environment)

    def release_cores(self, host_id: HostId) -> None:
        """Give the cores of a host back, once it is gone."""
        self._claims.release_cores(self._cores_of_host.pop(host_id, ()))

    def _spawn(self, start: StartHost, log_path: Path) -> Child:
        environment = host_environment(
            self._environment, start, self._surroundings, num_threads=self._num_threads(start)
        )
        return spawn(environment, log_path)

    def _kind_of(self, start: StartHost) -> SpareKind:
        return SpareKind(
            imports=start.requirements.imports,
            env=frozenset(start.env.items()),
            num_threads=self._num_threads(start),
        )

    def _num_cores(self, start: StartHost) -> float:
        return start.requirements.cores or self._config.cores_per_worker

    def _is_pinned(self, start: StartHost) -> bool:
        return self._config.cpu_affinity == "block" and not start.device_ids

    def _num_threads(self, start: StartHost) -> int | None:
        return max(1, int(self._num_cores(start))) if self._is_pinned(start) else None

    def _claim_cores(self, start: StartHost) -> tuple[int, ...]:
        """Claim whole cores of this host's own; a host with a part of one is not pinned."""
        num_cores = self._num_cores(start)
        if not self._is_pinned(start) or not float(num_cores).is_integer():
            return ()
        cores = self._claims.claim_cores(usable_cores(), int(num_cores))
        self._cores_of_host[start.host_id] = cores
        return cores


def _pin(host: HostProcess, cores: tuple[int, ...]) -> None:
    """Keep a host on its cores, as a rule before its Python starts: its threads inherit this."""
    if not cores:
        return
    try:
        pin(host.pid, cores)
    except OSError as error:
        logger.warning("host %s runs on any core: %s", host.start.host_id, error)


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.+-]", "_", name)[:80]
