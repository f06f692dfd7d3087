"""What ``contexts_real.py`` runs in the workers: an importable module, the same for all."""

from __future__ import annotations

import functools
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from parsl_pcm import context


def build(name: str, size_mb: int, build_s: float, log_dir: str) -> bytes:
    """Build a context: touched memory, ready after so long, one file a build."""
    ready_at = time.perf_counter() + build_s
    blob = name.encode() * (size_mb * 10**6 // len(name))
    (Path(log_dir) / f"{name}-{uuid.uuid4().hex}").touch()
    time.sleep(max(0.0, ready_at - time.perf_counter()))
    return blob


@context
def held(name: str, size_mb: int, build_s: float, log_dir: str) -> Iterator[bytes]:
    """Declare the context for PCMExecutor."""
    yield build(name, size_mb, build_s, log_dir)


def use_declared(index: int, blob: bytes) -> tuple[int, str]:
    """Task of PCMExecutor: the result proves which context was there."""
    return index, chr(blob[0])


@functools.lru_cache(maxsize=1)
def cached_build(name: str, size_mb: int, build_s: float, log_dir: str) -> bytes:
    """Build the context as a worker with room for one of them does: the last one used stays."""
    return build(name, size_mb, build_s, log_dir)


def use_cached(
    index: int, name: str, size_mb: int, build_s: float, log_dir: str
) -> tuple[int, str]:
    """Task of HighThroughputExecutor with a cached global."""
    return index, chr(cached_build(name, size_mb, build_s, log_dir)[0])
