from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from parsl_pcm.engines import Completion, Prompt
from parsl_pcm.engines.options import GenerateOptions
from parsl_pcm.engines.tokenized import TokenizedEngine, check_model_name

CHAT = [{"role": "user", "content": "hello"}]


class ByteTokenizer:
    """A token a byte, 0 at the start of a text; a chat template of one word a message."""

    def __call__(self, text: str, *, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [0] * add_special_tokens + list(text.encode())}

    def apply_chat_template(self, messages: list[dict[str, str]], **options: object) -> str:
        assert options == {"tokenize": False, "add_generation_prompt": True}
        if messages[0]["role"] != "user":
            raise KeyError("roles must alternate")
        return "".join(f"<{message['content']}>" for message in messages)


class CountingEngine(TokenizedEngine):
    """Answers with the number of tokens that it was given."""

    def __init__(self) -> None:
        tokenizer: Any = ByteTokenizer()
        super().__init__("counting", tokenizer, context_window=10)

    def _continue(
        self, prompts: list[list[int]], options: GenerateOptions
    ) -> list[Future[Completion]]:
        return [answer(Completion(text=str(len(ids)), finish_reason="stop")) for ids in prompts]

    def _doze(self) -> None: ...

    def _rise(self) -> None: ...

    def _free(self) -> None: ...


def answer(row: Completion) -> Future[Completion]:
    future: Future[Completion] = Future()
    future.set_result(row)
    return future


def texts(prompts: list[Prompt]) -> list[str]:
    return [row.text or str(row.error) for row in CountingEngine().generate(prompts, max_tokens=1)]


def test_text_gets_the_start_token_and_chat_that_of_its_template() -> None:
    assert texts(["hello", CHAT]) == ["6", "7"]


def test_prompt_must_leave_room_for_one_token() -> None:
    fits, full = texts(["12345678", "123456789"])
    assert fits == "9"
    assert "has 10 tokens" in full
    assert "has 10, answer included" in full


def test_what_the_template_refuses_is_an_error_of_that_prompt_alone() -> None:
    refused, fine = texts([[{"role": "tool", "content": "x"}], CHAT])
    assert "chat template cannot take this prompt" in refused
    assert "roles must alternate" in refused
    assert fine == "7"


@pytest.mark.parametrize("model", ["/no/such/model", "./no-such-model", "~/no-such-model"])
def test_missing_model_directory_is_named(model: str) -> None:
    with pytest.raises(FileNotFoundError, match=rf"no model directory at '{model}'.*give"):
        check_model_name(model)


def test_file_is_no_model_directory(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.touch()
    with pytest.raises(FileNotFoundError, match="no model directory"):
        check_model_name(str(file))


@pytest.mark.parametrize("model", ["HuggingFaceTB/SmolLM2-135M-Instruct", "gpt2"])
def test_hub_name_is_left_to_the_library(model: str) -> None:
    assert check_model_name(model) == model


def test_home_directory_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    assert check_model_name("~/model") == str(tmp_path / "model")
