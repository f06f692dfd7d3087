"""The ways to have an engine judge claims that ``engine.py`` compares; each in its own process."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias

import engine_work
from engine_work import Answer, Judge

Claims: TypeAlias = Sequence[Mapping[str, str]]
NUM_NAIVE_TASKS = 12
"""Loading the model takes most of their time, and does not get faster with more of them."""


@dataclass(frozen=True)
class Settings:
    """What one repetition of one system measures."""

    judge: Judge
    claims: Claims
    sizes: Sequence[int]


@dataclass(frozen=True)
class Measured:
    """One run over the claims, with so many of them in each call.

    Attributes
    ----------
    busy_share
        Of the time, in which the engine had something to do.
    """

    row: str
    size: int
    claims_per_s: float
    busy_share: float
    prompt_tokens: float
    completion_tokens: float


def direct(settings: Settings) -> Iterator[Measured]:
    """Call the engine in this process: what it can do."""
    os.environ.update(settings.judge.recipe().env)
    with engine_work.opened(settings.judge) as engine:
        settings.judge.ask(engine, settings.claims[:1])
        for size in settings.sizes:
            yield measure(
                "engine directly",
                size,
                lambda parts: [settings.judge.ask(engine, part) for part in parts],
                settings.claims,
            )


def map_(settings: Settings) -> Iterator[Measured]:
    """Give each part of the claims to a map of its own: no size is chosen within."""
    from parsl import python_app

    from parsl_pcm import PCMExecutor, pcm_map

    with loaded(PCMExecutor, settings.judge):
        app: Any = python_app(engine_work.judge_declared, executors=["bench"])
        needs: dict[str, Any] = {"judge": settings.judge, "engine": settings.judge.recipe()}

        def run(parts: list[Claims]) -> list[list[Answer]]:
            maps = [pcm_map(app, part, progress=False, **needs) for part in parts]
            return [each.result() for each in maps]

        run([settings.claims[:1]])
        for size in settings.sizes:
            yield measure("PCMExecutor, pcm_map", size, run, settings.claims)


def calls(settings: Settings) -> Iterator[Measured]:
    """Give each part of the claims to an ordinary call, all submitted at once."""
    from parsl_pcm import PCMExecutor

    needs = {"judge": settings.judge, "engine": settings.judge.recipe()}
    yield from _apps(settings, PCMExecutor, "PCMExecutor, calls", engine_work.judge_declared, needs)


def htex(settings: Settings) -> Iterator[Measured]:
    """Do the same with stock Parsl, where the worker keeps its engine in a cached global."""
    from parsl.executors import HighThroughputExecutor

    yield from _apps(
        settings,
        HighThroughputExecutor,
        "HTEX, cached global",
        engine_work.judge_cached,
        {"judge": settings.judge},
    )


def naive(settings: Settings) -> Iterator[Measured]:
    """Load the model in each task, as scripts without contexts do."""
    from parsl.executors import HighThroughputExecutor

    for size in settings.sizes:
        claims = settings.claims[: NUM_NAIVE_TASKS * size]
        few = Settings(settings.judge, claims, [size])
        yield from _apps(
            few,
            HighThroughputExecutor,
            "HTEX, model loaded in each task",
            engine_work.judge_naively,
            {"judge": settings.judge},
        )


def ray(settings: Settings) -> Iterator[Measured]:
    """Use Ray Data with a class; timed from its first batch on, with its actor up."""
    import ray
    import ray.data

    ray.init(num_cpus=settings.judge.cores + 1, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    for size in settings.sizes:
        data = ray.data.from_items([dict(claim) for claim in settings.claims])
        rows = data.map_batches(
            engine_work.RayJudge,
            fn_constructor_args=(settings.judge,),
            batch_size=size,
            compute=ray.data.ActorPoolStrategy(size=1),
            num_cpus=settings.judge.cores,
            num_gpus=int(settings.judge.is_on_gpu),
            runtime_env={"env_vars": dict(settings.judge.recipe().env)},
        ).take_all()
        answers = [Answer(**row) for row in rows]
        seconds = max(a.ended_s for a in answers) - min(a.begun_s for a in answers)
        yield _measured("Ray Data, class", size, answers, seconds)
    ray.shutdown()


SYSTEMS: dict[str, Callable[[Settings], Iterator[Measured]]] = {
    "direct": direct,
    "map": map_,
    "calls": calls,
    "htex": htex,
    "ray": ray,
    "naive": naive,
}


@contextlib.contextmanager
def loaded(executor_class: Any, judge: Judge) -> Iterator[None]:
    """Load Parsl with one worker that has as many cores as the engine uses."""
    import parsl
    from parsl.config import Config
    from parsl.providers import LocalProvider

    executor = executor_class(
        label="bench",
        address="127.0.0.1",
        max_workers_per_node=1,
        cores_per_worker=judge.cores,
        available_accelerators=int(judge.is_on_gpu),
        provider=LocalProvider(
            init_blocks=1, min_blocks=1, max_blocks=1, worker_init=_exports(judge.recipe().env)
        ),
    )
    with tempfile.TemporaryDirectory(prefix="parsl-bench-") as run_dir:
        config = Config(executors=[executor], run_dir=run_dir, strategy="none", usage_tracking=0)
        with parsl.load(config):
            yield
        parsl.clear()


def _exports(env: Mapping[str, str]) -> str:
    """Return shell lines: stock workers get the engine's environment with their block."""
    return "\n".join(f"export {name}='{value}'" for name, value in env.items())


def _apps(
    settings: Settings,
    executor_class: Any,
    row: str,
    function: Callable[..., list[Answer]],
    needs: Mapping[str, Any],
) -> Iterator[Measured]:
    from parsl import python_app

    with loaded(executor_class, settings.judge):
        app = python_app(function, executors=["bench"])

        def run(parts: list[Claims]) -> list[list[Answer]]:
            futures = [app(part, **needs) for part in parts]
            return [future.result() for future in futures]

        run([settings.claims[:1]])
        for size in settings.sizes:
            yield measure(row, size, run, settings.claims)


def measure(
    row: str,
    size: int,
    run: Callable[[list[Claims]], list[list[Answer]]],
    claims: Claims,
) -> Measured:
    """Time a run over parts of this size."""
    parts = [claims[start : start + size] for start in range(0, len(claims), size)]
    start_s = time.perf_counter()
    answers = list(chain.from_iterable(run(parts)))
    seconds = time.perf_counter() - start_s
    if len(answers) != len(claims):
        raise RuntimeError(f"{row}: {len(answers)} answers to {len(claims)} claims")
    return _measured(row, size, answers, seconds)


def _measured(row: str, size: int, answers: list[Answer], seconds: float) -> Measured:
    return Measured(
        row=row,
        size=size,
        claims_per_s=len(answers) / seconds,
        busy_share=_covered_s(answers) / seconds,
        prompt_tokens=sum(a.prompt_tokens for a in answers) / len(answers),
        completion_tokens=sum(a.completion_tokens for a in answers) / len(answers),
    )


def _covered_s(answers: list[Answer]) -> float:
    """Return the time in which at least one claim was at the engine."""
    covered_s, until_s = 0.0, 0.0
    for begun_s, ended_s in sorted({(a.begun_s, a.ended_s) for a in answers}):
        covered_s += max(0.0, ended_s - max(begun_s, until_s))
        until_s = max(until_s, ended_s)
    return covered_s
