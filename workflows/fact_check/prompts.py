"""Prompt templates: how a claim is put to a model, and how its answer is read.

A template is data, chat messages with ``{claim}`` and ``{evidence}`` in the last one, so that it
can be sent to a node once for many claims.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fact_check.claims import LABELS, NOT_ENOUGH_INFO, REFUTES, SUPPORTS, InputError

Message = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A template with the answers that it accepts.

    Attributes
    ----------
    template
        Chat messages; ``str.format`` fills ``{claim}`` and ``{evidence}``.
    answers
        Word that the model is asked for, and the label that it stands for.
    is_constrained
        The engine may produce nothing but one of the answers.
    """

    name: str
    template: Sequence[Message]
    answers: Mapping[str, str]
    is_constrained: bool

    @property
    def choices(self) -> list[str] | None:
        """Answers that the engine is held to; None: it may write what it likes."""
        return list(self.answers) if self.is_constrained else None

    @property
    def fingerprint(self) -> str:
        """Hash of everything that a model's answer depends on."""
        content = json.dumps([self.template, list(self.answers.items()), self.is_constrained])
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    def read_answer(self, text: str) -> str | None:
        """Return the label that an answer stands for; None if it names none, or several."""
        named = {
            label
            for word, label in self.answers.items()
            if re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE)
        }
        return named.pop() if len(named) == 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Style:
    """What a prompt is made from: the question, and the words that stand for the labels."""

    question: str
    words: tuple[str, str, str]
    """For SUPPORTS, REFUTES, NOT ENOUGH INFO."""
    has_evidence: bool = True
    has_examples: bool = False
    is_constrained: bool = True


_STYLES = {
    "zero-shot": _Style(
        question="Does the evidence support or refute the claim? Answer {}.",
        words=(SUPPORTS, REFUTES, NOT_ENOUGH_INFO),
    ),
    "closed-book": _Style(
        question="Is the claim true? Answer {}.",
        words=("True", "False", "Unknown"),
        has_evidence=False,
    ),
    "few-shot": _Style(
        question="Is the claim true according to the evidence? Answer {}.",
        words=("Yes", "No", "Maybe"),
        has_examples=True,
    ),
    "free-text": _Style(
        question="Is the claim true according to the evidence? Answer with one word: {}.",
        words=("Yes", "No", "Maybe"),
        is_constrained=False,
    ),
}

PROMPT_NAMES = tuple(_STYLES)

_EXAMPLES = (
    ("Mozart was born in Salzburg in 1756.", "The Nile flows through Egypt.", NOT_ENOUGH_INFO),
    ("The capital of Norway is Oslo.", "Oslo is the capital of Norway.", SUPPORTS),
    ("Spiders have eight legs; insects have six.", "A spider has six legs.", REFUTES),
    ("Bread is baked from flour and water.", "Rome is older than Brasilia.", NOT_ENOUGH_INFO),
    ("Water turns to ice at 0 degrees Celsius.", "Water freezes at 50 degrees Celsius.", REFUTES),
    ("The four strings of a violin are tuned in fifths.", "A violin has four strings.", SUPPORTS),
)
"""Evidence, claim, label. Small models are swayed by the order; this one was chosen by trying a few
on the claims of seed 1."""


def make_prompt(name: str, labels: Sequence[str]) -> Prompt:
    """Return a built-in prompt that asks for these labels alone.

    Raises
    ------
    InputError
        There is no prompt of this name.
    """
    if name not in _STYLES:
        raise InputError(f"Unknown prompt {name!r}. Choose among: {', '.join(PROMPT_NAMES)}.")
    style = _STYLES[name]
    word_of = dict(zip(LABELS, style.words, strict=True))
    return Prompt(
        name=name,
        template=_make_template(style, {label: word_of[label] for label in labels}),
        answers={word_of[label]: label for label in labels},
        is_constrained=style.is_constrained,
    )


def _make_template(style: _Style, word_of: Mapping[str, str]) -> list[Message]:
    ask = f"Claim: {{claim}}\n{style.question.format(_join(word_of.values()))}"
    if style.has_evidence:
        ask = f"Evidence: {{evidence}}\n{ask}"
    messages: list[Message] = []
    for evidence, claim, label in _EXAMPLES if style.has_examples else ():
        if label in word_of:
            example = ask.format(claim=claim, evidence=evidence)
            messages.append({"role": "user", "content": example})
            messages.append({"role": "assistant", "content": word_of[label]})
    return [*messages, {"role": "user", "content": ask}]


def _join(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last
