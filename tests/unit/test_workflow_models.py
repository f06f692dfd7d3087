import os

import pytest
from fact_check.claims import InputError
from fact_check.models import MODELS, find_model

from parsl_pcm.engines import llama_cpp, transformers, vllm


def test_named_models_are_found_and_stay_the_same():
    model = find_model("smollm2-135m")
    assert model.recipe == MODELS["smollm2-135m"] == llama_cpp()
    assert model == find_model("smollm2-135m")


def test_a_kind_and_a_name_give_the_recipe_of_that_engine():
    assert find_model("vllm:org/model").recipe == vllm("org/model")
    assert find_model("transformers:org/model").recipe == transformers("org/model")


def test_a_local_file_is_named_by_its_whole_path(tmp_path, monkeypatch):
    (tmp_path / "m.gguf").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    assert find_model("gguf:m.gguf").recipe == llama_cpp(str(tmp_path / "m.gguf"))


def test_another_content_of_a_model_file_is_another_model(tmp_path):
    file = tmp_path / "m.gguf"
    file.write_bytes(b"x")
    before = find_model(f"gguf:{file}").fingerprint
    assert before == find_model(f"gguf:{file}").fingerprint
    os.utime(file, ns=(1, 1))
    assert before != find_model(f"gguf:{file}").fingerprint


@pytest.mark.parametrize("name", ["magic", "gguf:", "onnx:file"])
def test_an_unknown_model_is_refused_with_those_there_are(name):
    with pytest.raises(InputError, match=r"Unknown model .* smollm2-135m, gguf:FILE"):
        find_model(name)
