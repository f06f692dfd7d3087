"""Lets vLLM's worker on CPUs give back the memory of its KV cache. Used in the core's process.

vLLM's own sleep mode is for GPUs: there the weights move to main memory and the KV cache is
dropped. On CPUs the weights are in main memory as it is, and the worker ignores the order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class KvCacheDropper:
    """Methods that vLLM adds to its worker (``worker_extension_cls``), for ``collective_rpc``."""

    model_runner: Any
    """Of the worker."""

    def drop_kv_cache(self) -> None:
        """Give back the memory; what was cached must have been forgotten before."""
        self._dropped = [(storage, storage.nbytes()) for storage in self._kv_storages()]
        for storage, _ in self._dropped:
            storage.resize_(0)

    def take_kv_cache(self) -> None:
        """Take as much memory again, set to zero as at the start."""
        for storage, num_bytes in self._dropped:
            storage.resize_(num_bytes)
            storage.fill_(0)

    def _kv_storages(self) -> Iterator[Any]:
        """Yield what holds the KV cache, each once: layers may share it."""
        seen: set[int] = set()
        for of_layer in self.model_runner.kv_caches:
            for tensor in of_layer if isinstance(of_layer, (list, tuple)) else [of_layer]:
                storage = tensor.untyped_storage()
                if storage.data_ptr() not in seen:
                    seen.add(storage.data_ptr())
                    yield storage
