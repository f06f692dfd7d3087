"""Which contexts a call of an app needs: found in its defaults, its arguments, its specification.

:func:`declare` turns what Parsl hands to an executor into what is pickled and sent. The recipes
that it puts among the arguments are found there by :func:`parsl_pcm.pickling.dump_arguments`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, cast

from msgspec import Struct
from msgspec.structs import replace
from parsl.app.errors import wrap_error
from parsl.executors.errors import InvalidResourceSpecification

from parsl_pcm.compat import is_paper_spec, recipe_of_paper_spec, recipe_of_parts
from parsl_pcm.context import ContextRecipe, find_recipes
from parsl_pcm.errors import ContextNotFound
from parsl_pcm.signatures import PAPER_PARAMETER, SPECIFICATION_PARAMETER, Shape, shape_of

_PR_3724_KEYS = ("function_context", "function_context_args", "function_context_kwargs")
_KEYS = ("pcm", "priority", *_PR_3724_KEYS, "exec_mode")
_PCM_KEYS = ("context",)

_WRAP_ERROR_CODE = wrap_error(lambda: None).__code__
"""What every function that went through ``python_app`` shows in place of its own code."""


class Declared(Struct, frozen=True):
    """A call with all its contexts in sight.

    Attributes
    ----------
    function
        Without Parsl's wrapper, which would drag Parsl into the host.
    kwargs
        With the recipes of the defaults that the call leaves alone; a new dict.
    extra_recipes
        Contexts that must be live around the call, but are no arguments of it.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    extra_recipes: tuple[ContextRecipe, ...] = ()
    priority: int = 0


