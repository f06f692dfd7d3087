"""From a call to the messages that submit it. Each function and each recipe is sent once."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from parsl_pcm.context import ContextRecipe, ContextSet
from parsl_pcm.declaration import declare
from parsl_pcm.errors import NotPicklable
from parsl_pcm.pickling import digest_of, dump_arguments, dump_function, dump_recipes
from parsl_pcm.types import ContextKey, Digest, Requirements, TaskId
from parsl_pcm.wire import messages
from parsl_pcm.wire.codec import Envelope

NO_CONTEXT = ContextKey("no-context")
"""Key of the hosts for apps that declare no context."""


class Submission:
    """Knows what the interchange has been sent.

    Parameters
    ----------
    default_cores
        Cores of the host of a CPU context that does not say how many it needs. A GPU context
        gets a device, and its cores are not counted unless it asks for some.

    Attributes
    ----------
    lock
        To be held from ``prepare`` until its envelopes are sent: they rely on those before them.
    """

    def __init__(self, *, default_cores: float) -> None:
        self.lock = threading.Lock()
        self._default_cores = default_cores
        self._digest_of: weakref.WeakKeyDictionary[Callable[..., Any], Digest] = (
            weakref.WeakKeyDictionary()
        )
        self._sent: set[Digest] = set()
        self._declared: dict[tuple[ContextKey, ...], ContextKey] = {}

    def prepare(
        self,
        task_id: TaskId,
        function: Callable[..., Any],
        specification: Mapping[str, Any] | None,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> list[Envelope]:
        """Return the messages that submit a call, in order.

        Raises
        ------
        NotPicklable
            If the function, an argument or a recipe cannot be sent to another process.
        InvalidResourceSpecification, ContextNotFound, TypeError, ValueError
            If its contexts are declared wrongly.
        """
        call = declare(function, specification, args, kwargs)
        name = getattr(call.function, "__name__", repr(call.function))
        try:
            arguments, recipes = dump_arguments(call.args, call.kwargs)
        except Exception as error:
            raise NotPicklable(_explain(f"the arguments of {name!r}", error)) from error
        envelopes: list[Envelope] = []
        context_key = self._declare((*recipes, *call.extra_recipes), envelopes)
        message = messages.SubmitTask(
            task_id=task_id,
            context_key=context_key,
            function=self._store_function(call.function, name, envelopes),
            priority=call.priority,
        )
        envelopes.append(Envelope(message, (arguments,)))
        return envelopes

    def _store_function(
        self, function: Callable[..., Any], name: str, envelopes: list[Envelope]
    ) -> Digest:
        # Functions are taken as they were at their first call, as Parsl itself does.
        with contextlib.suppress(TypeError):  # a callable object without a hash
            known = self._digest_of.get(function)
            if known is not None:
                return known
        try:
            blob = dump_function(function)
        except Exception as error:
            raise NotPicklable(_explain(f"function {name!r}", error)) from error
        digest = self._store(blob, envelopes)
        with contextlib.suppress(TypeError):  # one that cannot be weakly referenced
            self._digest_of[function] = digest
        return digest

    def _declare(self, recipes: tuple[ContextRecipe, ...], envelopes: list[Envelope]) -> ContextKey:
        recipe_keys = tuple(recipe.key for recipe in recipes)
        known = self._declared.get(recipe_keys)
        if known is not None:
            return known
        message = self._no_context() if not recipes else self._describe(recipes, envelopes)
        envelopes.append(Envelope(message))
        self._declared[recipe_keys] = message.context_key
        return message.context_key

    def _no_context(self) -> messages.DeclareContext:
        return messages.DeclareContext(
            context_key=NO_CONTEXT,
            name="no context",
            requirements=Requirements(cores=self._default_cores),
            recipes=None,
            env={},
        )

    def _describe(
        self, recipes: tuple[ContextRecipe, ...], envelopes: list[Envelope]
    ) -> messages.DeclareContext:
        contexts = ContextSet(recipes)
        try:
            blob = dump_recipes(contexts)
        except Exception as error:
            raise NotPicklable(_explain(f"context {contexts.name!r}", error)) from error
        needs = contexts.requirements
        if needs.cores is None:
            needs = msgspec.structs.replace(needs, cores=0.0 if needs.gpus else self._default_cores)
        return messages.DeclareContext(
            context_key=contexts.key,
            name=contexts.name,
            requirements=needs,
            recipes=self._store(blob, envelopes),
            env=contexts.env,
        )

    def _store(self, blob: bytes, envelopes: list[Envelope]) -> Digest:
        digest = digest_of(blob)
        if digest not in self._sent:
            self._sent.add(digest)
            envelopes.append(Envelope(messages.StoreBlob(digest=digest), (blob,)))
        return digest


def _explain(what: str, error: Exception) -> str:
    return (
        f"{what} cannot be sent to another process: {error}. Usual causes: an open file, a lock, a "
        f"database connection or a live model among them; create it in the function, or in a "
        f"@context, instead."
    )
