"""Flavours: the kinds of block to choose from, each with what is known of its GPUs.

``ready_made.py`` has a function for each scheduler that makes one with good defaults.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from parsl_pcm.provider.gpus import GpuFacts, find_gpu, is_of_type
from parsl_pcm.provider.growth.demand import check_limits
from parsl_pcm.provider.schedulers.defaults import default_jobs, default_probe
from parsl_pcm.provider.schedulers.observations import IdleGpus, JobBook, Probe
from parsl_pcm.requirements import parse_memory
from parsl_pcm.types import Device, DeviceId, NodeResources, Requirements

if TYPE_CHECKING:
    from parsl.providers.base import ExecutionProvider

    AnyProvider = ExecutionProvider | Callable[[int], ExecutionProvider]

logger = logging.getLogger(__name__)

T = TypeVar("T")

MOST_GPUS_PER_NODE = 8
"""Of the nodes that one can buy; a site with smaller ones refuses what it has not got."""
UNKNOWN_BYTES = 2**60
UNKNOWN_CORES = 2.0**20
UNKNOWN_CAPABILITY = 99.0
"""What is not known must not keep work away: more than any node has."""
NO_CAPABILITY = 0.0
"""Of GPUs that are not from NVIDIA."""
GB = 10**9
SHARED_FRAC = 0.98
"""Of a GPU's memory, for the hosts that share it: the core leaves the rest free."""


