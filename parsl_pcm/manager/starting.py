"""Starting hosts: their cores, their environment, their log."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from parsl_pcm.config import ManagerConfig
from parsl_pcm.manager.claims import Claims
from parsl_pcm.manager.environment import HostSurroundings, host_environment
from parsl_pcm.manager.hosts import HostProcess
from parsl_pcm.manager.node import usable_cores
from parsl_pcm.types import HostId
from parsl_pcm.wire.messages import StartHost

logger = logging.getLogger(__name__)


class HostStarter:
    """Starts host processes as the configuration and the node say."""

    def __init__(
        self,
        config: ManagerConfig,
        surroundings: HostSurroundings,
        claims: Claims,
        *,
        log_dir: Path,
        environment: Mapping[str, str],
    ) -> None:
        self._config = config
        self._surroundings = surroundings
        self._claims = claims
        self._log_dir = log_dir
        self._environment = environment
        self._cores_of_host: dict[HostId, tuple[int, ...]] = {}

    def start(self, start: StartHost, now: float) -> HostProcess:
        """Start a host; give its cores back with :meth:`release_cores`, also if this raises.

        Raises
        ------
        OSError
            If the system cannot start another process.
        """
        cores = self._claim_cores(start)
        environment = host_environment(
            self._environment, start, self._surroundings, num_threads=self._num_threads(start)
        )
        host = HostProcess(start, environment=environment, log_dir=self._log_dir, now=now)
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

    def release_cores(self, host_id: HostId) -> None:
        """Give the cores of a host back, once it is gone."""
        self._claims.release_cores(self._cores_of_host.pop(host_id, ()))

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
    """Keep a host on its cores, before its Python starts: all its threads will inherit this."""
    if not cores:
        return
    try:
        os.sched_setaffinity(host.pid, cores)
    except OSError as error:
        logger.warning("host %s runs on any core: %s", host.start.host_id, error)
