"""Real engines with real models. Each needs its library; without it, its tests are skipped.

``PARSL_PCM_REQUIRE=llama_cpp,transformers`` makes the absence of these engines a failure.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from engines_under_test import ENGINES, OTHERS, REQUIRED, need
from tiny_llama import make_tiny_llama

from parsl_pcm import ContextRecipe
from parsl_pcm.engines import Engine, llama_cpp

# A host starts with it. Here the engines live in this process: set before their libraries load.
os.environ.update(llama_cpp.env)


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to require an engine that does not exist: a slip there would hide a skipped test."""
    if unknown := REQUIRED - {*ENGINES, *OTHERS}:
        raise pytest.UsageError(
            f"PARSL_PCM_REQUIRE names {sorted(unknown)}; there are {sorted({*ENGINES, *OTHERS})}"
        )


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the directory of a tiny random model."""
    need("transformers")
    return str(make_tiny_llama(tmp_path_factory.mktemp("tiny_llama")))


@pytest.fixture(scope="module", params=sorted(ENGINES))
def recipe(request: pytest.FixtureRequest) -> ContextRecipe:
    """Return the recipe of each engine in turn, with a small context window."""
    need(request.param)
    under_test = ENGINES[request.param]
    model = request.getfixturevalue("tiny_llama") if under_test.needs_tiny_llama else ""
    return under_test.recipe(model)


@pytest.fixture(scope="module")
def engine(recipe: ContextRecipe) -> Iterator[Engine]:
    """Return each engine in turn, live."""
    with recipe.open() as live:
        yield live
