"""The command line of the workflow, and the claims that it asks for."""

from __future__ import annotations

import argparse
from pathlib import Path
from random import Random

from fact_check.claims import Claim, read_claims
from fact_check.models import MODELS
from fact_check.prompts import PROMPT_NAMES
from fact_check.reference_claims import reference_claims


def parse_arguments() -> argparse.Namespace:
    """Return the checked arguments; ends the process with a message if they are wrong."""
    parser = argparse.ArgumentParser(
        description="Verify claims with every (model, prompt) pair and print a leaderboard."
    )
    add = parser.add_argument
    add("--claims", type=Path, metavar="FILE.jsonl", help="id, claim, evidence, label in each line "
        "(default: claims made from reference data)")  # fmt: skip
    add("--limit", type=_positive, metavar="N", help="only so many of the claims")
    add("--models", nargs="+", action=_Distinct, default=list(MODELS), metavar="MODEL",
        help=f"{', '.join(MODELS)}, gguf:FILE, vllm:NAME_OR_DIR, transformers:NAME_OR_DIR "
        "(default: %(default)s)")  # fmt: skip
    add("--prompts", nargs="+", action=_Distinct, default=list(PROMPT_NAMES), metavar="PROMPT",
        help="among %(default)s (default: all)")  # fmt: skip
    add("--out", type=Path, default=Path("results/prompt_for_fact"), metavar="DIR",
        help="for results and picture (default: %(default)s)")  # fmt: skip
    add("--seed", type=int, default=0, help="of the claims that are made or drawn (default: 0)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--slots", type=_positive, default=2, metavar="N",
        help="CPU hosts on this machine, at most one a core (default: 2)")  # fmt: skip
    where.add_argument("--site", type=Path, metavar="FILE.py",
        help="run where the parsl Config of its fresh_config() says")  # fmt: skip
    add("--dry-run", action="store_true", help="only say how much there is to do")
    return parser.parse_args()


def load_claims(arguments: argparse.Namespace) -> list[Claim]:
    """Return all claims, in an order from which any first part is a fair sample.

    Raises
    ------
    InputError
        The file of claims, or the packages they are made from, cannot be used.
    """
    if arguments.claims is None:
        return reference_claims(arguments.seed)
    claims = read_claims(arguments.claims)
    Random(arguments.seed).shuffle(claims)
    return claims


class _Distinct(argparse.Action):
    """Keeps each value of a list once."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        assert isinstance(values, list)
        setattr(namespace, self.dest, list(dict.fromkeys(values)))


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 up")
    return number
