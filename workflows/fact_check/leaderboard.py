"""From results to scores: accuracy with its interval, speed, answers that did not parse."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fact_check.results import Result

_Z_95 = 1.959963984540054
"""Quantile of the normal distribution that leaves 2.5 % above it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How one (model, prompt) pair did.

    Attributes
    ----------
    low, high
        95 % interval of the accuracy.
    claims_per_s
        While one context was answering; two contexts do twice as many.
    """

    model: str
    prompt: str
    num_claims: int
    num_right: int
    num_unparsed: int
    accuracy: float
    low: float
    high: float
    claims_per_s: float


def wilson_interval(num_right: int, num_claims: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927): sound for few claims and near 0 and 1."""
    if num_claims == 0:
        return 0.0, 1.0
    share, z2 = num_right / num_claims, _Z_95**2
    centre = share + z2 / (2 * num_claims)
    margin = _Z_95 * math.sqrt(share * (1 - share) / num_claims + z2 / (4 * num_claims**2))
    scale = 1 + z2 / num_claims
    return max(0.0, (centre - margin) / scale), min(1.0, (centre + margin) / scale)


def score_pairs(results: Iterable[Result]) -> list[Score]:
    """Return the scores of the (model, prompt) pairs among the results, best first."""
    pairs: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        pairs.setdefault((result.model, result.prompt), []).append(result)
    scores = [_score(model, prompt, group) for (model, prompt), group in pairs.items()]
    return sorted(scores, key=lambda score: (-score.accuracy, score.model, score.prompt))


def format_table(scores: Sequence[Score]) -> str:
    """Return the leaderboard as text, its columns aligned."""
    header = ("", "model", "prompt", "accuracy", "95 % interval", "claims/s", "unparsed", "claims")
    rows = [header, *(_row(place, score) for place, score in enumerate(scores, start=1))]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(_align(row, widths) for row in rows)


def _score(model: str, prompt: str, results: Sequence[Result]) -> Score:
    num_right = sum(result.answer == result.label for result in results)
    seconds = sum(result.seconds for result in results)
    low, high = wilson_interval(num_right, len(results))
    return Score(
        model=model,
        prompt=prompt,
        num_claims=len(results),
        num_right=num_right,
        num_unparsed=sum(result.answer is None for result in results),
        accuracy=num_right / len(results),
        low=low,
        high=high,
        claims_per_s=len(results) / seconds if seconds else 0.0,
    )


def _row(place: int, score: Score) -> tuple[str, ...]:
    return (
        str(place),
        score.model,
        score.prompt,
        f"{score.accuracy:.1%}",
        f"{score.low:.1%} - {score.high:.1%}",
        f"{score.claims_per_s:.1f}",
        str(score.num_unparsed),
        str(score.num_claims),
    )


def _align(row: Sequence[str], widths: Sequence[int]) -> str:
    texts = [cell.ljust(width) for cell, width in zip(row[:3], widths[:3], strict=True)]
    numbers = [cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True)]
    return "  ".join(texts + numbers).rstrip()
