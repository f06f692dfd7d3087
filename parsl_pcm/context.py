"""Declaring contexts: the recipe of something expensive, as data, and building it.

A recipe runs nothing until a host (or :meth:`ContextRecipe.open`) opens it. What builds the same
thing has the same context key, whoever declared it, wherever, under whatever name.
"""

from __future__ import annotations

import functools
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, overload

import msgspec

from parsl_pcm import live
from parsl_pcm.fingerprint import fingerprint
from parsl_pcm.requirements import (
    ContextOptions,
    change_requirements,
    check_env,
    combine_requirements,
)
from parsl_pcm.setup_function import Arguments, SetupFunction
from parsl_pcm.types import ContextKey, Requirements

if TYPE_CHECKING:
    from typing_extensions import Unpack


@overload
def context(function: Callable[..., Any], /) -> ContextRecipe: ...
@overload
def context(
    **options: Unpack[ContextOptions],
) -> Callable[[Callable[..., Any]], ContextRecipe]: ...
def context(
    function: Callable[..., Any] | None = None, /, **options: Unpack[ContextOptions]
) -> ContextRecipe | Callable[[Callable[..., Any]], ContextRecipe]:
    """Declare a context: turn a set-up function into a recipe. Nothing runs here.

    The function returns the live object, or yields it; code after the ``yield`` cleans up. A
    parameter of an app, or of another context, whose default value or argument is a recipe gets
    the live object in the host.

    Parameters
    ----------
    gpus, gpu_memory, host_memory, cores, min_compute_capability
        What its process needs for as long as it lives; see
        :class:`parsl_pcm.requirements.ContextOptions`.
    max_concurrency
        How many calls may use it at the same time (default 1).
    setup_timeout_s
        A set-up that takes longer counts as failed (default 1800).
    env
        Environment variables of its process.

    Raises
    ------
    TypeError, ValueError
        For options that are unknown or cannot be, and for what is no plain function.

    Examples
    --------
    >>> @context(gpus=1, gpu_memory="6 GB")
    ... def smollm2(model="HuggingFaceTB/SmolLM2-1.7B-Instruct"):
    ...     from vllm import LLM
    ...     yield LLM(model)
    """
    requirements, env = _apply_options(options, Requirements(), {})

    def declare(setup: Callable[..., Any]) -> ContextRecipe:
        if isinstance(setup, ContextRecipe):
            raise TypeError(f"{setup.name!r} is a context already: leave one @context out")
        return ContextRecipe(SetupFunction(setup), requirements, env)

    return declare if function is None else declare(function)


