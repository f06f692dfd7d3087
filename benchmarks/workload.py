"""What the benchmarks run in the workers: an importable module, the same for every executor."""

from __future__ import annotations

import functools
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from parsl_pcm import context

CONTEXT_BYTES = 200 * 2**20


def noop() -> None:
    """Do nothing: what is left is the cost of the executor."""


def build(build_s: float, log_dir: str) -> bytes:
    """Build the context: touched memory, ready ``build_s`` after the call, one file a build."""
    ready_at = time.perf_counter() + build_s
    blob = b"x" * CONTEXT_BYTES
    (Path(log_dir) / uuid.uuid4().hex).touch()
    time.sleep(max(0.0, ready_at - time.perf_counter()))
    return blob


def use(blob: bytes, index: int, task_s: float) -> int:
    """Work with the context for a while; the result proves that it was there."""
    time.sleep(task_s)
    return index + blob[index] + len(blob)


@context
def big_context(build_s: float, log_dir: str) -> Iterator[bytes]:
    """Declare the context for PCMExecutor."""
    yield build(build_s, log_dir)


def use_declared(index: int, task_s: float, blob: bytes) -> int:
    """Task of PCMExecutor: the context arrives as an argument."""
    return use(blob, index, task_s)


@functools.lru_cache(maxsize=1)
def cached_build(build_s: float, log_dir: str) -> bytes:
    """Build the context as a careful user of HighThroughputExecutor does: once a worker."""
    return build(build_s, log_dir)


def use_cached(index: int, task_s: float, build_s: float, log_dir: str) -> int:
    """Task of HighThroughputExecutor with a cached global."""
    return use(cached_build(build_s, log_dir), index, task_s)


def use_rebuilt(index: int, task_s: float, build_s: float, log_dir: str) -> int:
    """Task of HighThroughputExecutor without reuse."""
    return use(build(build_s, log_dir), index, task_s)
