"""What an app may ask of any engine, and what it gets back.

An app that is written against :class:`Engine` runs unchanged on llama.cpp, transformers and vLLM.
The engines themselves are built by the contexts in :mod:`parsl_pcm.engines`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

Prompt: TypeAlias = str | Sequence[Mapping[str, str]]
"""Text to go on from, as it is; or a chat: messages with ``role`` and ``content``, to which the
model's own chat template is applied."""

FinishReason: TypeAlias = Literal["stop", "length", "choice", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What became of one prompt.

    Attributes
    ----------
    text
        The answer, without the prompt and without the stop string; empty if there is an error.
    prompt_tokens
        As the model saw it, chat template included; 0 if there is an error.
    completion_tokens
        Generated, the end-of-text token included.
    finish_reason
        ``stop``: the model ended its answer, or a stop string came. ``length``: ``max_tokens`` or
        the end of the context window was reached. ``choice``: the text is one of the choices.
        ``error``: this prompt has no answer, see `error`.
    error
        What was wrong with this prompt; None if all went well.
    """

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish_reason: FinishReason
    error: str | None = None

    @classmethod
    def of_error(cls, error: str) -> Completion:
        """Return the row for a prompt that has no answer."""
        return cls(text="", finish_reason="error", error=error)


class Engine(Protocol):
    """A live model.

    Every engine of this package may be called from several threads and coroutines at once, which
    share its batches: many calls with one prompt each are as fast as one call with many.
    """

    @property
    def model_name(self) -> str:
        """Path or name that the model was loaded from."""
        ...

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
        """Answer every prompt; one row per prompt, in their order.

        Parameters
        ----------
        prompts
            Texts and chats, mixed as you like. A bad one (empty, too long for the context window,
            no text) gets a row with ``finish_reason="error"`` and harms no other.
        max_tokens
            Longest answer, in tokens. With `choices` it has no effect: a choice is never cut.
        temperature
            0: always the likeliest token. Above, up to 2: draw from the whole distribution.
        stop
            The answer ends before the first of these strings.
        choices
            The answer is exactly one of these strings.
        seed
            From 0 to 2**32 - 2. Makes draws repeatable: each prompt is drawn with this seed,
            wherever it stands in the list. Without effect at temperature 0.

        Raises
        ------
        TypeError, ValueError
            An argument is wrong for all prompts.
        """
        ...

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
        """Do what :meth:`generate` does, for ``async def`` apps, on whatever event loop they run.

        If the coroutine is cancelled, the engine drops those of its prompts that are not answered.
        """
        ...

    def sleep(self) -> None:
        """Give back device memory, and what main memory it can, once no call is under way.

        Until :meth:`wake`, calls raise RuntimeError. Sleeping twice is harmless.
        """
        ...

    def wake(self) -> None:
        """Make an engine that sleeps ready again; without effect on one that is awake."""
        ...
