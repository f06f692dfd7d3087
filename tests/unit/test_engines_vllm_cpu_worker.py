"""The KV cache of vLLM's worker on CPUs is dropped and taken again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from parsl_pcm.engines.vllm_cpu_worker import KvCacheDropper


class Storage:
    """As much of torch's as is used."""

    def __init__(self, address: int, data: bytes) -> None:
        self.address = address
        self.data = data
        self.num_resizes = 0

    def data_ptr(self) -> int:
        return self.address

    def nbytes(self) -> int:
        return len(self.data)

    def resize_(self, num_bytes: int) -> None:
        self.data = b"?" * num_bytes
        self.num_resizes += 1

    def fill_(self, value: int) -> None:
        self.data = bytes([value]) * len(self.data)


def tensor(storage: Storage) -> Any:
    return SimpleNamespace(untyped_storage=lambda: storage)


def test_cache_is_dropped_and_comes_back_empty() -> None:
    first, second = Storage(1, b"abc"), Storage(2, b"de")
    worker = KvCacheDropper()
    worker.model_runner = SimpleNamespace(kv_caches=[tensor(first), tensor(second)])
    for _ in range(2):
        worker.drop_kv_cache()
        assert (first.data, second.data) == (b"", b"")
        worker.take_kv_cache()
        assert (first.data, second.data) == (bytes(3), bytes(2))


def test_storage_that_layers_share_is_resized_once() -> None:
    shared, own = Storage(1, b"abc"), Storage(2, b"de")
    worker = KvCacheDropper()
    layers = [tensor(shared), (tensor(shared), tensor(own))]
    worker.model_runner = SimpleNamespace(kv_caches=layers)
    worker.drop_kv_cache()
    assert (shared.num_resizes, own.num_resizes) == (1, 1)
