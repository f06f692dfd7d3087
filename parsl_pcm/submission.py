"""From a call to the messages that submit it. Each function and each recipe is sent once."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from parsl_pcm.context import ContextRecipe
from parsl_pcm.context_set import ContextSet, Way
from parsl_pcm.declaration import declare
from parsl_pcm.errors import NotPicklable
from parsl_pcm.pickling import digest_of, dump_arguments, dump_function, dump_recipes
from parsl_pcm.types import ContextKey, Digest, Requirements, TaskId
from parsl_pcm.wire import messages
from parsl_pcm.wire.codec import Envelope

NO_CONTEXT = ContextKey("no-context")
"""Key of the hosts for apps that declare no context."""


_NO_TASK = TaskId(0)


class _Declaration(NamedTuple):
    """How a set of contexts is declared."""

    recipe_keys: tuple[ContextKey, ...]
    message: messages.DeclareContext | None = None
    """None if it was sent before."""
    recipes_blob: bytes | None = None


class PreparedCall(NamedTuple):
    """How to submit a call.

    The message has no number of a task yet.
    """

    first: list[Envelope]
    """What must be sent before."""
    submit: Envelope

    def numbered(self, task_id: TaskId) -> list[Envelope]:
        """Return all that is to be sent, in order."""
        message = msgspec.structs.replace(self.submit.message, task_id=task_id)
        return [*self.first, Envelope(message, self.submit.payload)]


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
        function: Callable[..., Any],
        specification: Mapping[str, Any] | None,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        num_left_out: int = 0,
    ) -> PreparedCall:
        """Return how to submit a call.

        Parameters
        ----------
        num_left_out
            So many of the first ``args`` are not sent: whoever runs the call will put others there.

        Raises
        ------
        NotPicklable
            If the function, an argument or a recipe cannot be sent to another process.
        InvalidResourceSpecification, ContextNotFound, TypeError, ValueError
            If its contexts are declared wrongly.
        """
        call = declare(function, specification, args, kwargs)
        name = getattr(call.function, "__name__", repr(call.function))
        with _explaining(f"the arguments of {name!r}"):
            arguments, recipes = dump_arguments(call.args[num_left_out:], call.kwargs)
        with _explaining(f"function {name!r}"):
            function_blob = self._pickle_if_new(call.function)
        declaration = self._describe_if_new((*recipes, *call.extra_recipes))
        # From here on nothing fails: what is noted as sent will be.
        envelopes: list[Envelope] = []
        message = messages.SubmitTask(
            task_id=_NO_TASK,
            context_key=self._note_context(declaration, envelopes),
            function=self._note_function(call.function, function_blob, envelopes),
            priority=call.priority,
        )
        return PreparedCall(envelopes, Envelope(message, (arguments,)))

    def prepare_context(
        self, recipes: tuple[ContextRecipe, ...]
    ) -> tuple[ContextKey, list[Envelope]]:
        """Return the key of recipes that live together, and what makes it known if it is new.

        Raises
        ------
        NotPicklable, TypeError, ValueError
            As :meth:`prepare` does.
        """
        envelopes: list[Envelope] = []
        return self._note_context(self._describe_if_new(recipes), envelopes), envelopes

    # --- what may fail ------------------------------------------------------------------------

    def _pickle_if_new(self, function: Callable[..., Any]) -> bytes | None:
        """Return a function as bytes; None if it was sent. It is taken as at its first call."""
        with contextlib.suppress(TypeError):  # a callable object without a hash
            if function in self._digest_of:
                return None
        return dump_function(function)

    def _describe_if_new(self, recipes: tuple[ContextRecipe, ...]) -> _Declaration:
        """Return what declares these recipes together; its message is None if it was sent."""
        recipe_keys = tuple(recipe.key for recipe in recipes)
        if recipe_keys in self._declared:
            return _Declaration(recipe_keys)
        if not recipes:
            return _Declaration(recipe_keys, self._no_context())
        contexts = ContextSet(recipes)
        with _explaining(f"context {contexts.name!r}"):
            blob = dump_recipes(contexts)
        first, *others = contexts.ways
        message = messages.DeclareContext(
            context_key=contexts.key,
            name=first.name,
            requirements=self._requirements_of(first),
            recipes=digest_of(blob),
            env=first.env,
            variants=tuple(
                messages.DeclaredVariant(
                    name=way.name, requirements=self._requirements_of(way), env=way.env
                )
                for way in others
            ),
        )
        return _Declaration(recipe_keys, message, blob)

    def _requirements_of(self, way: Way) -> Requirements:
        needs = way.requirements
        if needs.cores is not None:
            return needs
        return msgspec.structs.replace(needs, cores=0.0 if needs.gpus else self._default_cores)

    def _no_context(self) -> messages.DeclareContext:
        return messages.DeclareContext(
            context_key=NO_CONTEXT,
            name="no context",
            requirements=Requirements(cores=self._default_cores),
            recipes=None,
            env={},
        )

    # --- what is noted as sent ----------------------------------------------------------------

    def _note_function(
        self, function: Callable[..., Any], blob: bytes | None, envelopes: list[Envelope]
    ) -> Digest:
        if blob is None:
            return self._digest_of[function]
        digest = self._note_blob(blob, envelopes)
        with contextlib.suppress(TypeError):  # one that cannot be weakly referenced
            self._digest_of[function] = digest
        return digest

    def _note_context(self, declaration: _Declaration, envelopes: list[Envelope]) -> ContextKey:
        if declaration.message is None:
            return self._declared[declaration.recipe_keys]
        if declaration.recipes_blob is not None:
            self._note_blob(declaration.recipes_blob, envelopes)
        envelopes.append(Envelope(declaration.message))
        context_key = declaration.message.context_key
        self._declared[declaration.recipe_keys] = context_key
        return context_key

    def _note_blob(self, blob: bytes, envelopes: list[Envelope]) -> Digest:
        digest = digest_of(blob)
        if digest not in self._sent:
            self._sent.add(digest)
            envelopes.append(Envelope(messages.StoreBlob(digest=digest), (blob,)))
        return digest


@contextlib.contextmanager
def _explaining(what: str) -> Iterator[None]:
    """Turn whatever pickle raises into an error that says what could not be pickled."""
    try:
        yield
    except Exception as error:
        raise NotPicklable(_explain(what, error)) from error


def _explain(what: str, error: Exception) -> str:
    return (
        f"{what} cannot be sent to another process: {error}. Usual causes: an open file, a lock, a "
        f"database connection or a live model among them; create it in the function, or in a "
        f"@context, instead."
    )
