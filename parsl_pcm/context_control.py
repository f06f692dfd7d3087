"""What a person may do with the contexts of a running executor: warm them, drop them, look."""

from __future__ import annotations

import logging
import sys
import warnings
from abc import ABC, abstractmethod
from typing import Any

import msgspec
from parsl.executors.errors import InvalidResourceSpecification

from parsl_pcm.block_control import BlockControl
from parsl_pcm.client import InterchangeClient
from parsl_pcm.context import ContextRecipe, find_recipes
from parsl_pcm.context_set import ContextSet
from parsl_pcm.declaration import resolve
from parsl_pcm.errors import PCMError
from parsl_pcm.status import ContextStatus, ContextTable, WarmUp
from parsl_pcm.submission import NO_CONTEXT, Submission
from parsl_pcm.types import Requirements
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.messages import ContextTrouble

logger = logging.getLogger(__name__)


class ContextControl(ABC):
    """The methods of an executor that are about its contexts; mixed into it."""

    _submission: Submission
    _blocks: BlockControl | None

    @abstractmethod
    def _usable_client(self) -> InterchangeClient: ...

    @abstractmethod
    def _send(self, *envelopes: Envelope) -> None: ...

    def contexts(self) -> ContextTable:
        """Return the state of every context that was needed so far; notebooks show a table.

        Raises
        ------
        PCMError
            If the executor is not running, or does not run any more.
        """
        rows = self._asking_client("contexts").ask("CONTEXTS")
        return ContextTable(msgspec.convert(row, ContextStatus) for row in rows)

    def warm(self, context: Any, hosts: int = 1) -> WarmUp:
        """Hold so many hosts of a context warm from now on, whatever waits.

        They are built where there is room, or as soon as there is; blocks are asked for as for
        calls. It holds until the next ``warm()`` or ``evict()`` of this context.

        Parameters
        ----------
        context
            A context, its name as ``"package.module:name"``, or a list of those that live together
            since one app needs them all.
        hosts
            0: none is asked for any more, and those that are warm stay for as long as others do.

        Returns
        -------
        WarmUp
            What there is at this moment: nothing is waited for.

        Warns
        -----
        UserWarning
            If there will never be room for so many. What fits is done.

        Raises
        ------
        TypeError, ValueError, ContextNotFound, NotPicklable
            If it is no context, or no number of hosts.
        PCMError
            If the executor is not running, or does not run any more.
        """
        _check_num_hosts(hosts)
        client = self._asking_client("warm")
        recipes = _recipes_of(context)
        with self._submission.lock:
            key, envelopes = self._submission.prepare_context(recipes)
            self._send(*envelopes)
        answer = client.ask("WARM", f"{hosts} {key}")
        assert self._blocks is not None, "the client runs"
        self._blocks.work_came()
        ways = msgspec.convert(answer["ways"], tuple[Requirements, ...])
        num_to_come = self._blocks.hosts_to_come(ways, answer["nodes"], answer["num_blocks"])
        outlook = WarmUp(
            name=answer["name"],
            asked=hosts,
            warm=answer["warm"],
            coming=answer["coming"],
            possible=None if num_to_come is None else sum(answer["nodes"]) + num_to_come,
        )
        _warn_if_too_many(outlook)
        return outlook

    def evict(self, context: Any) -> None:
        """End the hosts of a context, each as soon as it has nothing to do.

        It is built again when calls need it; what ``warm()`` asked for is taken back.

        Parameters
        ----------
        context
            As for ``warm()``.

        Raises
        ------
        TypeError, ContextNotFound
            If it is no context.
        ValueError
            If nothing has needed it in this run, so that there is nothing to end.
        PCMError
            If the executor is not running, or does not run any more.
        """
        client = self._asking_client("evict")
        contexts = ContextSet(_recipes_of(context))
        known = {row["context_key"]: row["name"] for row in client.ask("CONTEXTS")}
        if contexts.key not in known:
            known.pop(NO_CONTEXT, None)
            names = ", ".join(sorted(set(known.values()))) or "none"
            raise ValueError(
                f"context {contexts.name!r} is not known to this executor: nothing has needed it "
                f"as it is, arguments and options included. Known contexts: {names}"
            )
        client.ask("EVICT", contexts.key)

    def _asking_client(self, method: str) -> InterchangeClient:
        client = self._usable_client()
        if client.is_own_thread:
            raise PCMError(
                f"{method}() cannot be called from a callback of a future: its answer would come "
                "through the thread that runs the callback. Call it from another thread."
            )
        return client


class Troubles:
    """Tells the user of contexts that give trouble: each sentence once, however often it comes.

    Parameters
    ----------
    label
        Of the executor.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._told: set[str] = set()

    def tell(self, trouble: ContextTrouble) -> None:
        """Tell it in the log and on stderr."""
        sentence = " ".join(trouble.message.split())
        if sentence in self._told:
            return
        self._told.add(sentence)
        logger.warning("%s", "\n".join(filter(None, (sentence, trouble.log_tail))))
        sys.stderr.write(f"{self._label}: {sentence}\n")


def _recipes_of(context: Any) -> tuple[ContextRecipe, ...]:
    """Return the recipes that a person means.

    Raises
    ------
    TypeError, ContextNotFound
        If it is no context.
    """
    wanted = (
        "give a context (a function under @context), its name as 'package.module:name', or a list "
        "of those that live together"
    )
    if isinstance(context, dict):
        raise TypeError(f"a dict is no context: {wanted}")
    try:
        recipes = find_recipes(resolve({"pcm": {"context": context}})["pcm"]["context"])
    except InvalidResourceSpecification as error:
        raise TypeError(f"{context!r} is no context: {wanted}") from error
    if not recipes:
        raise TypeError(f"{context!r} holds no context: {wanted}")
    return recipes


def _check_num_hosts(hosts: object) -> None:
    if isinstance(hosts, bool) or not isinstance(hosts, int):
        raise TypeError(
            f"hosts must be a whole number, not {type(hosts).__name__} ({hosts!r}): it is how many "
            "hosts shall be warm"
        )
    if hosts < 0:
        raise ValueError(f"hosts={hosts} must be at least 0; 0 means that none need be warm")


def _warn_if_too_many(outlook: WarmUp) -> None:
    if outlook.possible is None or outlook.possible >= outlook.asked:
        return
    message = (
        f"{outlook.asked} hosts of context {outlook.name!r} were asked for, but all nodes that are "
        f"there or may come have room for {outlook.possible}: so many will be warm at most. Ask "
        "for fewer, for more blocks (the provider of the executor), or lower its requirements"
    )
    logger.warning("%s", message)
    warnings.warn(message, stacklevel=3)
