"""What the maps of the sweep have stored: a file for each (model, prompt) pair, a line a claim.

``pcm_map`` writes and reads these files; they are read here for the leaderboard alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fact_check.claims import Claim, InputError
from fact_check.sweep import Pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one model answered to one prompt about one claim.

    Attributes
    ----------
    label
        The right one.
    answer
        The label that the model's text was read as; None: it did not parse.
    seconds
        Time in the engine, that of a piece divided by the number of claims in it.
    """

    model: str
    prompt: str
    label: str
    answer: str | None
    seconds: float


def read_results(pair: Pair, claims: Sequence[Claim]) -> list[Result]:
    """Return the results of a pair for those of these claims that are done.

    Raises
    ------
    InputError
        The file holds something else.
    """
    answers = dict(_answers(pair.path)) if pair.path.exists() else {}
    done = ((claim, answers[claim.key]) for claim in claims if claim.key in answers)
    return [_result(pair, claim, answer) for claim, answer in done]


def _answers(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield keys of claims and what the app returned; half a last line is nothing yet."""
    lines = path.read_bytes().split(b"\n")[:-1]
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            key = row["key"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}:{number}: no result of this workflow ({error!r}). Delete that line to "
                "have its claim verified again, or use another --out."
            ) from error
        if "result" in row:  # or it has an error, and is tried again
            yield key, row["result"]


def _result(pair: Pair, claim: Claim, answer: Mapping[str, Any]) -> Result:
    is_answered = answer["error"] is None
    return Result(
        model=pair.model.name,
        prompt=pair.prompt.name,
        label=claim.label,
        answer=pair.prompt.read_answer(answer["text"]) if is_answered else None,
        seconds=answer["seconds"],
    )
