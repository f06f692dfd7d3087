"""What each process is told at its start, as data. Written and read as JSON, unknown keys refused.

The interchange gets its configuration on stdin, a manager from a private file in the run
directory: never on a command line, never through a format string.
"""

from __future__ import annotations

from msgspec import Struct

from parsl_pcm.types import NodeResources


class InterchangeConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configuration of the interchange, sent by the executor."""

    label: str
    run_dir: str
    """Directory for its log and the event log; exists."""
    executor_url: str
    """``tcp://address:port`` on which the executor listens."""
    loopback_address: str
    worker_port: int | None
    """Port for managers; None: the first free one of the range."""
    worker_port_range: tuple[int, int]
    cert_dir: str | None
    """Curve certificates; None: no encryption."""
    python_version: str
    parsl_version: str
    pcm_version: str
    heartbeat_period_s: float
    heartbeat_threshold_s: float
    drain_period_s: float | None
    cores_per_worker: float
    prefetch_capacity: int | None
    max_attempts: int
    nodes_per_block: int = 1
    """Managers that one block has at most."""
    possible_nodes: tuple[NodeResources, ...] = ()
    """What the provider could still bring; empty: nothing is known of that."""
    notice_s: float = 10.0
    """Seconds from SIGTERM at a manager to its end, where the site does not say."""
    clean_command: tuple[str, ...] = ()
    """Run once, and left alone, when the user's process is gone: cancels the jobs that wait."""
    check_python_mismatch: bool = True
    debug: bool = False


class ManagerConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configuration of every manager of an executor, in a file that only its owner can read."""

    label: str
    addresses: tuple[str, ...]
    """Addresses of the interchange; the first that answers is used."""
    worker_port: int
    cert_dir: str | None
    log_dir: str
    """Each manager logs in ``{log_dir}/block-{block_id}/{manager_id}``."""
    heartbeat_period_s: float
    heartbeat_threshold_s: float
    address_probe_timeout_s: float
    cores_per_worker: float
    mem_per_worker_gb: float | None
    max_workers_per_node: int | None
    available_accelerators: tuple[str, ...] | int | None
    """None: what the site gave us; a number: so many of those; names: these alone."""
    cpu_affinity: str
    python_path: tuple[str, ...] = ()
    """Directories for the end of the hosts' PYTHONPATH: where the user's own modules lie."""
    debug: bool = False
