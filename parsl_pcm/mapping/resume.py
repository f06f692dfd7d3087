"""Going on where an earlier run of the same map ended.

Whose results are in a file is told by the map's identity: the content of the app, its contexts, its
other arguments, and how its items are told apart. It stands in a small file beside the sink. What
is done is read from the sink itself: an item with an error row is tried again.
"""

from __future__ import annotations

import inspect
import platform
import types
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from parsl_pcm.context import ContextRecipe, find_recipes
from parsl_pcm.declaration import Declared, declare
from parsl_pcm.errors import ResumeRefused
from parsl_pcm.fingerprint import FunctionBody, fingerprint
from parsl_pcm.mapping.keys import Keys
from parsl_pcm.mapping.sinks.safe_file import Patience, write_whole
from parsl_pcm.signatures import SPECIFICATION_PARAMETER

FORMAT = 1
_BUCKET_BITS = 12
_SHIFT = 64 - _BUCKET_BITS
_ITEMS = None
"""Stands for the items where the positions of arguments matter."""


class MapIdentity(Struct, frozen=True):
    """What must be the same for a map to go on with the results of an earlier one.

    Attributes
    ----------
    app
        Name of the function, for people.
    code
        Hash of what it does.
    contexts
        Keys by what they are called; the place counts where names are equal.
    arguments
        Hash of its other arguments, and of the defaults of those that are not given.
    keys
        How items are told apart.
    python
        Minor version: another one gives other hashes of the same code.
    """

    app: str
    code: str
    contexts: dict[str, str]
    arguments: str
    keys: str
    python: str
    format: int = FORMAT


def identify(function: Callable[..., Any], kwargs: Mapping[str, Any], keys: Keys) -> MapIdentity:
    """Return the identity of a map.

    Parameters
    ----------
    function
        What the app runs, with or without Parsl's wrapper.
    kwargs
        All that the call gives besides the items, ``parsl_resource_specification`` included.

    Raises
    ------
    TypeError
        If there is something among them whose content is not known yet, or cannot be hashed.
    PCMError, ValueError, InvalidResourceSpecification
        If its contexts are declared wrongly.
    """
    _refuse_futures(kwargs)
    call = declare(function, kwargs.get(SPECIFICATION_PARAMETER), (_ITEMS,), kwargs)
    arguments = {**_defaults_of(call.function), **call.kwargs}
    recipes = find_recipes([list(arguments.values()), list(call.extra_recipes)])
    name = getattr(call.function, "__name__", repr(call.function))
    try:
        return MapIdentity(
            app=name,
            code=_hash_code(call),
            contexts=_keys_by_name(recipes),
            arguments=_hash_arguments(call, arguments),
            keys=keys.describe(),
            python=".".join(platform.python_version_tuple()[:2]),
        )
    except TypeError as error:
        raise TypeError(
            f"resume= cannot tell whether app {name!r} and its arguments are the same as in an "
            f"earlier run: {error}"
        ) from error


def _refuse_futures(kwargs: Mapping[str, Any]) -> None:
    for name, value in kwargs.items():
        if isinstance(value, Future):
            raise TypeError(
                f"resume= compares the arguments with those of an earlier run, but {name!r} is a "
                f"future: give {name}=future.result()"
            )


def sidecar_of(sink: Path) -> Path:
    """Return the file that says whose results are in a sink."""
    return sink.with_name(f"{sink.name}.map.json")


def check_sidecar(sink: Path, identity: MapIdentity, places: Sequence[Path]) -> None:
    """Check that the results in a sink are of this map.

    Parameters
    ----------
    places
        What holds the results.

    Raises
    ------
    ResumeRefused
        If they are of another one, or nothing tells.
    """
    sidecar = sidecar_of(sink)
    to_delete = " and ".join(str(place) for place in (*places, sidecar) if place.exists())
    cure = f"To start afresh, delete {to_delete}, or write to another file"
    try:
        written = sidecar.read_bytes()
    except FileNotFoundError as error:
        raise ResumeRefused(
            f"{sink} has results in it, but {sidecar}, which would say of what, is missing: "
            f"resume=True must be given from the first run on. {cure}"
        ) from error
    check_identity(written, identity, where=str(sink), cure=cure)


