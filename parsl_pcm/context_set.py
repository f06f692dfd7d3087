"""Contexts that live together in one host: what they need, the ways to build them, building them.

A recipe with variants can be built in several ways, so a set of recipes can be: in every
combination of theirs. The interchange says which one suits a node; the host builds that.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from parsl_pcm import live
from parsl_pcm.context import ContextRecipe, distinct
from parsl_pcm.fingerprint import fingerprint
from parsl_pcm.requirements import combine_requirements, is_covered
from parsl_pcm.types import ContextKey, Requirements


@dataclass(frozen=True, slots=True)
class Way:
    """One way to build a set of contexts.

    Attributes
    ----------
    name
        For people; no other way of the set has it.
    recipes
        Without variants, one for each recipe of the set.
    requirements
        What one process needs that holds them all, their dependencies included.
    env
        The environment variables of them all, their dependencies included.
    """

    name: str
    recipes: tuple[ContextRecipe, ...]
    requirements: Requirements
    env: dict[str, str] = field(repr=False)  # may hold secrets


@dataclass(frozen=True)
class ContextSet:
    """The recipes whose contexts live together in one host: at least one. Immutable.

    Of equal recipes the first counts.
    """

    recipes: tuple[ContextRecipe, ...]

    def __init__(self, recipes: Sequence[ContextRecipe]) -> None:
        if not recipes:
            raise ValueError("a ContextSet needs at least one recipe")
        object.__setattr__(self, "recipes", distinct(recipes))

    @functools.cached_property
    def key(self) -> ContextKey:
        """The key of its recipe if it has one, else a hash of their keys whatever their order."""
        keys = sorted(recipe.key for recipe in self.recipes)
        return keys[0] if len(keys) == 1 else ContextKey(fingerprint(("set", *keys)))

    @property
    def name(self) -> str:
        """For people: the names of its recipes, as in ``tokenizer+llm``."""
        return "+".join(recipe.name for recipe in self.recipes)

    @functools.cached_property
    def ways(self) -> tuple[Way, ...]:
        """The ways to build it, at least one; each is for nodes that none before it fits.

        They combine the ways of its recipes in their order, without combinations that could never
        be used.

        Raises
        ------
        ValueError
            If there is none, since no GPU would suit all recipes; or if two of them want different
            values of an environment variable.
        """
        named = [_with_names(recipe.ways) for recipe in self.recipes]
        found: list[Way] = []
        refusals: list[ValueError] = []
        for parts in itertools.product(*named):
            recipes = tuple(recipe for _, recipe in parts)
            try:
                requirements = _requirements_of(recipes)
            except ValueError as error:
                refusals.append(error)
                continue
            if not any(is_covered(requirements, earlier.requirements) for earlier in found):
                name = "+".join(name for name, _ in parts)
                found.append(Way(name, recipes, requirements, _env_of(recipes)))
        if not found:
            raise refusals[0]
        return tuple(found)

    @contextmanager
    def open(self, variant: int = 0) -> Iterator[dict[ContextKey, Any]]:
        """Build them all in this process, dependencies first, each once; clean up in reverse.

        For the duration of the block :mod:`parsl_pcm.live` knows them.

        Parameters
        ----------
        variant
            Which of the `ways` to take.

        Yields
        ------
        dict
            The live objects by the keys of `recipes`, whichever way they were built.
        """
        way = self.ways[variant]
        variant_name = way.name if len(self.ways) > 1 else ""
        with ExitStack() as cleanup:
            built: dict[ContextKey, Any] = {}
            for recipe in _in_build_order(way.recipes):
                built[recipe.key] = recipe.build(built, cleanup)
            live_of: dict[ContextKey, Any] = {}
            for recipe, chosen in zip(self.recipes, way.recipes, strict=True):
                live_of[recipe.key] = built[chosen.key]
                live.publish(recipe.key, recipe.name, built[chosen.key], variant_name)
                cleanup.callback(live.withdraw, recipe.key)
            yield live_of

    def __reduce__(self) -> tuple[Any, ...]:
        return ContextSet, (self.recipes,)


def _with_names(ways: Sequence[ContextRecipe]) -> list[tuple[str, ContextRecipe]]:
    """Return the ways of a recipe with their names, made different: ``llm``, ``llm-2``."""
    named: dict[str, ContextRecipe] = {}
    for way in ways:
        number = 1 + sum(other.name == way.name for other in named.values())
        named[way.name if number == 1 else f"{way.name}-{number}"] = way
    return list(named.items())


def _requirements_of(recipes: Sequence[ContextRecipe]) -> Requirements:
    needs = combine_requirements([recipe.requirements for recipe in _in_build_order(recipes)])
    # A dependency is put to sleep by what was built upon it.
    can_sleep = all(recipe.requirements.can_sleep for recipe in recipes)
    return msgspec.structs.replace(needs, can_sleep=can_sleep)


def _env_of(recipes: Sequence[ContextRecipe]) -> dict[str, str]:
    owner: dict[str, ContextRecipe] = {}
    for recipe in _in_build_order(recipes):
        for variable, value in recipe.env.items():
            other = owner.setdefault(variable, recipe)
            if other.env[variable] != value:
                raise ValueError(
                    f"contexts {other.name!r} and {recipe.name!r} would share a process, but want "
                    f"different values of the environment variable {variable}: give both the same"
                )
    return {variable: recipe.env[variable] for variable, recipe in owner.items()}


def _in_build_order(recipes: Sequence[ContextRecipe]) -> tuple[ContextRecipe, ...]:
    return distinct(_with_dependencies(recipes))


def _with_dependencies(recipes: Sequence[ContextRecipe]) -> Iterator[ContextRecipe]:
    for recipe in recipes:
        yield from _with_dependencies(recipe.dependencies)
        yield recipe
