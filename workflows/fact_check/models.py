"""Models by name: each is a context recipe that builds an engine of :mod:`parsl_pcm.engines`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fact_check.claims import InputError
from parsl_pcm import ContextRecipe
from parsl_pcm.engines import llama_cpp, transformers, vllm

MODELS: dict[str, ContextRecipe] = {
    "smollm2-135m": llama_cpp(),
}
"""Models with a name of their own: add yours."""

_KINDS: dict[str, Callable[[str], ContextRecipe]] = {
    "gguf": llama_cpp,
    "vllm": vllm,
    "transformers": transformers,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model of the sweep.

    Attributes
    ----------
    fingerprint
        Changes with the recipe, and with the files of a model that this machine can see.
    """

    name: str
    recipe: ContextRecipe
    fingerprint: str


def find_model(name: str) -> Model:
    """Return the model of a name in :data:`MODELS`, or of ``gguf:``, ``vllm:``, ``transformers:``.

    Raises
    ------
    InputError
        The name is none of these.
    """
    if name in MODELS:
        recipe = MODELS[name]
        return Model(name=name, recipe=recipe, fingerprint=_fingerprint(recipe.key, None))
    kind, _, where = name.partition(":")
    if kind not in _KINDS or not where:
        known = [*MODELS, "gguf:FILE", "vllm:NAME_OR_DIR", "transformers:NAME_OR_DIR"]
        raise InputError(f"Unknown model {name!r}. Choose among: {', '.join(known)}.")
    path = Path(where).expanduser()
    recipe = _KINDS[kind](str(path.resolve()) if path.exists() else where)
    return Model(name=name, recipe=recipe, fingerprint=_fingerprint(recipe.key, path))


def _fingerprint(key: str, path: Path | None) -> str:
    digest = hashlib.sha256(key.encode())
    if path is not None and path.exists():
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            status = file.stat()
            digest.update(f"{file.name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:12]
