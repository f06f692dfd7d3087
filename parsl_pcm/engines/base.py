"""What the engines share: arguments are checked once, and bad prompts never reach the model.

An engine gives a future for each prompt. A caller waits for its own futures, as a thread or as a
coroutine, and the engine need not know: what different callers ask for, it works on together.
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING

from parsl_pcm.engines.options import GenerateOptions
from parsl_pcm.engines.prompts import error_in_prompt
from parsl_pcm.engines.protocol import Completion, FinishReason, Prompt

if TYPE_CHECKING:
    from typing_extensions import Self


class BaseEngine(ABC):
    """Common part of the engines; also a context manager that closes the engine."""

    def __init__(self, model_name: str) -> None:
        self._model_name = model_name
        self._is_closed = False
        self._is_asleep = False
        self._lock = threading.Lock()

    @property
    def model_name(self) -> str:
        """Path or name that the model was loaded from."""
        return self._model_name

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        stop: Sequence[str] = (),
        choices: Sequence[str] | None = None,
        seed: int | None = None,
    ) -> list[Completion]:
        """Answer every prompt; see :meth:`parsl_pcm.engines.Engine.generate`."""
        options = _options(max_tokens, temperature, stop, choices, seed)
        rows = self._begin(prompts, options)
        try:
            return [row.result() for row in rows]
        finally:
            _cancel(rows)

    async def agenerate(
        self,
        prompts: Sequence[Prompt],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        stop: Sequence[str] = (),
        choices: Sequence[str] | None = None,
        seed: int | None = None,
    ) -> list[Completion]:
        """Answer every prompt; see :meth:`parsl_pcm.engines.Engine.agenerate`."""
        options = _options(max_tokens, temperature, stop, choices, seed)
        rows = self._begin(prompts, options)
        try:
            return await asyncio.gather(*map(asyncio.wrap_future, rows))
        finally:
            _cancel(rows)

    def _begin(
        self, prompts: Sequence[Prompt], options: GenerateOptions
    ) -> list[Future[Completion]]:
        if isinstance(prompts, str):
            raise TypeError(f"prompts is a list of prompts; got the text {prompts[:50]!r}")
        errors = [error_in_prompt(prompt) for prompt in prompts]
        good = [prompt for prompt, error in zip(prompts, errors, strict=True) if error is None]
        with self._lock:
            self._refuse_if_closed()
            if self._is_asleep:
                raise RuntimeError(
                    f"the engine of {self._model_name!r} is asleep; call its wake() first"
                )
            rows = iter(self._submit(good, options) if good else [])
        return [next(rows) if error is None else row_of_error(error) for error in errors]

    @abstractmethod
    def _submit(self, prompts: list[Prompt], options: GenerateOptions) -> list[Future[Completion]]:
        """Begin to answer prompts whose form is right.

        Called by one thread at a time. Returns without waiting for an answer; a future that is
        cancelled is no longer of interest.
        """

    @abstractmethod
    def _doze(self) -> None:
        """Wait for the answers under way and give back the memory that :meth:`_rise` takes."""

    @abstractmethod
    def _rise(self) -> None:
        """Undo :meth:`_doze`."""

    @abstractmethod
    def _free(self) -> None:
        """Wait for the answers under way and give back all that the model holds.

        Called once, awake or asleep.
        """

    def sleep(self) -> None:
        """Give memory back; see :meth:`parsl_pcm.engines.Engine.sleep`.

        An engine whose sleep or wake has raised can only be closed.
        """
        with self._lock:
            self._refuse_if_closed()
            was_asleep, self._is_asleep = self._is_asleep, True
        if not was_asleep:
            self._doze()

    def wake(self) -> None:
        """Take the memory again; see :meth:`parsl_pcm.engines.Engine.wake`."""
        self._refuse_if_closed()
        if self._is_asleep:
            self._rise()
            self._is_asleep = False

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            raise RuntimeError(f"the engine of {self._model_name!r} is closed; open a new one")

    def close(self) -> None:
        """Free the model, once the calls under way have got their answers.

        The engine cannot be used afterwards; closing twice is harmless.
        """
        with self._lock:
            was_closed, self._is_closed = self._is_closed, True
        if not was_closed:
            self._free()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def completion_of(
    text: str,
    *,
    num_tokens: tuple[int, int],
    finish_reason: FinishReason,
    options: GenerateOptions,
) -> Completion:
    """Return the row for what an engine generated; `num_tokens` of the prompt and the answer."""
    if options.choices is not None:
        if text not in options.choices:
            return Completion.of_error(
                f"the answer {text!r} is none of the choices: the context window has no room for "
                "it after this prompt; shorten the prompt or give the engine a larger window"
            )
        finish_reason = "choice"
    prompt_tokens, completion_tokens = num_tokens
    return Completion(
        text=text,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        finish_reason=finish_reason,
    )


def too_long(num_tokens: int, context_window: int) -> Completion:
    """Return the row for a prompt that leaves no room for an answer."""
    return Completion.of_error(
        f"the prompt has {num_tokens} tokens, and the context window of the engine has "
        f"{context_window}, answer included; shorten the prompt or give the engine a larger "
        "context_window"
    )


def row_of_error(error: str | Completion) -> Future[Completion]:
    """Return a future that is done: this prompt has no answer."""
    row: Future[Completion] = Future()
    row.set_result(Completion.of_error(error) if isinstance(error, str) else error)
    return row


def _options(
    max_tokens: int,
    temperature: float,
    stop: Sequence[str],
    choices: Sequence[str] | None,
    seed: int | None,
) -> GenerateOptions:
    return GenerateOptions(
        max_tokens=max_tokens,
        temperature=temperature,
        stop=_as_tuple("stop", stop),
        choices=None if choices is None else _as_tuple("choices", choices),
        seed=seed,
    )


def _cancel(rows: Iterable[Future[Completion]]) -> None:
    """Drop what nobody waits for any more; rows that are done do not care."""
    for row in rows:
        row.cancel()


def _as_tuple(name: str, values: Iterable[str]) -> tuple[str, ...]:
    if isinstance(values, str):
        raise TypeError(f"{name} must be a list of strings, got the string {values!r}")
    return tuple(values)
