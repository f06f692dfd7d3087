"""Hugging Face ``transformers`` on torch: any causal language model, batched, CPU or GPU.

``generate`` of that library does the work, a batch at a time; a batch takes prompts from all calls
that wait with the same options. Drawing, choices and the ends of answers are given to it
as small callables, so that every row of a batch ends, and is drawn, by itself.
"""

from __future__ import annotations

import gc
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeAlias

from parsl_pcm.engines.base import completion_of
from parsl_pcm.engines.combining import Combiner
from parsl_pcm.engines.options import GenerateOptions
from parsl_pcm.engines.protocol import Completion
from parsl_pcm.engines.tokenized import TokenizedEngine, check_model_name
from parsl_pcm.engines.transformers_steps import Choices, Draw, Ends
from parsl_pcm.live import gpu_memory_budget

if TYPE_CHECKING:
    import torch

_BATCH_SIZE_ON_CPU = 16
"""Keeps the processor busy; a larger one only keeps callers waiting."""
_BATCH_SIZE_ON_GPU = 128
"""Where a GPU stops to gain much. Too much for some; then it is halved until it fits."""

_Key: TypeAlias = tuple[GenerateOptions, object | None]
"""Options, and something unique for a prompt that must run alone."""


class TransformersEngine(TokenizedEngine):
    """A model in ``transformers``. Calls of several threads and coroutines share its batches.

    Parameters
    ----------
    model
        Local directory, or name on the Hugging Face hub (``HF_HUB_OFFLINE`` is respected).
    context_window
        Tokens per prompt, answer included; None: what the model was made for.
    batch_size
        The most prompts that go through the model at the same time; None: 16 on a CPU, 128 on a
        GPU. Halved for good whenever the memory does not suffice for a batch.
    device
        As torch names it; None: ``cuda`` if there is a GPU, else ``cpu``.
    dtype
        ``bfloat16``, ``float32``, ...; ``auto``: as the model was saved.

    Raises
    ------
    FileNotFoundError
        `model` is a path, and nothing is there.
    ValueError
        The model has no end-of-text token.
    """

    def __init__(
        self,
        model: str,
        *,
        context_window: int | None = None,
        batch_size: int | None = None,
        device: str | None = None,
        dtype: str = "auto",
    ) -> None:
        model = check_model_name(model)
        import torch
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(model)
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._dtype = dtype
        _keep_to_budget(self._device)
        loaded = _load(model, dtype)
        super().__init__(model, tokenizer, context_window or _window_of(loaded.config))
        self._eos_ids = _eos_ids(loaded, tokenizer)
        default = _BATCH_SIZE_ON_CPU if self._device.type == "cpu" else _BATCH_SIZE_ON_GPU
        self._begin_work(loaded, batch_size or default)

    def _begin_work(self, loaded: Any, batch_size: int) -> None:
        loaded.generation_config = _greedy(self._eos_ids)
        self._model: Any = loaded.to(self._device)
        self._combiner: Combiner[list[int], Completion, _Key] = Combiner(
            self._run, batch_size=batch_size, is_lack_of_memory=_is_lack_of_memory
        )

    def _doze(self) -> None:
        """Move the weights to main memory; those that are there already are read again later."""
        self._combiner.close()
        self._model = None if self._device.type == "cpu" else self._model.to("cpu")
        _give_back()

    def _rise(self) -> None:
        loaded = _load(self.model_name, self._dtype) if self._model is None else self._model
        self._begin_work(loaded, self._combiner.batch_size)

    def _free(self) -> None:
        self._combiner.close()
        self._model = None
        _give_back()

    def _continue(
        self, prompts: list[list[int]], options: GenerateOptions
    ) -> list[Future[Completion]]:
        return self._combiner.submit(
            [((options, self._if_alone(ids, options)), ids, len(ids)) for ids in prompts]
        )

    def _if_alone(self, prompt: list[int], options: GenerateOptions) -> object | None:
        """Return something unique if the answer may reach the end of the context window.

        The window would end for all of its batch.
        """
        return object() if len(prompt) + options.token_limit > self._context_window else None

    def _run(self, key: _Key, prompts: list[list[int]]) -> list[Completion]:
        options, _ = key
        width = max(map(len, prompts))
        ends = Ends(self._tokenizer, width, self._eos_ids, options.stop)
        choices = self._choices(options, width)
        output = self._model.generate(
            **self._padded(prompts, width),
            max_new_tokens=min(options.token_limit, self._context_window - width),
            stopping_criteria=[ends],
            logits_processor=self._logits_processor(options),
            prefix_allowed_tokens_fn=choices,
        )
        rows = []
        for i, prompt in enumerate(prompts):
            answer = output[i, width:].tolist()[: ends.num_tokens.get(i)]
            chosen = None if choices is None else choices.text_of(answer)
            rows.append(
                completion_of(
                    chosen or ends.text_of(answer),
                    num_tokens=(len(prompt), len(answer)),
                    finish_reason="stop" if i in ends.num_tokens else "length",
                    options=options,
                )
            )
        return rows

    def _choices(self, options: GenerateOptions, width: int) -> Choices | None:
        if options.choices is None:
            return None
        return Choices(options.choices, self._tokenizer, width, self._eos_ids[0])

    def _logits_processor(self, options: GenerateOptions) -> list[Draw]:
        return [Draw(options.temperature, options.seed)] if options.temperature else []

    def _padded(self, prompts: list[list[int]], width: int) -> dict[str, Any]:
        """Return the tensors for `generate`, padded on the left so that all prompts end at once."""
        import torch

        pad_id, device = self._eos_ids[0], self._model.device
        ids = [[pad_id] * (width - len(prompt)) + prompt for prompt in prompts]
        mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        return {
            "input_ids": torch.tensor(ids, device=device),
            "attention_mask": torch.tensor(mask, device=device),
        }


def _load(model: str, dtype: str) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(model, dtype=dtype).eval()


def _keep_to_budget(device: torch.device) -> None:
    budget_bytes = gpu_memory_budget()
    if budget_bytes is None or device.type != "cuda":
        return
    import torch

    _, total_bytes = torch.cuda.mem_get_info(device)
    torch.cuda.set_per_process_memory_fraction(min(1.0, budget_bytes / total_bytes), device)


def _give_back() -> None:
    import torch

    gc.collect()  # models hold themselves
    torch.cuda.empty_cache()


def _window_of(config: Any) -> int:
    window = getattr(config.get_text_config(), "max_position_embeddings", None)
    if window is None:
        raise ValueError(
            f"the configuration of this {config.model_type} model names no context window; "
            "give context_window"
        )
    return int(window)


def _eos_ids(model: Any, tokenizer: Any) -> list[int]:
    """Return the end-of-text tokens, of which a model may have several."""
    ids = model.generation_config.eos_token_id
    if ids is None:
        ids = tokenizer.eos_token_id
    if ids is None:
        raise ValueError(
            f"{model.name_or_path!r} has no end-of-text token: its answers would never end; set "
            "eos_token_id in its generation_config.json"
        )
    return list(ids) if isinstance(ids, (list, tuple)) else [ids]


def _greedy(eos_ids: list[int]) -> Any:
    """Return settings that replace what the model's author prefers (top-p, penalties, ...)."""
    from transformers import GenerationConfig

    return GenerationConfig(do_sample=False, eos_token_id=eos_ids, pad_token_id=eos_ids[0])


def _is_lack_of_memory(error: BaseException) -> bool:
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        torch.cuda.empty_cache()  # what is free, but in pieces of the wrong size
        return True
    return isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error)