@dataclass(frozen=True)
class Flavour:
    """One kind of block: a provider that gets it, its GPUs, and how many we may take.

    What is not given is looked up by ``gpu_type``; what stays unknown is taken to suffice.

    Raises
    ------
    TypeError, ValueError
        If a value, or a combination of values, cannot be.
    """

    name: str
    """For people, and to tell flavours apart."""
    provider: AnyProvider
    """One of Parsl's providers, or a function from the number of GPUs in a block to one.

    With the function, contexts that need several GPUs get larger blocks.
    """
    _: KW_ONLY
    probe: Probe | None = None
    """Tells what is idle. None: the one of the provider's scheduler; if there is none (local
    machine, LSF), blocks are asked for as if a GPU were always idle."""
    jobs: JobBook | None = None
    """Tells what has become of our jobs. None: the one of the provider's scheduler."""
    partition: str | None = None
    """Where idle GPUs count, or several with commas. None: the provider's, else everywhere."""
    gpu_type: str | None = None
    """The site's name for the GPUs. None: any."""
    gpu_memory: int | str | None = None
    """Of one GPU: ``"24 GB"``, ``"24 GiB"``, or bytes, which it becomes."""
    compute_capability: float | None = None
    """0.0 for GPUs that have none (AMD)."""
    speed: float | None = None
    """Larger is better, in any unit that all flavours share; by default the bandwidth of the GPU's
    memory in GB/s, for decoding waits for it."""
    gpus_per_block: int = 1
    """0: blocks without GPUs."""
    max_gpus_per_block: int | None = None
    """For contexts that need several. None: 8 if ``provider`` is a function, else no larger."""
    max_blocks: int | None = None
    max_share: float = 1.0
    """Of the GPUs of this flavour that are idle or ours, above 0 and at most 1."""
    keep_free: int = 0
    """Idle GPUs of this flavour that are left to others."""
    _cache: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"a flavour needs a name, not {self.name!r}")
        check_limits(
            str(self),
            max_blocks=self.max_blocks,
            max_share=self.max_share,
            keep_free=self.keep_free,
        )
        self._fill_in_block_sizes()
        self._fill_in_facts()
        if not callable(self.provider):
            self._look_at_provider(self.provider)

    def __str__(self) -> str:
        return f"flavour {self.name!r}"

    # --- what it gets -------------------------------------------------------------------------

    def block_provider(self, num_gpus: int) -> ExecutionProvider:
        """Return the provider for blocks of this size, always the same one.

        Raises
        ------
        ValueError
            If this flavour has no blocks of this size.
        """
        if not callable(self.provider):
            if num_gpus != self.gpus_per_block:
                raise ValueError(
                    f"{self} has blocks of {self.gpus_per_block} GPUs only, not of {num_gpus}: "
                    "give a function from the number of GPUs to a provider as provider="
                )
            return self.provider
        return self._cached(("provider", num_gpus), self.provider, num_gpus)

    @property
    def idle_probe(self) -> Probe | None:
        """Who tells what is idle; None: nobody, so a GPU counts as idle always."""
        if self.gpus_per_block == 0:
            return None
        if self.probe is not None:
            return self.probe
        return self._cached("probe", default_probe, self.block_provider(self.gpus_per_block))

    @property
    def pool(self) -> Hashable:
        """Equal for flavours that take the same GPUs."""
        return (id(self.idle_probe), self.partition, self.gpu_type)

    def job_book(self, num_gpus: int) -> JobBook:
        """Return who tells what has become of jobs of blocks of this size."""
        if self.jobs is not None:
            return self.jobs
        return self._cached(("jobs", num_gpus), default_jobs, self.block_provider(num_gpus))

    def count_idle(self, rows: Sequence[IdleGpus]) -> int | None:
        """Return how many GPUs of this flavour are idle; None if the site has none at all.

        Without a partition of our own, the one that shows most of a type counts: partitions
        overlap, and the same GPU must not count twice.
        """
        ours = [row for row in rows if self._is_here(row) and self._is_of_type(row)]
        if not ours:
            return None
        if self.partition:
            return sum(row.num_idle for row in ours)
        most: dict[str, int] = {}
        for row in ours:
            most[row.gpu_type] = max(most.get(row.gpu_type, 0), row.num_idle)
        return sum(most.values())

    # --- what contexts it can serve -----------------------------------------------------------

    def way_for(self, ways: Sequence[Requirements]) -> Requirements | None:
        """Return the first way to build a context that fits into a block, as far as is known."""
        return next((way for way in ways if self._fits(way)), None)

    def gpus_for(self, needs: Requirements) -> int:
        """Return the size of a block for a host with these needs."""
        return max(self.gpus_per_block, needs.gpus * self._num_nodes)

    def hosts_per_block(self, needs: Requirements) -> int:
        """Return how many hosts with these needs a block for them holds side by side."""
        node = self._node(self.gpus_for(needs))
        if needs.gpus == 0:
            num_hosts = self._num_by_cores(node, needs.cores or 1.0, unknown=1)
        else:
            by_gpus = len(node.devices) // needs.gpus * self._hosts_per_gpu(needs)
            num_hosts = min(by_gpus, self._num_by_cores(node, needs.cores, unknown=by_gpus))
        return max(num_hosts, 1) * self._num_nodes

    def node_resources(self) -> NodeResources:
        """Return what a node of the largest block has; what is unknown is more than any has."""
        return self._node(self.largest_block)

    @property
    def largest_block(self) -> int:
        """GPUs of the largest block that may be asked for."""
        return self.max_gpus_per_block or self.gpus_per_block

    # --- inside -------------------------------------------------------------------------------

    def _fill_in_block_sizes(self) -> None:
        if self.gpus_per_block < 0:
            raise ValueError(f"{self}: gpus_per_block={self.gpus_per_block} must be at least 0")
        can_grow = callable(self.provider) and self.gpus_per_block > 0
        if self.max_gpus_per_block is None:
            most = max(self.gpus_per_block, MOST_GPUS_PER_NODE) if can_grow else self.gpus_per_block
            object.__setattr__(self, "max_gpus_per_block", most)
        elif self.gpus_per_block > self.max_gpus_per_block:
            raise ValueError(
                f"{self}: gpus_per_block={self.gpus_per_block} is above "
                f"max_gpus_per_block={self.max_gpus_per_block}: raise the one or lower the other"
            )
        elif self.max_gpus_per_block > self.gpus_per_block and not can_grow:
            raise ValueError(
                f"{self}: max_gpus_per_block={self.max_gpus_per_block} is above "
                f"gpus_per_block={self.gpus_per_block}, but its provider has blocks of one size: "
                "give a function from the number of GPUs to a provider as provider="
            )

    def _fill_in_facts(self) -> None:
        known = find_gpu(self.gpu_type or "") or GpuFacts(self.gpu_type or "", 0, None, None)
        memory_bytes: int | None = known.memory_bytes or None
        if self.gpu_memory is not None:
            memory_bytes = parse_memory("gpu_memory", self.gpu_memory, str(self))
            if memory_bytes == 0:
                raise ValueError(f"{self}: gpu_memory={self.gpu_memory!r} must be above 0")
        capability = known.compute_capability
        if known.memory_bytes and capability is None:
            capability = NO_CAPABILITY
        object.__setattr__(self, "gpu_memory", memory_bytes)
        if self.compute_capability is None:
            object.__setattr__(self, "compute_capability", capability)
        if self.speed is None:
            object.__setattr__(self, "speed", known.bandwidth_gb_per_s)

    def _look_at_provider(self, provider: ExecutionProvider) -> None:
        if self.partition is None:
            found = getattr(provider, "partition", None) or getattr(provider, "queue", None)
            object.__setattr__(self, "partition", found)
        if getattr(provider, "exclusive", False):
            logger.warning(
                "%s: its provider has exclusive=True, so that each block takes a whole node and "
                "all its GPUs; set exclusive=False and gres='gpu:1' to take single idle GPUs",
                self,
            )

    def _is_here(self, row: IdleGpus) -> bool:
        if not self.partition or not row.partition:
            return True
        return row.partition in self.partition.split(",")

    def _is_of_type(self, row: IdleGpus) -> bool:
        if not self.gpu_type or not row.gpu_type:
            return True
        wanted, seen = self.gpu_type.lower(), row.gpu_type.lower()
        if wanted == seen:
            return True
        facts = find_gpu(wanted)
        return facts is not None and facts == find_gpu(seen)

    def _fits(self, needs: Requirements) -> bool:
        num_gpus = self.gpus_for(needs)
        if num_gpus > self.largest_block or not self._gpus_suffice(needs):
            return False
        node = self._node(num_gpus)
        return node.cores >= (needs.cores or 0.0) and node.memory_bytes >= needs.host_memory_bytes

    def _gpus_suffice(self, needs: Requirements) -> bool:
        if needs.gpus == 0:
            return True
        if self.gpu_type and needs.gpu_types and not self._is_any_of(needs.gpu_types):
            return False
        capability = UNKNOWN_CAPABILITY
        if self.compute_capability is not None:
            capability = self.compute_capability
        is_new_enough = capability >= (needs.min_compute_capability or 0.0)
        return is_new_enough and self._gpu_memory_bytes >= (needs.gpu_memory_bytes or 0)

    def _is_any_of(self, wanted: Sequence[str]) -> bool:
        return any(is_of_type(self.gpu_type or "", each) for each in wanted)

    @property
    def _gpu_memory_bytes(self) -> int:
        return UNKNOWN_BYTES if self.gpu_memory is None else int(self.gpu_memory)

    @property
    def _num_nodes(self) -> int:
        return self._node_count(self.gpus_per_block)

    def _node_count(self, num_gpus: int) -> int:
        return int(getattr(self.block_provider(num_gpus), "nodes_per_block", 1) or 1)

    def _hosts_per_gpu(self, needs: Requirements) -> int:
        if needs.gpu_memory_bytes is None or self.gpu_memory is None:
            return 1
        return max(int(SHARED_FRAC * self._gpu_memory_bytes) // needs.gpu_memory_bytes, 1)

    @staticmethod
    def _num_by_cores(node: NodeResources, cores: float | None, *, unknown: int) -> int:
        if not cores or node.cores == UNKNOWN_CORES:
            return unknown
        return math.floor(node.cores / cores + 1e-9)

    def _node(self, num_gpus: int) -> NodeResources:
        """Return what one node of a block of this size has."""
        return self._cached(("node", num_gpus), self._find_out_node, num_gpus)

    def _find_out_node(self, num_gpus: int) -> NodeResources:
        provider = self.block_provider(num_gpus)
        memory_gb = getattr(provider, "mem_per_node", None)
        capability = self.compute_capability
        device = Device(
            device_id=DeviceId("unknown"),
            kind="rocm" if capability == NO_CAPABILITY else "cuda",
            name=self.gpu_type or "",
            memory_bytes=self._gpu_memory_bytes,
            compute_capability=UNKNOWN_CAPABILITY if capability is None else capability,
        )
        return NodeResources(
            cores=float(_cores(provider) or UNKNOWN_CORES),
            memory_bytes=int(memory_gb * GB) if memory_gb else UNKNOWN_BYTES,
            devices=(device,) * (num_gpus // self._node_count(num_gpus)),
        )

    def _cached(self, key: Hashable, make: Callable[..., T], *arguments: Any) -> T:
        if key not in self._cache:
            self._cache[key] = make(*arguments)
        made: T = self._cache[key]
        return made


def _cores(provider: ExecutionProvider) -> int | None:
    """Return the cores of a node; PBSProProvider has a name of its own for that, some have none."""
    return getattr(provider, "cores_per_node", None) or getattr(provider, "cpus_per_node", None)
