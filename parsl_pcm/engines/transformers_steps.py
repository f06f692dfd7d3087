"""What is done at every step of ``generate`` in transformers, row by row: draw, constrain, end."""

from __future__ import annotations

from typing import Any


class Draw:
    """Makes taking the likeliest token the same as drawing one, by adding Gumbel noise.

    All rows get the noise of the seed, so that what is drawn for a prompt does not depend on the
    other prompts. Without a seed, each row has its own noise.
    """

    def __init__(self, temperature: float, seed: int | None) -> None:
        import torch

        self._temperature = temperature
        self._generator = torch.Generator()
        self._has_seed = seed is not None
        if seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(seed)

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Return the scores, of shape (rows, vocabulary), with noise."""
        import torch

        rows, vocabulary = scores.shape
        exponential = torch.empty(1 if self._has_seed else rows, vocabulary)
        exponential.exponential_(generator=self._generator)
        return scores / self._temperature - exponential.log_().to(scores.device)


class Choices:
    """Allows only the tokens that lead to one of the choices, and then the end."""

    def __init__(self, choices: tuple[str, ...], tokenizer: Any, width: int, eos_id: int) -> None:
        self._width = width
        self._eos_id = eos_id
        self._text_of = {
            tuple(tokenizer(choice, add_special_tokens=False)["input_ids"]): choice
            for choice in choices
        }
        self._allowed: dict[tuple[int, ...], set[int]] = {}
        for ids in self._text_of:
            for position, token in enumerate((*ids, eos_id)):
                self._allowed.setdefault(ids[:position], set()).add(token)

    def __call__(self, row: int, input_ids: Any) -> list[int]:
        """Return the tokens that may come next in a row; its prompt has `width` tokens."""
        answer = tuple(input_ids[self._width :].tolist())
        return sorted(self._allowed.get(answer, {self._eos_id}))  # a row that has ended: no matter

    def text_of(self, answer: list[int]) -> str | None:
        """Return the choice that these tokens spell, the end of text included."""
        return self._text_of.get(tuple(answer[:-1]))


class Ends:
    """Notes where each row ends: at an end-of-text token or at a stop string.

    Attributes
    ----------
    num_tokens
        Length of the answer of each row that has ended, in tokens.
    """

    def __init__(
        self, tokenizer: Any, width: int, eos_ids: list[int], stop: tuple[str, ...]
    ) -> None:
        self.num_tokens: dict[int, int] = {}
        self._tokenizer = tokenizer
        self._width = width
        self._eos_ids = eos_ids
        self._stop = stop

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        """Return which rows have ended, as a tensor of bool."""
        import torch

        answers = input_ids[:, self._width :].tolist()
        for row, answer in enumerate(answers):
            if row not in self.num_tokens and self._has_ended(answer):
                self.num_tokens[row] = len(answer)
        has_ended = [row in self.num_tokens for row in range(len(answers))]
        return torch.tensor(has_ended, device=input_ids.device)

    def text_of(self, answer: list[int]) -> str:
        """Return the text of an answer up to the first stop string."""
        text: str = self._tokenizer.decode(answer, skip_special_tokens=True)
        return text[: min((at for at in map(text.find, self._stop) if at >= 0), default=None)]

    def _has_ended(self, answer: list[int]) -> bool:
        if answer[-1] in self._eos_ids:
            return True
        if not self._stop:
            return False
        text = self._tokenizer.decode(answer, skip_special_tokens=True)
        return any(stop in text for stop in self._stop)
