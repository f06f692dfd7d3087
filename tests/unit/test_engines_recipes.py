from __future__ import annotations

import pytest

from parsl_pcm import ContextRecipe
from parsl_pcm.engines import llama_cpp, transformers, vllm

RECIPES = [llama_cpp, transformers, vllm]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_engine_is_a_recipe_with_a_key_of_its_own(recipe: ContextRecipe) -> None:
    assert isinstance(recipe, ContextRecipe)
    assert len({each.key for each in RECIPES}) == len(RECIPES)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_other_model_is_another_context(recipe: ContextRecipe) -> None:
    assert recipe("/models/a").key == recipe("/models/a").key
    assert len({recipe("/models/a").key, recipe("/models/b").key, recipe.key}) == 3


def test_llama_cpp_and_transformers_need_one_core_and_vllm_a_whole_gpu() -> None:
    needs = {recipe.name: recipe.requirements for recipe in RECIPES}
    assert [needs[name].gpus for name in ("llama_cpp", "transformers", "vllm")] == [0, 0, 1]
    assert [needs[name].cores for name in ("llama_cpp", "transformers")] == [1, 1]


def test_engines_that_batch_calls_are_given_many_at_once() -> None:
    at_once = {recipe.name: recipe.requirements.max_concurrency for recipe in RECIPES}
    assert at_once == {"llama_cpp": 1, "transformers": 256, "vllm": 256}
    assert vllm.options(max_concurrency=8).requirements.max_concurrency == 8


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_waiting_threads_leave_the_cores_to_others(recipe: ContextRecipe) -> None:
    assert recipe.env == {"OMP_WAIT_POLICY": "passive"}


def test_vllm_takes_any_argument_of_its_library() -> None:
    assert vllm("/models/a", tensor_parallel_size=2).key != vllm("/models/a").key


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_missing_model_is_refused_before_the_library_is_imported(recipe: ContextRecipe) -> None:
    with pytest.raises(FileNotFoundError, match="/no/such/model"):
        recipe("/no/such/model").open().__enter__()


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_engines_can_sleep(recipe: ContextRecipe) -> None:
    assert recipe.requirements.can_sleep


def test_engines_say_which_imports_take_long() -> None:
    roots = {
        recipe.name: {module.partition(".")[0] for module in recipe.requirements.imports}
        for recipe in RECIPES
    }
    assert roots == {
        "llama_cpp": set(),
        "transformers": {"torch", "transformers"},
        "vllm": {"vllm"},
    }
