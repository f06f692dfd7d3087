"""What ``engine.py`` has a model do: an importable module, the same for every system."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from parsl_pcm import ContextRecipe
from parsl_pcm.engines import Engine, Prompt, llama_cpp, transformers, vllm

MAX_TOKENS = 8


@dataclass(frozen=True)
class Answer:
    """What became of one claim, and between which times (``time.time()``) it was at the engine."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    begun_s: float
    ended_s: float


@dataclass(frozen=True)
class Judge:
    """Which engine, and what it is asked."""

    engine: str
    model: str | None
    cores: int
    template: tuple[Mapping[str, str], ...]
    choices: tuple[str, ...] | None
    has_random_weights: bool = False
    is_on_gpu: bool = False

    def __hash__(self) -> int:
        """Return a hash for the cache of engines; a template is made of dicts, which have none."""
        return hash((self.engine, self.model, self.cores))

    def recipe(self) -> ContextRecipe:
        """Return the context in which the engine lives."""
        if self.engine == "llama_cpp":
            return llama_cpp(self.model, threads=self.cores).options(cores=self.cores)
        env = {**vllm.env, "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
        if not self.is_on_gpu:
            env["OMP_NUM_THREADS"] = str(self.cores)
        recipe = self._vllm() if self.engine == "vllm" else transformers(self._name())
        return recipe.options(gpus=int(self.is_on_gpu), cores=self.cores, env=env)

    def _vllm(self) -> ContextRecipe:
        # Claims come more than once in this benchmark, and are to cost the same each time.
        settings: dict[str, object] = {"enable_prefix_caching": False}
        if self.has_random_weights:
            settings["load_format"] = "dummy"
        return vllm(self._name(), context_window=1024, **settings)

    def _name(self) -> str:
        if self.model is None:
            raise SystemExit(f"--engine {self.engine} needs --model")
        return self.model

    def ask(self, engine: Engine, claims: Sequence[Mapping[str, str]]) -> list[Answer]:
        """Return what the engine says about each claim."""
        begun_s = time.time()
        rows = engine.generate(
            [self._prompt(claim) for claim in claims],
            max_tokens=MAX_TOKENS,
            choices=self.choices,
        )
        ended_s = time.time()
        if errors := [row.error for row in rows if row.error]:
            raise RuntimeError(f"{len(errors)} claims without an answer, the first: {errors[0]}")
        return [
            Answer(row.text, row.prompt_tokens, row.completion_tokens, begun_s, ended_s)
            for row in rows
        ]

    def _prompt(self, claim: Mapping[str, str]) -> Prompt:
        return [
            {**message, "content": message["content"].format_map(claim)}
            for message in self.template
        ]


def judge_declared(
    claims: Sequence[Mapping[str, str]], judge: Judge, engine: Engine
) -> list[Answer]:
    """App of PCMExecutor: the engine arrives as an argument."""
    return judge.ask(engine, claims)


def judge_cached(claims: Sequence[Mapping[str, str]], judge: Judge) -> list[Answer]:
    """App of HighThroughputExecutor that keeps the engine in its worker as a global."""
    return judge.ask(cached_engine(judge), claims)


def judge_naively(claims: Sequence[Mapping[str, str]], judge: Judge) -> list[Answer]:
    """App of HighThroughputExecutor that loads the model in each task."""
    with opened(judge) as engine:
        return judge.ask(engine, claims)


@contextmanager
def opened(judge: Judge) -> Iterator[Engine]:
    """Open the engine in this process."""
    with judge.recipe().open() as engine:
        yield engine


@functools.lru_cache(maxsize=1)
def cached_engine(judge: Judge) -> Engine:
    """Return the engine of this process, opened the first time and kept as long as it lives."""
    return _kept.enter_context(opened(judge))


_kept = ExitStack()


class RayJudge:
    """The class of Ray Data: it has one engine as long as it lives."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._engine = cached_engine(judge)

    def __call__(self, batch: Mapping[str, Sequence[str]]) -> dict[str, list[object]]:
        """Answer the rows of a batch, which Ray gives as columns."""
        claims = [
            {"claim": str(claim), "evidence": str(evidence)}
            for claim, evidence in zip(batch["claim"], batch["evidence"], strict=True)
        ]
        answers = self._judge.ask(self._engine, claims)
        return {name: [getattr(a, name) for a in answers] for name in Answer.__annotations__}