@dataclass(frozen=True, eq=False, repr=False)
class ContextRecipe:
    """What builds a context: set-up function, arguments, requirements, environment. Immutable.

    Made by :func:`context`. Recipes are equal if their keys are.

    Attributes
    ----------
    requirements
        What its host needs, without its dependencies.
    """

    _setup: SetupFunction
    requirements: Requirements
    _env: dict[str, str]
    _arguments: Arguments | None = None
    """None: as the defaults of the function have it."""

    @property
    def name(self) -> str:
        """Name of its set-up function, for people."""
        return self._setup.name

    @property
    def env(self) -> dict[str, str]:
        """Environment variables of its host, without its dependencies; a copy."""
        return dict(self._env)

    @functools.cached_property
    def key(self) -> ContextKey:
        """Hash of its content, taken when first asked for and kept from then on.

        The code of the function is hashed once for all the recipes that are made from it.

        Raises
        ------
        TypeError
            If a required argument is missing, or something in it has no content to hash.
        """
        arguments = self._full_arguments()
        try:
            with _refusing_circles(self._setup):
                content = (
                    self._setup.fingerprint,
                    fingerprint(tuple(arguments), module=self._setup.module),
                    fingerprint(msgspec.structs.asdict(self.requirements)),
                    fingerprint(self._env),
                )
        except TypeError as error:
            raise TypeError(f"context {self.name!r} has no key: {error}") from error
        return ContextKey(fingerprint(content))

    @property
    def dependencies(self) -> tuple[ContextRecipe, ...]:
        """The recipes among its arguments, directly or in lists, tuples and dicts; each once."""
        return find_recipes(tuple(self._full_arguments()))

    def __call__(self, *args: Any, **kwargs: Any) -> ContextRecipe:
        """Return the recipe with these arguments of the set-up function, in place of any others.

        Raises
        ------
        TypeError
            If they do not fit the function.
        """
        arguments = self._setup.bind(args, kwargs)
        return ContextRecipe(self._setup, self.requirements, self._env, arguments)

    def options(self, **options: Unpack[ContextOptions]) -> ContextRecipe:
        """Return the recipe with these options of :func:`context`; the others stay.

        Raises
        ------
        TypeError, ValueError
            For options that are unknown or cannot be.
        """
        requirements, env = _apply_options(options, self.requirements, self._env)
        return ContextRecipe(self._setup, requirements, env, self._arguments)

    @contextmanager
    def open(self) -> Iterator[Any]:
        """Build the context here and now, in this process; clean up at the end of the block.

        Requirements and environment are not looked at.

        Raises
        ------
        ValueError
            If the set-up gives None.
        """
        with ContextSet((self,)).open() as live_objects:
            yield live_objects[self.key]

    def build(self, live_of: Mapping[ContextKey, Any], cleanup: ExitStack) -> Any:
        """Run the set-up with the live objects of its dependencies; return the live object.

        Code after the ``yield`` of the set-up is left with `cleanup`.
        """
        args, kwargs = self._full_arguments()
        arguments = Arguments(_replace_recipes(args, live_of), _replace_recipes(kwargs, live_of))
        return self._setup.run(arguments, cleanup)

    def _full_arguments(self) -> Arguments:
        return self._arguments or self._setup.bind((), {})

    def __fingerprint__(self) -> tuple[str, str]:
        return ("context", self.key)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ContextRecipe):
            return NotImplemented
        return self is other or self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    if not TYPE_CHECKING:  # type checkers know the attributes; people may take it for the object

        def __getattr__(self, name: str) -> NoReturn:
            message = f"{type(self).__name__!r} object has no attribute {name!r}"
            if name.startswith("_"):
                raise AttributeError(message)
            raise AttributeError(
                f"{message}: it is the recipe of {self.name!r}, not the live object, which exists "
                "in the hosts of PCMExecutor and inside `with recipe.open() as live:`"
            )

    def __repr__(self) -> str:
        if self._arguments is None:
            return f"<context {self.name}>"
        shown = [*map(reprlib.repr, self._arguments.args)]
        shown += [f"{name}={reprlib.repr(v)}" for name, v in self._arguments.kwargs.items()]
        return f"<context {self.name}({', '.join(shown)})>"

    def __reduce__(self) -> tuple[Any, ...]:
        parts = (self._setup.function, self.requirements, self._env, self._arguments, self.key)
        return _restore, parts


