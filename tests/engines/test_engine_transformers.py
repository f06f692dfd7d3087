"""What is special about transformers: batches are padded on the left, by hand."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
from engines_under_test import need

from parsl_pcm.engines import Completion, transformers

pytestmark = [
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),
]
PROMPTS = ["Helium", "The Moon orbits", "Copper is a metal; helium is", "NOT", "Sun" * 30]


@pytest.fixture(autouse=True)
def transformers_is_installed() -> None:
    need("transformers")


def answers(model: str, **options: object) -> list[Completion]:
    with transformers(model, dtype="float32", **options).open() as engine:
        return engine.generate(PROMPTS, max_tokens=12)


def test_answers_do_not_depend_on_the_batch(tiny_llama: str) -> None:
    together = answers(tiny_llama, batch_size=len(PROMPTS))
    assert together == answers(tiny_llama, batch_size=1) == answers(tiny_llama, batch_size=2)


def test_batches_are_halved_when_memory_runs_out(
    tiny_llama: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def generate(**arguments: Any) -> Any:
        if len(arguments["input_ids"]) > 2:
            raise torch.OutOfMemoryError("no room for more than two")
        return original(**arguments)

    expected = answers(tiny_llama)
    with transformers(tiny_llama, dtype="float32").open() as engine:
        original = engine._model.generate
        monkeypatch.setattr(engine._model, "generate", generate)
        assert engine.generate(PROMPTS, max_tokens=12) == expected
        assert engine._combiner.batch_size <= 2


def test_answers_are_those_of_the_library(tiny_llama: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    model = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype="float32")
    expected = []
    for prompt in PROMPTS:
        inputs = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
        output = model.generate(**inputs, max_new_tokens=12, do_sample=False)
        answer = output[0, inputs["input_ids"].shape[1] :]
        expected.append(tokenizer.decode(answer, skip_special_tokens=True))
    assert [row.text for row in answers(tiny_llama)] == expected


def test_what_the_model_author_prefers_does_not_leak_in(tiny_llama: str) -> None:
    with transformers(tiny_llama, dtype="float32").open() as engine:
        settings = engine._model.generation_config
    assert settings.repetition_penalty in (None, 1.0)
    assert settings.top_p in (None, 1.0)


def test_sleep_on_a_cpu_lets_the_weights_go(tiny_llama: str) -> None:
    with transformers(tiny_llama, device="cpu").open() as engine:
        weights = weakref.ref(engine._model.get_input_embeddings().weight)
        engine.sleep()
        assert weights() is None


def test_batch_size_that_memory_allows_is_remembered_over_a_sleep(tiny_llama: str) -> None:
    with transformers(tiny_llama, batch_size=8).open() as engine:
        engine._combiner._batch_size = 2  # as after a lack of memory
        engine.sleep()
        engine.wake()
        assert engine._combiner.batch_size == 2
