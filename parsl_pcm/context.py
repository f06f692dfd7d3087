"""Declaring contexts: the recipe of something expensive, as data, and building it.

A recipe runs nothing until a host (or :meth:`ContextRecipe.open`) opens it. What builds the same
thing has the same context key, whoever declared it, wherever, under whatever name.
"""

from __future__ import annotations

import functools
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn, overload

import msgspec

from parsl_pcm.fingerprint import fingerprint
from parsl_pcm.requirements import (
    ContextOptions,
    change_requirements,
    check_env,
    combine_requirements,
    is_covered,
)
from parsl_pcm.setup_function import Arguments, SetupFunction
from parsl_pcm.types import ContextKey, Requirements

if TYPE_CHECKING:
    from typing_extensions import Unpack

NOT_IN_KEY = frozenset({"imports", "keep_warm_s", "setup_timeout_s"})
"""Requirements in which recipes for the same context may differ; the first declared counts."""


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
    gpus, gpu_memory, host_memory, cores, min_compute_capability, gpu_type
        What its process needs for as long as it lives; see
        :class:`parsl_pcm.requirements.ContextOptions`.
    max_concurrency
        How many calls may use it at the same time (default 1).
    setup_timeout_s
        A set-up that takes longer counts as failed (default 1800).
    keep_warm_s, can_sleep, imports
        How it is kept without work, and made ready sooner.
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

    Made by :func:`context`. Recipes are equal if their keys are. One with variants is the first of
    its `ways` in all that is said of it alone: name, requirements, environment, dependencies.

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
    _ways: tuple[ContextRecipe, ...] = ()
    """Empty: it has no variants."""

    def __post_init__(self) -> None:
        """Refuse variants where none can be chosen.

        Raises
        ------
        TypeError
            If a recipe among its arguments has variants.
        """
        for recipe in self._given_recipes():
            if recipe._ways:
                raise TypeError(
                    f"context {self.name!r} is given {recipe.name!r}, which has variants: give it "
                    "a recipe without, and make a variant of the whole: "
                    f"{self.name}(one).variant({self.name}(other))"
                )

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

        The code of the function is hashed once for all the recipes that are made from it. Options
        that only say how its hosts are treated (`NOT_IN_KEY`) do not count.

        Raises
        ------
        TypeError
            If a required argument is missing, or something in it has no content to hash.
        """
        if self._ways:
            return ContextKey(fingerprint(("variants", *(way.key for way in self._ways))))
        arguments = self._full_arguments()
        options = msgspec.structs.asdict(self.requirements)
        try:
            with _refusing_circles(self._setup):
                content = (
                    self._setup.fingerprint,
                    fingerprint(tuple(arguments), module=self._setup.module),
                    fingerprint({n: v for n, v in options.items() if n not in NOT_IN_KEY}),
                    fingerprint(self._env),
                )
        except TypeError as error:
            raise TypeError(f"context {self.name!r} has no key: {error}") from error
        return ContextKey(fingerprint(content))

    @property
    def ways(self) -> tuple[ContextRecipe, ...]:
        """The recipes to choose from: itself, if it has no variants."""
        return self._ways or (self,)

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
        self._refuse_variants("arguments")
        arguments = self._setup.bind(args, kwargs)
        return ContextRecipe(self._setup, self.requirements, self._env, arguments)

    def options(self, **options: Unpack[ContextOptions]) -> ContextRecipe:
        """Return the recipe with these options of :func:`context`; the others stay.

        Raises
        ------
        TypeError, ValueError
            For options that are unknown or cannot be.
        """
        self._refuse_variants("options")
        requirements, env = _apply_options(options, self.requirements, self._env)
        return ContextRecipe(self._setup, requirements, env, self._arguments)

    def variant(
        self, other: ContextRecipe | None = None, /, **options: Unpack[ContextOptions]
    ) -> ContextRecipe:
        """Return the recipe with one more way to build it, for nodes that none before it fits.

        Each node, and each GPU of it, is for the first way whose requirements it could ever meet,
        whatever is free on it now. Apps use the live object in the same way, however it was built.

        Parameters
        ----------
        other
            Another recipe. None: this one, as it was before it had variants.
        **options
            Of :func:`context`, in place of those of `other`.

        Raises
        ------
        ValueError
            If it could never be used, since a way before it fits wherever it fits.
        TypeError
            If `other` is no recipe, or has variants itself; for options that are unknown.

        Examples
        --------
        >>> llm = on_vllm(name).variant(on_llama_cpp(name), gpus=1, gpu_memory="6 GB")
        """
        added = self.ways[0] if other is None else other
        if not isinstance(added, ContextRecipe):
            raise TypeError(f"a variant is another @context, not {type(added).__name__}: {added!r}")
        if added._ways:
            raise TypeError(
                f"variant {added.name!r} of context {self.name!r} has variants itself: add them to "
                f"{self.name!r} one by one"
            )
        added = added.options(**options) if options else added
        for way in self.ways:
            if is_covered(_all_needs(added), _all_needs(way)):
                raise ValueError(
                    f"variant {added.name!r} of context {self.name!r} would never be used: "
                    f"{way.name!r} comes before it and fits wherever it fits. Let {way.name!r} "
                    "need more (gpus=, gpu_memory=, gpu_type=, min_compute_capability=, ...), or "
                    "begin with the recipe that needs more"
                )
        return replace(self, _ways=(*self.ways, added))

    @contextmanager
    def open(self) -> Iterator[Any]:
        """Build the context here and now, in this process; clean up at the end of the block.

        Requirements and environment are not looked at; of variants the first is built.

        Raises
        ------
        ValueError
            If the set-up gives None.
        """
        from parsl_pcm.context_set import ContextSet  # which imports this module

        with ContextSet((self,)).open() as live_objects:
            yield live_objects[self.key]

    def build(self, live_of: Mapping[ContextKey, Any], cleanup: ExitStack) -> Any:
        """Run the set-up with the live objects of its dependencies; return the live object.

        Code after the ``yield`` of the set-up is left with `cleanup`.
        """
        args, kwargs = self._full_arguments()
        arguments = Arguments(_replace_recipes(args, live_of), _replace_recipes(kwargs, live_of))
        return self._setup.run(arguments, cleanup)

    def _given_recipes(self) -> Iterator[ContextRecipe]:
        """Yield its dependencies without asking for their keys, which may not be known yet."""
        return _iter_recipes(tuple(self._arguments or self._setup.defaults))

    def _full_arguments(self) -> Arguments:
        return self._arguments or self._setup.bind((), {})

    def _refuse_variants(self, what: str) -> None:
        if self._ways:
            raise TypeError(
                f"context {self.name!r} has variants already: give it {what} before it gets them"
            )

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
        return f"<context {' or '.join(way._described() for way in self.ways)}>"

    def _described(self) -> str:
        if self._arguments is None:
            return self.name
        shown = [*map(reprlib.repr, self._arguments.args)]
        shown += [f"{name}={reprlib.repr(v)}" for name, v in self._arguments.kwargs.items()]
        return f"{self.name}({', '.join(shown)})"

    def __reduce__(self) -> tuple[Any, ...]:
        parts = (self.requirements, self._env, self._arguments, self._ways)
        return _restore, (self._setup.function, self.key, parts)


def find_recipes(value: Any) -> tuple[ContextRecipe, ...]:
    """Return the recipes in a value and in the lists, tuples and dicts of it; each once."""
    return distinct(_iter_recipes(value))


def distinct(recipes: Iterable[ContextRecipe]) -> tuple[ContextRecipe, ...]:
    """Return the recipes in their order, of equal ones the first."""
    first: dict[ContextKey, ContextRecipe] = {}
    for recipe in recipes:
        first.setdefault(recipe.key, recipe)
    return tuple(first.values())


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


def _all_needs(recipe: ContextRecipe) -> Requirements:
    """Return what a recipe needs together with its dependencies."""
    found: dict[int, ContextRecipe] = {}
    pending = [recipe]
    while pending:
        one = pending.pop()
        found[id(one)] = one
        pending += one._given_recipes()
    return combine_requirements([each.requirements for each in found.values()])


def _restore(
    function: Callable[..., Any], key: ContextKey, parts: tuple[Any, ...]
) -> ContextRecipe:
    recipe = ContextRecipe(SetupFunction(function), *parts)
    recipe.__dict__["key"] = key  # as it was: this process may see another content by name
    return recipe


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