@dataclass(frozen=True)
class ContextSet:
    """The recipes whose contexts live together in one host: at least one. Immutable.

    Of equal recipes the first counts.
    """

    recipes: tuple[ContextRecipe, ...]

    def __init__(self, recipes: Sequence[ContextRecipe]) -> None:
        if not recipes:
            raise ValueError("a ContextSet needs at least one recipe")
        object.__setattr__(self, "recipes", _distinct(recipes))

    @functools.cached_property
    def key(self) -> ContextKey:
        """The key of its recipe if it has one, else a hash of their keys whatever their order."""
        keys = sorted(recipe.key for recipe in self.recipes)
        return keys[0] if len(keys) == 1 else ContextKey(fingerprint(("set", *keys)))

    @property
    def name(self) -> str:
        """For people: the names of its recipes, as in ``tokenizer+llm``."""
        return "+".join(recipe.name for recipe in self.recipes)

    @property
    def requirements(self) -> Requirements:
        """What one process needs that holds them all, their dependencies included."""
        return combine_requirements([recipe.requirements for recipe in self._in_build_order()])

    @property
    def env(self) -> dict[str, str]:
        """The environment variables of them all, their dependencies included.

        Raises
        ------
        ValueError
            If two of them want different values of a variable.
        """
        owner: dict[str, ContextRecipe] = {}
        for recipe in self._in_build_order():
            for variable, value in recipe.env.items():
                other = owner.setdefault(variable, recipe)
                if other.env[variable] != value:
                    raise ValueError(
                        f"contexts {other.name!r} and {recipe.name!r} would share a process, but "
                        f"want different values of the environment variable {variable}: give both "
                        "the same"
                    )
        return {variable: recipe.env[variable] for variable, recipe in owner.items()}

    @contextmanager
    def open(self) -> Iterator[dict[ContextKey, Any]]:
        """Build them all in this process, dependencies first, each once; clean up in reverse.

        For the duration of the block :mod:`parsl_pcm.live` knows them.
        """
        with ExitStack() as cleanup:
            live_of: dict[ContextKey, Any] = {}
            for recipe in self._in_build_order():
                live_of[recipe.key] = recipe.build(live_of, cleanup)
            for recipe in self.recipes:
                live.publish(recipe.key, recipe.name, live_of[recipe.key])
                cleanup.callback(live.withdraw, recipe.key)
            yield {recipe.key: live_of[recipe.key] for recipe in self.recipes}

    def _in_build_order(self) -> tuple[ContextRecipe, ...]:
        return _distinct(_with_dependencies(self.recipes))


def find_recipes(value: Any) -> tuple[ContextRecipe, ...]:
    """Return the recipes in a value and in the lists, tuples and dicts of it; each once."""
    return _distinct(_iter_recipes(value))


_setups_being_hashed: ContextVar[tuple[SetupFunction, ...]] = ContextVar(
    "_setups_being_hashed", default=()
)


@contextmanager
def _refusing_circles(setup: SetupFunction) -> Iterator[None]:
    """Raise TypeError if the key of a recipe would depend on itself."""
    outer = _setups_being_hashed.get()
    if setup in outer:
        raise TypeError(f"set-up function {setup.name!r} refers to its own context: do not")
    token = _setups_being_hashed.set((*outer, setup))
    try:
        yield
    finally:
        _setups_being_hashed.reset(token)


def _apply_options(
    options: Mapping[str, Any], requirements: Requirements, env: dict[str, str]
) -> tuple[Requirements, dict[str, str]]:
    changes = dict(options)
    if "env" in changes:
        env = check_env(changes.pop("env"))
    return change_requirements(requirements, changes), env


def _restore(
    function: Callable[..., Any],
    requirements: Requirements,
    env: dict[str, str],
    arguments: Arguments | None,
    key: ContextKey,
) -> ContextRecipe:
    recipe = ContextRecipe(SetupFunction(function), requirements, env, arguments)
    recipe.__dict__["key"] = key  # as it was: this process may see another content by name
    return recipe


def _distinct(recipes: Iterator[ContextRecipe] | Sequence[ContextRecipe]) -> tuple[Any, ...]:
    first: dict[ContextKey, ContextRecipe] = {}
    for recipe in recipes:
        first.setdefault(recipe.key, recipe)
    return tuple(first.values())


def _with_dependencies(recipes: Sequence[ContextRecipe]) -> Iterator[ContextRecipe]:
    for recipe in recipes:
        yield from _with_dependencies(recipe.dependencies)
        yield recipe


def _iter_recipes(value: Any) -> Iterator[ContextRecipe]:
    if type(value) is ContextRecipe:
        yield value
    elif type(value) in (list, tuple, dict):
        for item in value.values() if type(value) is dict else value:
            yield from _iter_recipes(item)


def _replace_recipes(value: Any, live_of: Mapping[ContextKey, Any]) -> Any:
    """Return the value with live objects where :func:`find_recipes` finds recipes."""
    if type(value) is ContextRecipe:
        return live_of[value.key]
    if type(value) in (list, tuple):
        return type(value)(_replace_recipes(item, live_of) for item in value)
    if type(value) is dict:
        return {name: _replace_recipes(item, live_of) for name, item in value.items()}
    return value
