"""Prompt-for-Fact: find the model and the prompt that tell true claims from false ones.

Verifies every claim with every (model, prompt) pair on warm contexts, and prints a leaderboard:
the application of Phung and Thain, https://arxiv.org/abs/2509.13201. ::

    python workflows/prompt_for_fact.py --limit 60

Stop it as you like: the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import parsl
from fact_check import report
from fact_check.claims import Claim, InputError, labels_of
from fact_check.command_line import load_claims, parse_arguments
from fact_check.models import MODELS, find_model
from fact_check.prompts import make_prompt
from fact_check.results import read_results
from fact_check.settings import note_settings
from fact_check.site import load_config
from fact_check.sweep import Pair, Sweep, make_pairs, stop_on_interrupt
from parsl import Config, python_app

from parsl_pcm import MapRun, pcm_map
from parsl_pcm.errors import ResumeRefused, SinkError

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


@python_app(executors=["pcm"])
def verify(
    claims: Sequence[dict[str, str]],
    template: Sequence[dict[str, str]],
    choices: Sequence[str] | None,
    llm: Any = MODELS["smollm2-135m"],
) -> list[dict[str, Any]]:
    """Ask a model about claims, where it is live already; return a row for each of them."""
    import dataclasses
    import time

    started_s = time.perf_counter()
    chats = [[{**m, "content": m["content"].format(**claim)} for m in template] for claim in claims]
    answers = llm.generate(chats, max_tokens=16, choices=choices)
    seconds = (time.perf_counter() - started_s) / len(claims)
    return [dataclasses.asdict(answer) | {"seconds": seconds} for answer in answers]


def start_map(pair: Pair, claims: Sequence[Claim]) -> MapRun:
    """Verify all claims with one model and one prompt, but for those that are done already."""
    return pcm_map(
        verify,
        [{"id": claim.key, "claim": claim.claim, "evidence": claim.evidence} for claim in claims],
        key="id",
        sink=pair.path,
        resume=True,
        on_error="return",
        progress=False,
        template=pair.prompt.template,
        choices=pair.prompt.choices,
        llm=pair.model.recipe,
    )


def run_sweep(config: Config, pairs: Sequence[Pair], claims: Sequence[Claim]) -> Sweep:
    """Verify claims with all pairs at once, until all is done or Ctrl-C."""
    with stop_on_interrupt() as stop, parsl.load(config) as dfk:
        sweep = Sweep({pair: start_map(pair, claims) for pair in pairs})
        sweep.wait(dfk.executors["pcm"].contexts, stop)
    return sweep


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; return the exit code."""
    all_claims = load_claims(arguments)
    claims = all_claims[: arguments.limit]
    models = [find_model(name) for name in arguments.models]
    prompts = [make_prompt(name, labels_of(all_claims)) for name in arguments.prompts]
    pairs = make_pairs(models, prompts, arguments.out)
    report.print_plan(pairs, claims)
    if arguments.dry_run:
        return 0
    config = load_config(arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    note_settings(arguments.out / "settings.json", arguments, models, prompts)
    num_left = {pair: len(claims) - len(read_results(pair, claims)) for pair in pairs}
    report.print_rest(len(pairs) * len(claims), sum(num_left.values()))
    todo = [pair for pair in pairs if num_left[pair]]
    sweep = run_sweep(config, todo, claims) if todo else Sweep({})
    report.write_report(arguments.out, pairs, claims, sweep.progress)
    return exit_code(sweep, arguments.out)


def exit_code(sweep: Sweep, out: Path) -> int:
    """Say what is left to do and how, if anything is; return the exit code."""
    if sweep.is_stopped:
        command = shlex.join(["python", *sys.argv])
        print(f"Stopped. What was done is saved in {out}. To go on: {command}")
        return EXIT_INTERRUPTED
    if sweep.failures:
        print("Some claims failed, see above. The same command tries them again.")
        return EXIT_FAILED
    return 0


def main() -> int:
    """Run the workflow from the command line; return the exit code."""
    try:
        return run(parse_arguments())
    except (InputError, SinkError, ResumeRefused) as error:
        print(f"prompt_for_fact: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
