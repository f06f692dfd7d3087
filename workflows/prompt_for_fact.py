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
from typing import Any

import parsl
from fact_check import report
from fact_check.claims import InputError, labels_of
from fact_check.command_line import load_claims, parse_arguments
from fact_check.models import MODELS, find_model
from fact_check.prompts import make_prompt
from fact_check.results import ResultsFile
from fact_check.settings import note_settings
from fact_check.site import load_config
from fact_check.sweep import Batch, Sweep, count_inferences, make_batches, stop_on_interrupt
from parsl import Config, python_app

from parsl_pcm.engines import Completion

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


@python_app(executors=["pcm"])
def verify(
    claims: Sequence[dict[str, str]],
    template: Sequence[dict[str, str]],
    choices: Sequence[str] | None,
    llm: Any = MODELS["smollm2-135m"],
) -> tuple[list[Completion], float]:
    """Ask a model about claims, where it is live already; return its answers and the seconds."""
    import time

    started_s = time.perf_counter()
    chats = [[{**m, "content": m["content"].format(**claim)} for m in template] for claim in claims]
    answers = llm.generate(chats, max_tokens=16, choices=choices)
    return answers, time.perf_counter() - started_s


def run_sweep(config: Config, batches: Sequence[Batch], sweep: Sweep) -> bool:
    """Verify the batches, until all are done or Ctrl-C; tell whether all are done."""
    with stop_on_interrupt() as stop, parsl.load(config) as dfk:
        for batch in batches:
            claims = [{"claim": each.claim, "evidence": each.evidence} for each in batch.claims]
            model, prompt = batch.model, batch.prompt
            sweep.add(batch, verify(claims, prompt.template, prompt.choices, llm=model.recipe))
        return sweep.wait(dfk.executors["pcm"].contexts, stop)


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; return the exit code."""
    all_claims = load_claims(arguments)
    claims = all_claims[: arguments.limit]
    models = [find_model(name) for name in arguments.models]
    prompts = [make_prompt(name, labels_of(all_claims)) for name in arguments.prompts]
    plan = make_batches(models, prompts, claims, size=arguments.batch)
    report.print_plan(plan, claims)
    if arguments.dry_run:
        return 0
    config = load_config(arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with ResultsFile(arguments.out / "results.jsonl") as results:
        note_settings(arguments.out / "settings.json", arguments, models, prompts)
        todo = make_batches(models, prompts, claims, size=arguments.batch, done=results.results)
        num_total, num_todo = count_inferences(plan), count_inferences(todo)
        print(f"Done already: {num_total - num_todo:,}. To do: {num_todo:,}.")
        sweep = Sweep(results, num_total=num_total, num_found=num_total - num_todo)
        is_complete = not todo or run_sweep(config, todo, sweep)
        report.write_report(arguments.out, plan, results, sweep.progress)
    if not is_complete:
        command = shlex.join(["python", *sys.argv])
        print(f"Stopped. What was done is saved in {arguments.out}. To go on: {command}")
        return EXIT_INTERRUPTED
    return tell_failures(sweep.failures.total())


def tell_failures(num_failed: int) -> int:
    """Say how many batches failed, if any; return the exit code."""
    if num_failed == 0:
        return 0
    print(f"{num_failed:,} batches failed, see above. The same command tries them again.")
    return EXIT_FAILED


def main() -> int:
    """Run the workflow from the command line; return the exit code."""
    try:
        return run(parse_arguments())
    except InputError as error:
        print(f"prompt_for_fact: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
