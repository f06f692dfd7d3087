"""The declaring forms of the papers, so that their listings run with only the import line changed.

A call is given its context as ``parsl_spec={"context": [fn, args, kwargs]}``, or as
``{"template": {"fn": fn, "args": [...], "kwargs": {...}}}``; ``fn`` returns a dict, and the
function of the app reads an entry of it by name (arXiv 2509.13201, figure 3; arXiv 2606.22175,
figure 5; Parsl pull request 3724). Such a context gets no GPU unless it asks for one: ``fn`` may be
decorated with :func:`parsl_pcm.context`, or the dict may hold its options beside the context, as in
``{"context": [fn, args, kwargs], "gpus": 1}``.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Mapping
from typing import Any

from parsl_pcm.context import ContextRecipe, context
from parsl_pcm.live import load_variable

__all__ = [
    "is_paper_spec",
    "load_variable_from_serverless",
    "load_variable_from_state_manager",
    "load_variable_in_serverless",
    "recipe_of_paper_spec",
    "recipe_of_parts",
]

load_variable_from_serverless = load_variable
load_variable_from_state_manager = load_variable
load_variable_in_serverless = load_variable

_CONTEXT_NAMES = ("context", "template")
_PARTS = {"fn", "args", "kwargs"}


def is_paper_spec(value: object) -> bool:
    """Whether a value is a dict that declares a context as the papers do, parts well-formed."""
    if type(value) is not dict:
        return False
    try:
        function, args, kwargs = _parts_of(_declared_in(value))
    except TypeError:
        return False
    is_setup = isinstance(function, types.FunctionType | ContextRecipe)
    return is_setup and isinstance(args, list | tuple) and isinstance(kwargs, dict)


def recipe_of_paper_spec(spec: Mapping[str, Any]) -> ContextRecipe:
    """Return the recipe of a dict for which :func:`is_paper_spec` holds.

    Raises
    ------
    TypeError, ValueError
        If its parts are not those of a context, or its other entries not options of one.
    """
    recipe = recipe_of_parts(*_parts_of(_declared_in(spec)))
    options: dict[str, Any] = {name: spec[name] for name in spec if name not in _CONTEXT_NAMES}
    return recipe.options(**options) if options else recipe


def recipe_of_parts(function: Any, args: Any, kwargs: Any) -> ContextRecipe:
    """Return the recipe of a set-up function and its arguments; equal content has equal keys.

    Raises
    ------
    TypeError
        If the arguments are no list and dict, or do not fit the function.
    """
    if not isinstance(args, list | tuple) or not isinstance(kwargs, dict):
        raise TypeError(
            "a context is given as [fn, args, kwargs] with a list and a dict of arguments, not "
            f"args={args!r}, kwargs={kwargs!r}"
        )
    unbound = _recipe_of_function(function)
    return unbound(*args, **kwargs) if args or kwargs else unbound


def _recipe_of_function(function: Any) -> ContextRecipe:
    if isinstance(function, ContextRecipe):
        return function
    if isinstance(function, types.FunctionType):
        return _declare_once(function)
    return context(function)  # says what is wrong with it


@functools.lru_cache(maxsize=128)
def _declare_once(function: types.FunctionType) -> ContextRecipe:
    """Keep the recipes of the last functions: hashing their code takes longer than a call."""
    return context(function)


def _declared_in(spec: Mapping[str, Any]) -> Any:
    declared = [spec[name] for name in _CONTEXT_NAMES if name in spec]
    if len(declared) != 1:
        raise TypeError(
            f"parsl_spec has {len(declared)} of the keys 'context' and 'template': give one"
        )
    return declared[0]


def _parts_of(declared: Any) -> tuple[Any, Any, Any]:
    if isinstance(declared, ContextRecipe):
        return declared, (), {}
    if isinstance(declared, list | tuple) and 1 <= len(declared) <= 3:
        parts: list[Any] = [*declared]
        function, args, kwargs = parts + [(), {}][len(parts) - 1 :]
        return function, args, kwargs
    if isinstance(declared, dict) and "fn" in declared and declared.keys() <= _PARTS:
        return declared["fn"], declared.get("args", ()), declared.get("kwargs", {})
    raise TypeError(
        "a context is given as [fn, args, kwargs] or as {'fn': ..., 'args': ..., 'kwargs': ...}, "
        f"not as {declared!r}"
    )
