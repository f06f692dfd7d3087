"""Makes Parsl's memoization see contexts: importing this module is enough.

Parsl hashes a function by its name, and a context that is a default value, or is named by a string,
is no argument of the call. So the context key is added to what Parsl hashes; calls without a
context keep the hash that Parsl gives them.
"""

from __future__ import annotations

import types
from typing import Any, cast

from parsl.dataflow.memoization import id_for_memo

from parsl_pcm.context import ContextRecipe, find_recipes
from parsl_pcm.declaration import resolve, resolve_paper_spec
from parsl_pcm.signatures import SPECIFICATION_PARAMETER, shape_of

_parsls_id_of_function = id_for_memo.dispatch(types.FunctionType)
_parsls_id_of_dict = id_for_memo.dispatch(dict)


def _id_of_recipe(recipe: ContextRecipe, output_ref: bool = False) -> bytes:
    return f"parsl_pcm context {recipe.key}".encode()


def _id_of_function(function: types.FunctionType, output_ref: bool = False) -> bytes:
    parsls_id: bytes = _parsls_id_of_function(function, output_ref=output_ref)
    defaults = [resolve_paper_spec(p.default) for p in shape_of(function).declared]
    return b"".join([parsls_id, *map(_id_of_recipe, find_recipes(defaults))])


def _id_of_dict(values: dict[Any, Any], output_ref: bool = False) -> bytes:
    parsls_id: bytes = _parsls_id_of_dict(_with_recipes(values), output_ref=output_ref)
    return parsls_id


def _with_recipes(values: dict[Any, Any]) -> dict[Any, Any]:
    """Return the keyword arguments of a call, or any dict, with recipes where it declares any."""
    if SPECIFICATION_PARAMETER in values:
        specification = resolve(values[SPECIFICATION_PARAMETER])
        return {**values, SPECIFICATION_PARAMETER: specification}
    return cast(dict[Any, Any], resolve_paper_spec(values))


id_for_memo.register(ContextRecipe, _id_of_recipe)
id_for_memo.register(types.FunctionType, _id_of_function)
id_for_memo.register(dict, _id_of_dict)
