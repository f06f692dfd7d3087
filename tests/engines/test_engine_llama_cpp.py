"""What is special about llama.cpp: its files, and the HTTP port that it opens."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import pytest
from engines_under_test import need, resident_bytes

from parsl_pcm.engines import llama_cpp
from parsl_pcm.engines.options import GenerateOptions

pytestmark = [pytest.mark.engine, pytest.mark.slow]


@pytest.fixture(autouse=True)
def llama_cpp_is_installed() -> None:
    need("llama_cpp")


def test_file_that_is_no_gguf_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"not a model" * 1000)
    with pytest.raises(RuntimeError, match=r"model\.gguf.*complete GGUF file"):
        llama_cpp(str(file)).open().__enter__()


def test_http_port_answers_nobody(tmp_path: Path) -> None:
    with llama_cpp(context_window=256).open() as engine:
        address = engine._server.listening_address
        for path in ("/v1/models", "/props", "/slots"):
            with pytest.raises(urllib.error.HTTPError, match="401"):
                urllib.request.urlopen(address + path)


def test_every_parallel_prompt_has_the_whole_context_window() -> None:
    with llama_cpp(context_window=256, parallel=2).open() as engine:
        rows = engine.generate(["one " * 200] * 2, max_tokens=2)
    assert [row.error for row in rows] == [None] * 2


def test_choice_told_by_its_first_token_is_what_the_whole_answer_would_be() -> None:
    options = GenerateOptions(max_tokens=8, choices=("SUPPORTS", "REFUTES", "NOT ENOUGH INFO"))
    prompts = [f"Claim: {thing} is a metal. Label:" for thing in ("Copper", "Helium", "Rain")]
    with llama_cpp(context_window=256).open() as engine:
        whole = [engine._ask(prompt, options)["choices"][0]["text"] for prompt in prompts]
        rows = engine.generate(prompts, max_tokens=8, choices=options.choices)
    assert [row.text for row in rows] == whole
    assert {row.completion_tokens for row in rows} == {1}


def test_sleep_gives_back_the_memory_of_the_model() -> None:
    with llama_cpp(context_window=256).open() as engine:
        engine.generate(["Copper"], max_tokens=4)
        awake_bytes = resident_bytes()
        engine.sleep()
        assert resident_bytes() < awake_bytes - (80 << 20)  # the file has 99 MB
        engine.wake()
        engine.generate(["Copper"], max_tokens=4)
        assert resident_bytes() < awake_bytes + (20 << 20)
