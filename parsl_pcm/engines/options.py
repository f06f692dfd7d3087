"""The arguments of one ``generate`` call, checked in one place for all engines."""

from __future__ import annotations

import math
from dataclasses import dataclass

from parsl_pcm.engines.prompts import is_unicode

_MAX_TEMPERATURE = 2.0
"""vLLM refuses more."""
_MAX_SEED = 2**32 - 2
"""llama.cpp keeps a seed in 32 bits and takes the highest for 'none'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateOptions:
    """The arguments of :meth:`Engine.generate` that hold for all prompts of a call, checked."""

    max_tokens: int
    temperature: float = 0.0
    stop: tuple[str, ...] = ()
    choices: tuple[str, ...] | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        _check_integer("max_tokens", self.max_tokens, at_least=1)
        _check_temperature(self.temperature)
        _check_strings("stop", self.stop)
        if self.seed is not None:
            _check_integer("seed", self.seed, at_least=0, at_most=_MAX_SEED)
        if self.choices is not None:
            self._check_choices(self.choices)

    def _check_choices(self, choices: tuple[str, ...]) -> None:
        _check_strings("choices", choices)
        if not choices:
            raise ValueError("choices is empty; give at least one string, or None for free text")
        if len(set(choices)) < len(choices):
            raise ValueError(f"choices must be distinct, got {choices!r}")
        if self.stop:
            raise ValueError(f"stop={self.stop!r} would cut the choices; give one of the two")

    @property
    def token_limit(self) -> int:
        """Tokens that an engine may generate per prompt; no choice has more tokens than bytes."""
        if self.choices is None:
            return self.max_tokens
        return max(len(choice.encode()) for choice in self.choices) + 1


def _check_integer(name: str, value: object, *, at_least: int, at_most: float = math.inf) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {value}")
    if value > at_most:
        raise ValueError(f"{name} must be at most {at_most}, got {value}")


def _check_temperature(value: object) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"temperature must be a number, got {value!r}")
    if not 0 <= value <= _MAX_TEMPERATURE:
        raise ValueError(
            f"temperature must be from 0 (greedy) to {_MAX_TEMPERATURE:g}, got {value}"
        )


def _check_strings(name: str, values: tuple[object, ...]) -> None:
    for value in values:
        if not isinstance(value, str):
            raise TypeError(f"{name} must be strings, got {value!r}")
        if not value or not is_unicode(value):
            raise ValueError(f"{name} must be non-empty valid Unicode strings, got {value!r}")
