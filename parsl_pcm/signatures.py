"""What the signature of an app's function says about its contexts; looked at once a function."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from parsl_pcm.compat import is_paper_spec
from parsl_pcm.context import find_recipes

PAPER_PARAMETER = "parsl_spec"
SPECIFICATION_PARAMETER = "parsl_resource_specification"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter that concerns us.

    Attributes
    ----------
    position
        Index among the positional arguments; None: keyword only.
    """

    name: str
    position: int | None
    is_positional_only: bool
    default: Any

    def is_bound(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """Whether a call with these arguments gives it a value."""
        if self.position is not None and self.position < len(args):
            return True
        return self.name in kwargs and not self.is_positional_only


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The parameters of a function that declare contexts, or may."""

    declared: tuple[Parameter, ...] = ()
    """Those whose default value is, or holds, a recipe; or declares one as the papers do."""
    paper: Parameter | None = None
    """The one named ``parsl_spec``."""
    keywords: Mapping[str, int | None] = field(default_factory=dict)
    """Position (None: keyword only) by the name of what may be given by name."""
    takes_any_keyword: bool = True

    def takes(self, keyword: str) -> bool:
        """Whether a call may give this by name."""
        return self.takes_any_keyword or keyword in self.keywords


def shape_of(function: Callable[..., Any]) -> Shape:
    """Return the shape of a function, from its first look on from memory."""
    if not isinstance(function, types.FunctionType):  # perhaps not hashable; rare
        return _look_at(function)
    shape = _shapes.get(function)
    if shape is None:
        shape = _shapes[function] = _look_at(function)
    return shape


_shapes: WeakKeyDictionary[types.FunctionType, Shape] = WeakKeyDictionary()
"""A cache; a shape refers to recipes, never to its function, which may so be collected."""


def _look_at(function: Callable[..., Any]) -> Shape:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions written in C tell nothing
        return Shape()
    parameters = signature.parameters.values()
    ours = [_parameter(index, parameter) for index, parameter in enumerate(parameters)]
    return Shape(
        declared=tuple(p for p in ours if _declares(p)),
        paper=next((p for p in ours if p.name == PAPER_PARAMETER), None),
        keywords={p.name: p.position for p in ours if not p.is_positional_only},
        takes_any_keyword=any(p.kind is p.VAR_KEYWORD for p in parameters),
    )


def _declares(parameter: Parameter) -> bool:
    if parameter.name == PAPER_PARAMETER and is_paper_spec(parameter.default):
        return True
    return bool(find_recipes(parameter.default))


def _parameter(index: int, parameter: inspect.Parameter) -> Parameter:
    by_position = (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    return Parameter(
        name=parameter.name,
        position=index if parameter.kind in by_position else None,
        is_positional_only=parameter.kind is parameter.POSITIONAL_ONLY,
        default=parameter.default,
    )
