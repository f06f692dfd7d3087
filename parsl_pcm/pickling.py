"""User objects to bytes and back: functions, arguments, recipes, results and exceptions.

The user's process dumps functions, arguments and recipes; a host loads them, and dumps results and
exceptions. Everything between the two passes the bytes on untouched. Whatever is defined in a
script, a notebook or a closure travels by value, thanks to cloudpickle.
"""

from __future__ import annotations

import io
import itertools
import pickle
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, cast

import cloudpickle  # type: ignore[import-untyped]

from parsl_pcm.context import ContextRecipe
from parsl_pcm.context_set import ContextSet
from parsl_pcm.live import live_by_key
from parsl_pcm.types import ContextKey, Digest

_PROTOCOL = 5


class RemoteTraceback(Exception):  # noqa: N818 - shown to people, as in concurrent.futures
    """The traceback of an exception in the process where it was raised, as text."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text.rstrip()}\n"""'


def digest_of(blob: bytes) -> Digest:
    """Return the content hash under which a blob is stored."""
    return Digest(blake2b(blob, digest_size=16).hexdigest())


def dump_function(function: Callable[..., Any]) -> bytes:
    """Pickle a function; recipes among its defaults and globals stay recipes."""
    return cast(bytes, cloudpickle.dumps(function, protocol=_PROTOCOL))


def load_function(blob: bytes) -> Callable[..., Any]:
    """Return the function of :func:`dump_function`."""
    return cast(Callable[..., Any], pickle.loads(blob))


def dump_arguments(
    args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[bytes, list[ContextRecipe]]:
    """Pickle the arguments of a call, with references in place of its contexts.

    Returns
    -------
    bytes
        Loads only in a process in which the contexts are live.
    list of ContextRecipe
        The recipes found anywhere in the arguments, each once, in the order found.
    """
    buffer = io.BytesIO()
    pickler = _ArgumentPickler(buffer, _PROTOCOL)
    pickler.dump((tuple(args), dict(kwargs)))
    return buffer.getvalue(), list(pickler.recipes.values())


def load_arguments(blob: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of :func:`dump_arguments`, with the live objects of this process.

    Raises
    ------
    LookupError
        If a context of the call is not live in this process.
    """
    return cast(tuple[tuple[Any, ...], dict[str, Any]], pickle.loads(blob))


def dump_items(items: Sequence[Any]) -> bytes:
    """Pickle items of a map: a frame."""
    return cast(bytes, cloudpickle.dumps(list(items), protocol=_PROTOCOL))


def load_items(blob: bytes) -> list[Any]:
    """Return the items of :func:`dump_items`."""
    return cast(list[Any], pickle.loads(blob))


def dump_recipes(contexts: ContextSet) -> bytes:
    """Pickle what a host builds."""
    return cast(bytes, cloudpickle.dumps(contexts, protocol=_PROTOCOL))


def load_recipes(blob: bytes) -> ContextSet:
    """Return the set of :func:`dump_recipes`; its keys are those of the process that dumped it."""
    return cast(ContextSet, pickle.loads(blob))


def dump_result(result: Any) -> bytes:
    """Pickle what a function returned."""
    return cast(bytes, cloudpickle.dumps(result, protocol=_PROTOCOL))


def load_result(blob: bytes) -> Any:
    """Return the result of :func:`dump_result`."""
    return pickle.loads(blob)


def dump_exception(exception: BaseException) -> bytes | None:
    """Pickle an exception and its causes, without tracebacks.

    Returns
    -------
    bytes or None
        None if the exception does not survive a round trip. A cause that does not is left out,
        with the causes behind it.
    """
    chain: list[bytes] = []
    seen: set[int] = set()
    link: BaseException | None = exception
    while link is not None and id(link) not in seen:
        blob = _dump_one_exception(link)
        if blob is None:
            break
        chain.append(blob)
        seen.add(id(link))
        link = link.__cause__
    return pickle.dumps(chain, _PROTOCOL) if chain else None


def load_exception(payload: bytes, remote_traceback: str) -> BaseException:
    """Return the exception of :func:`dump_exception`.

    Its first cause is a :class:`RemoteTraceback`, so that printing it shows the remote text first.

    Raises
    ------
    Exception
        Whatever unpickling raises, if this process lacks a module of the exception.
    """
    chain: list[BaseException] = [pickle.loads(blob) for blob in pickle.loads(payload)]
    if remote_traceback:
        chain.append(RemoteTraceback(remote_traceback))
    for effect, cause in itertools.pairwise(chain):
        effect.__cause__ = cause
    return chain[0]


def _dump_one_exception(exception: BaseException) -> bytes | None:
    buffer = io.BytesIO()
    try:
        _ExceptionPickler(buffer, _PROTOCOL).dump(exception)
        survivor = pickle.loads(buffer.getvalue())
    except Exception:  # noqa: BLE001 - any error of the user's pickling code means: it cannot travel
        return None
    return buffer.getvalue() if type(survivor) is type(exception) else None


class _ExceptionPickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle is untyped
    """Pickles exceptions as they ask to be, whatever is registered for their class.

    Importing Parsl registers tblib, which would add tracebacks, and all that cannot travel in them.
    """

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, BaseException):
            return obj.__reduce_ex__(_PROTOCOL)
        return super().reducer_override(obj)


class _ArgumentPickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle is untyped
    """Replaces recipes by references to what is live where the arguments are loaded."""

    def __init__(self, file: io.BytesIO, protocol: int) -> None:
        super().__init__(file, protocol)
        self.recipes: dict[ContextKey, ContextRecipe] = {}

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, ContextRecipe):
            self.recipes.setdefault(obj.key, obj)
            return live_by_key, (obj.key,)
        return super().reducer_override(obj)