def declare(
    function: Callable[..., Any],
    resource_specification: Mapping[str, Any] | None,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Declared:
    """Return a call as it is to be sent, from what Parsl gives to ``executor.submit``.

    Raises
    ------
    InvalidResourceSpecification
        For unknown keys and wrong values of the specification.
    ContextNotFound
        For a context named by a string that cannot be imported.
    TypeError, ValueError
        For contexts that a call cannot get, or that cannot be.
    """
    function = unwrap(function)
    shape = shape_of(function)
    call = Declared(function, tuple(args), dict(kwargs))
    if SPECIFICATION_PARAMETER in kwargs and not shape.takes(SPECIFICATION_PARAMETER):
        del call.kwargs[SPECIFICATION_PARAMETER]
    if resource_specification:
        call = _apply(_parse(resource_specification), call, shape)
    if shape.declared:
        _add_defaults(call, shape)
    if shape.paper or PAPER_PARAMETER in kwargs:
        call = _resolve_paper_argument(call, shape)
    return call


def unwrap(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the user's function without the wrapper that ``python_app`` puts around it."""
    if getattr(function, "__code__", None) is _WRAP_ERROR_CODE:
        return cast(Callable[..., Any], function.__wrapped__)  # type: ignore[attr-defined]
    return function


def check_specification(specification: Mapping[str, Any] | None) -> None:
    """Check a resource specification; contexts that it names are imported.

    Raises
    ------
    InvalidResourceSpecification, ContextNotFound, TypeError, ValueError
        As :func:`declare` does.
    """
    if specification:
        _parse(specification)


def resolve(specification: Any) -> Any:
    """Return a resource specification with recipes in place of names and of the papers' parts.

    Whatever declares no context is returned as it is; nothing else is checked.
    """
    if type(specification) is not dict:
        return specification
    resolved = dict(specification)
    pcm = resolved.get("pcm")
    if isinstance(pcm, dict) and "context" in pcm:
        resolved["pcm"] = {**pcm, "context": _resolve_names(pcm["context"])}
    if "function_context" in resolved:
        function, args, kwargs = (resolved.pop(key, None) for key in _PR_3724_KEYS)
        resolved["function_context"] = recipe_of_parts(function, args or (), kwargs or {})
    return resolved


def resolve_paper_spec(spec: Any) -> Any:
    """Return the papers' dict with a recipe in place of its parts; another value as it is."""
    return {"context": recipe_of_paper_spec(spec)} if is_paper_spec(spec) else spec


@dataclass(frozen=True, slots=True, kw_only=True)
class _Specification:
    recipes: tuple[ContextRecipe, ...] = ()
    named: dict[str, Any] = field(default_factory=dict)
    """By the parameter that gets it: a recipe, or a list of recipes."""
    priority: int = 0


def _parse(specification: Any) -> _Specification:
    _check_keys(specification, _KEYS, "the resource specification")
    pcm = specification.get("pcm", {})
    _check_keys(pcm, _PCM_KEYS, "'pcm' of the resource specification")
    if "function_context" not in specification and set(specification) & set(_PR_3724_KEYS):
        _refuse({"function_context_args"}, "Arguments are given, but no function_context.")
    priority = specification.get("priority", 0)
    if isinstance(priority, bool) or not isinstance(priority, int):
        _refuse({"priority"}, f"It must be a whole number, not {priority!r}.")
    resolved = resolve(dict(specification))
    declared = resolved.get("pcm", {}).get("context", ())
    named = declared if isinstance(declared, dict) else {}
    return _Specification(
        recipes=find_recipes([resolved.get("function_context"), () if named else declared]),
        named=named,
        priority=priority,
    )


def _check_keys(given: Any, allowed: Sequence[str], what: str) -> None:
    if not isinstance(given, Mapping):
        _refuse(set(), f"{what} must be a dict, not {type(given).__name__} ({given!r}).")
    unknown = set(given) - set(allowed)
    if unknown:
        _refuse(unknown, f"The keys of {what} are: {', '.join(allowed)}.")


def _resolve_names(declared: Any) -> Any:
    if isinstance(declared, ContextRecipe):
        return declared
    if isinstance(declared, str):
        return _import_recipe(declared)
    if isinstance(declared, list | tuple):
        return [_resolve_names(item) for item in declared]
    if isinstance(declared, dict):
        return {parameter: _resolve_names(item) for parameter, item in declared.items()}
    _refuse(
        {"context"},
        f"{declared!r} declares no context: give a context, its name as 'package.module:name', a "
        "list of those, or a dict from parameters to those.",
    )


def _import_recipe(name: str) -> ContextRecipe:
    module_name, _, path = name.partition(":")
    if not module_name or not path:
        raise ContextNotFound(
            f"{name!r} names no context: write 'package.module:name', for example "
            "'my_contexts:smollm2'"
        )
    try:
        found: Any = importlib.import_module(module_name)
        for attribute in path.split("."):
            found = getattr(found, attribute)
    except (ImportError, AttributeError) as error:
        raise ContextNotFound(
            f"context {name!r} cannot be imported ({error}): it must be defined at the top of a "
            "module that the process that submits can import"
        ) from error
    if not isinstance(found, ContextRecipe):
        raise ContextNotFound(
            f"{name!r} is no context but {type(found).__name__}: decorate it with @context"
        )
    return found


def _apply(specification: _Specification, call: Declared, shape: Shape) -> Declared:
    for parameter, recipe in specification.named.items():
        if not shape.takes(parameter):
            _refuse({"context"}, f"{_name(call.function)} has no parameter {parameter!r}.")
        position = shape.keywords.get(parameter)
        if parameter in call.kwargs or (position is not None and position < len(call.args)):
            _refuse(
                {"context"}, f"The call gives {parameter!r} of {_name(call.function)} a value too."
            )
        call.kwargs[parameter] = recipe
    return replace(call, extra_recipes=specification.recipes, priority=specification.priority)


def _add_defaults(call: Declared, shape: Shape) -> None:
    for parameter in shape.declared:
        if parameter.is_bound(call.args, call.kwargs):
            continue
        if parameter.is_positional_only:
            raise TypeError(
                f"parameter {parameter.name!r} of {_name(call.function)} is positional-only, so "
                "its context cannot be given to it: move it behind the `/`"
            )
        call.kwargs[parameter.name] = parameter.default


def _resolve_paper_argument(call: Declared, shape: Shape) -> Declared:
    """Put the recipe into the argument ``parsl_spec``, wherever it is."""
    if PAPER_PARAMETER in call.kwargs:
        call.kwargs[PAPER_PARAMETER] = _checked_paper_spec(call.kwargs[PAPER_PARAMETER])
        return call
    position = shape.paper.position if shape.paper else None
    if position is None or position >= len(call.args):
        return call
    spec = _checked_paper_spec(call.args[position])
    return replace(call, args=(*call.args[:position], spec, *call.args[position + 1 :]))


def _checked_paper_spec(spec: Any) -> Any:
    if not isinstance(spec, dict) or not spec.keys() & {"context", "template"}:
        return spec
    return {"context": recipe_of_paper_spec(spec)}


def _name(function: Callable[..., Any]) -> str:
    return f"{getattr(function, '__name__', repr(function))}()"


def _refuse(keys: set[str], message: str) -> NoReturn:
    raise InvalidResourceSpecification(keys, message)
