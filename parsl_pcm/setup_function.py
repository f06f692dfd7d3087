"""The set-up function of a context: looked at once for all the recipes that are made from it."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

from parsl_pcm.fingerprint import FunctionBody, fingerprint


class Arguments(NamedTuple):
    """Arguments of a set-up function, in full: defaults included."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class SetupFunction:
    """A checked set-up function.

    Raises
    ------
    TypeError
        If it is no plain function.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = _check(function)
        self.name = function.__name__
        self.module = function.__module__
        self._is_generator = inspect.isgeneratorfunction(function)
        self._signature = inspect.signature(function)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of its code and what the code refers to, without the defaults."""
        return fingerprint(FunctionBody(self.function), module=self.module)

    @property
    def defaults(self) -> Arguments:
        """The defaults of its parameters, as far as it has any."""
        return Arguments(self.function.__defaults__ or (), self.function.__kwdefaults__ or {})

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        """Return the arguments with the defaults filled in, so that equal calls look equal.

        Raises
        ------
        TypeError
            If they do not fit.
        """
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(
                f"the arguments of context {self.name}{self._signature} do not fit: {error}"
            ) from None
        bound.apply_defaults()
        return Arguments(bound.args, bound.kwargs)

    def run(self, arguments: Arguments, cleanup: ExitStack) -> Any:
        """Return the live object; code after the ``yield`` is left with `cleanup`.

        Raises
        ------
        ValueError
            If the function gives None, or nothing.
        """
        built = self.function(*arguments.args, **arguments.kwargs)
        if self._is_generator:
            built = _take_first(built, cleanup)
        if built is None:
            raise ValueError(
                f"the set-up of context {self.name!r} gave None: it must return or yield the "
                "object that tasks are to use"
            )
        return built


def _check(function: object) -> types.FunctionType:
    if not isinstance(function, types.FunctionType):
        raise TypeError(
            f"@context takes a plain function, not {type(function).__name__} ({function!r}): "
            "write a function that returns the object"
        )
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"the set-up of context {function.__name__!r} is `async def`: make it `def`, and leave "
            "what is to be awaited to the tasks"
        )
    return function


def _take_first(generator: Iterator[Any], cleanup: ExitStack) -> Any:
    """Return what the generator yields first, None if nothing; the rest of it cleans up."""
    cleanup.callback(next, generator, None)
    return next(generator, None)