def write_sidecar(sink: Path, identity: MapIdentity, patience: Patience) -> None:
    """Write whose results are in a sink.

    Raises
    ------
    SinkError
        If it cannot be written.
    """
    write_whole(sidecar_of(sink), encode_identity(identity), patience)


def encode_identity(identity: MapIdentity) -> bytes:
    """Return an identity as it is stored: JSON, for people too."""
    return msgspec.json.format(msgspec.json.encode(identity), indent=2) + b"\n"


def check_identity(written: bytes, identity: MapIdentity, *, where: str, cure: str) -> None:
    """Check that a stored identity is this one.

    Raises
    ------
    ResumeRefused
        If not; says what differs, with the cure.
    """
    try:
        earlier = msgspec.json.decode(written, type=MapIdentity)
    except msgspec.DecodeError as error:
        raise ResumeRefused(f"what is known of {where} cannot be read ({error}). {cure}") from error
    if earlier != identity:
        raise ResumeRefused(
            f"{where} has results of another map: {_describe_changes(earlier, identity)}. {cure}; "
            "to go on, undo the change"
        )


class DoneItems:
    """The items that are done, by their marks: a compact set, built from a stream.

    10^7 items take 80 MB. The chance that an item is taken for another one and wrongly skipped is
    the number of done items divided by 2**64: with 10^7 done, 5e-6 that this happens to any of 10^7
    others.

    Parameters
    ----------
    marks
        Of :meth:`parsl_pcm.mapping.keys.Keys.mark_of`; repetitions count once.
    """

    def __init__(self, marks: Iterable[int] = ()) -> None:
        # Sorted bucket by bucket: sorting all of them at once would take five times the memory.
        self._buckets = [array("Q") for _ in range(1 << _BUCKET_BITS)]
        for mark in marks:
            self._buckets[mark >> _SHIFT].append(mark)
        for number, bucket in enumerate(self._buckets):
            self._buckets[number] = array("Q", sorted(set(bucket)))

    def __len__(self) -> int:
        return sum(map(len, self._buckets))

    def __contains__(self, mark: int) -> bool:
        bucket = self._buckets[mark >> _SHIFT]
        place = bisect_left(bucket, mark)
        return place < len(bucket) and bucket[place] == mark


def _defaults_of(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some functions written in C tell nothing
        return {}
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def _hash_code(call: Declared) -> str:
    """Return the hash of a function without its defaults, which count as arguments."""
    function = call.function
    if not isinstance(function, types.FunctionType):
        return fingerprint(function)
    return fingerprint(FunctionBody(function), module=function.__module__)


def _hash_arguments(call: Declared, arguments: Mapping[str, Any]) -> str:
    plain = {
        name: value for name, value in arguments.items() if not isinstance(value, ContextRecipe)
    }
    return fingerprint(plain, module=getattr(call.function, "__module__", None))


def _keys_by_name(recipes: Iterable[ContextRecipe]) -> dict[str, str]:
    keys: dict[str, str] = {}
    for recipe in recipes:
        name = recipe.name if recipe.name not in keys else f"{recipe.name} ({len(keys) + 1})"
        keys[name] = recipe.key
    return keys


def _describe_changes(earlier: MapIdentity, now: MapIdentity) -> str:
    if earlier.format != now.format:
        return "another version of parsl_pcm wrote it, in another format"
    if earlier.python != now.python:
        return f"it was run by Python {earlier.python}, and this is {now.python}"
    return "; ".join(_changes(earlier, now))


def _changes(earlier: MapIdentity, now: MapIdentity) -> Iterator[str]:
    if earlier.app != now.app:
        yield f"the app was {earlier.app!r}, and is {now.app!r}"
    elif earlier.code != now.code:
        yield f"the code of app {now.app!r} has changed, or something that it refers to"
    if earlier.contexts != now.contexts:
        yield from _context_changes(earlier.contexts, now.contexts)
    if earlier.arguments != now.arguments:
        yield "the other arguments of the app have changed"
    if earlier.keys != now.keys:
        yield f"items were told apart by {earlier.keys}, and now by {now.keys}"


def _context_changes(earlier: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*earlier, *now}):
        if name not in now:
            yield f"context {name!r} is no longer used"
        elif name not in earlier:
            yield f"context {name!r} is new"
        elif earlier[name] != now[name]:
            yield f"context {name!r} has changed"
