"""The live contexts of this process, and how a function that runs beside them gets at them.

The registry is module state on purpose: a host process is one set of live contexts, and an
argument that is unpickled in it must find them without being handed anything.
:meth:`parsl_pcm.context_set.ContextSet.open` publishes; arguments and user functions look up.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from parsl_pcm.types import GPU_MEMORY_VARIABLE, ContextKey


class ContextLost(RuntimeError):  # noqa: N818 - named for the condition, as our other errors are
    """A live object is dead, as after an error of CUDA: raise it where that shows.

    The host then ends and the context is built anew. The call is repeated; it counts as one that
    killed its host, so that one which does so each time is given up.
    """


class _LiveContext(NamedTuple):
    key: ContextKey
    name: str
    live: Any
    variant: str


_published: list[_LiveContext] = []


def live_context(name: str | None = None) -> Any:
    """Return a live context of this process; for functions that have no parameter for it.

    Parameters
    ----------
    name
        Name of the recipe: that of its set-up function. None: the only context there is.

    Raises
    ------
    LookupError
        If there is none, or more than one, that fits.
    """
    fitting = [entry for entry in _published if name is None or entry.name == name]
    if len(fitting) == 1:
        return fitting[0].live
    wanted = "context" if name is None else f"context named {name!r}"
    if not fitting:
        raise LookupError(f"no live {wanted} in this process; {_what_is_live()}")
    raise LookupError(
        f"more than one live {wanted} in this process; {_what_is_live()}: give the name of one, "
        "or pass the context as an argument"
    )


def live_variant() -> str:
    """Return the name of the variant that was built in this process.

    It is what maps record with their results; "" if the context has no variants.

    Raises
    ------
    LookupError
        If there is no live context.
    """
    if not _published:
        raise LookupError(f"no live context in this process; {_what_is_live()}")
    return _published[-1].variant


def live_by_key(key: ContextKey) -> Any:
    """Return the live object of a recipe: what a recipe among the arguments of a call becomes.

    Raises
    ------
    LookupError
        If this process does not hold it.
    """
    for entry in reversed(_published):
        if entry.key == key:
            return entry.live
    raise LookupError(f"the context {key} is not live in this process; {_what_is_live()}")


def load_variable(name: str) -> Any:
    """Return one entry of the dict that a context of this process gave.

    Raises
    ------
    LookupError
        If no live context is a dict with that key.
    """
    for entry in reversed(_published):
        if isinstance(entry.live, Mapping) and name in entry.live:
            return entry.live[name]
    raise LookupError(
        f"no live context of this process gave a variable {name!r}; {_what_is_live()}: its set-up "
        f"function must return a dict with the key {name!r}"
    )


def gpu_memory_budget() -> int | None:
    """Return how many bytes this host may take on each of its GPUs: its declared ``gpu_memory``.

    For set-up functions of libraries that reserve memory. None: the GPUs are the host's alone.
    """
    value = os.environ.get(GPU_MEMORY_VARIABLE)
    return int(value) if value else None


def publish(key: ContextKey, name: str, live: Any, variant: str = "") -> None:
    """Make a live object known to this process; each needs its :func:`withdraw`."""
    _published.append(_LiveContext(key, name, live, variant))


def withdraw(key: ContextKey) -> None:
    """Forget the live object that was published last under this key.

    Raises
    ------
    LookupError
        If none is.
    """
    for index in range(len(_published) - 1, -1, -1):
        if _published[index].key == key:
            del _published[index]
            return
    raise LookupError(f"the context {key} is not live in this process; {_what_is_live()}")


def _what_is_live() -> str:
    if not _published:
        return "there is none at all (is this function running in a host of PCMExecutor?)"
    return "there is " + ", ".join(_describe(entry) for entry in _published)


def _describe(entry: _LiveContext) -> str:
    if isinstance(entry.live, Mapping):
        return f"{entry.name!r} (a dict with {', '.join(map(repr, entry.live)) or 'no keys'})"
    return f"{entry.name!r} ({type(entry.live).__name__})"
