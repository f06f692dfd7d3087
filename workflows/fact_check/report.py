"""What a run tells at its start and its end."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from fact_check.claims import Claim, labels_of
from fact_check.leaderboard import Score, format_table, score_pairs
from fact_check.picture import Progress, draw
from fact_check.results import read_results
from fact_check.sweep import Pair


def print_plan(pairs: Sequence[Pair], claims: Sequence[Claim]) -> None:
    """Say how many claims and inferences there are."""
    count = Counter(claim.label for claim in claims)
    labels = ", ".join(f"{count[label]:,} {label}" for label in labels_of(claims))
    models = dict.fromkeys(pair.model.name for pair in pairs)
    prompts = dict.fromkeys(pair.prompt.name for pair in pairs)
    print(f"Claims:  {len(claims):,} ({labels})")
    print(f"Models:  {', '.join(models)}")
    print(f"Prompts: {', '.join(prompts)}")
    print(f"Sweep:   {len(claims) * len(pairs):,} inferences")


def print_rest(num_total: int, num_left: int) -> None:
    """Say how many of all inferences earlier runs have left to do."""
    print(f"Done already: {num_total - num_left:,}. To do: {num_left:,}.")


def write_report(
    out: Path, pairs: Sequence[Pair], claims: Sequence[Claim], progress: Progress
) -> None:
    """Print the leaderboard of the planned inferences that are done, and draw it."""
    scores = score_pairs(result for pair in pairs for result in read_results(pair, claims))
    if not scores:
        print("No claim is verified yet: no leaderboard.")
        return
    num_labels = len(pairs[0].prompt.answers)
    print(f"\n{format_table(scores)}\n")
    print(f"Guessing would be right in {1 / num_labels:.1%} ({num_labels} labels).")
    _print_notes(scores, progress)
    print(f"Results: {out}")
    _draw(out / "leaderboard.png", scores, progress, chance=1 / num_labels)


def _print_notes(scores: Sequence[Score], progress: Progress) -> None:
    seconds, num_done = progress[-1]
    if num_done:
        rate = f"{num_done / seconds:.1f} claims/s"
        print(f"This run verified {num_done:,} claims in {seconds:.0f} s: {rate} on all contexts.")
    if any(score.model == "smollm2-135m" for score in scores):
        print(
            "smollm2-135m makes real tokens at real cost, but with 135 million parameters "
            "it is no fact checker."
        )


def _draw(path: Path, scores: Sequence[Score], progress: Progress, chance: float) -> None:
    try:
        draw(path, scores, progress, chance)
    except ModuleNotFoundError as error:
        print(
            f"No picture: {error.name} is not installed. Run: pip install matplotlib",
            file=sys.stderr,
        )
    else:
        print(f"Picture: {path}")
