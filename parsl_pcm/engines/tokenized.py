"""What the engines share whose tokenizer comes from ``transformers``: prompts become token ids."""

from __future__ import annotations

import os
from abc import abstractmethod
from concurrent.futures import Future
from typing import Any

from parsl_pcm.engines.base import BaseEngine, row_of_error, too_long
from parsl_pcm.engines.options import GenerateOptions
from parsl_pcm.engines.protocol import Completion, Prompt


class TokenizedEngine(BaseEngine):
    """An engine that is given token ids."""

    def __init__(self, model_name: str, tokenizer: Any, context_window: int) -> None:
        super().__init__(model_name)
        self._tokenizer = tokenizer
        self._context_window = context_window

    def _submit(self, prompts: list[Prompt], options: GenerateOptions) -> list[Future[Completion]]:
        inputs = [self._token_ids_or_error(prompt) for prompt in prompts]
        rows = iter(self._continue([ids for ids in inputs if isinstance(ids, list)], options))
        return [next(rows) if isinstance(ids, list) else row_of_error(ids) for ids in inputs]

    @abstractmethod
    def _continue(
        self, prompts: list[list[int]], options: GenerateOptions
    ) -> list[Future[Completion]]:
        """Begin to answer prompts that fit into the context window; called as `_submit` is."""

    def _token_ids_or_error(self, prompt: Prompt) -> list[int] | Completion:
        try:
            ids = self._token_ids(prompt)
        except Exception as error:  # noqa: BLE001 - a template may raise anything; its row tells
            return Completion.of_error(
                f"the model's chat template cannot take this prompt: {error}"
            )
        if len(ids) >= self._context_window:
            return too_long(len(ids), self._context_window)
        return ids or Completion.of_error("the prompt has no tokens")

    def _token_ids(self, prompt: Prompt) -> list[int]:
        if isinstance(prompt, str):
            return list(self._tokenizer(prompt)["input_ids"])
        text = self._tokenizer.apply_chat_template(
            [dict(message) for message in prompt], tokenize=False, add_generation_prompt=True
        )
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])


def check_model_name(model: str) -> str:
    """Return `model`, a hub name or a local directory, with ``~`` expanded.

    Raises
    ------
    FileNotFoundError
        It is written like a path, and no directory is there.
    """
    expanded = os.path.expanduser(model)
    if expanded.startswith((".", os.sep)) and not os.path.isdir(expanded):
        raise FileNotFoundError(
            f"no model directory at {model!r}; give a directory that this node can see, "
            "or a name on the Hugging Face hub such as 'HuggingFaceTB/SmolLM2-135M-Instruct'"
        )
    return expanded
