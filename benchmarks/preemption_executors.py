"""The two executors of ``preemption.py`` on a private Slurm, each as its user would set it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import common
from common import OURS
from preemption_runs import Part

from tests.slurm_lab import books
from tests.slurm_lab.books import Books
from tests.slurm_lab.lab import SlurmLab
from tests.slurm_lab.settings import GRACEFUL

Submit = Callable[[int, float | None], "Future[int]"]


@contextlib.contextmanager
def loaded(name: str, lab: SlurmLab, entered: Books, part: Part) -> Iterator[Submit]:
    """Load Parsl with this executor; yield what submits an item."""
    import parsl
    from parsl.config import Config

    is_ours = name == OURS
    executor = (ours if is_ours else stock)(lab, entered, part)
    with tempfile.TemporaryDirectory(prefix="parsl-bench-") as run_dir:
        config = Config(
            executors=[executor], run_dir=run_dir, usage_tracking=0, retries=0 if is_ours else 1
        )
        with parsl.load(config):
            yield (our_submit if is_ours else stock_submit)(entered, part)
        parsl.clear()


def stock(lab: SlurmLab, entered: Books, part: Part) -> Any:
    """Return HighThroughputExecutor with its defaults; each block has a node to itself."""
    from parsl.executors import HighThroughputExecutor
    from parsl.launchers import SingleNodeLauncher, SrunLauncher
    from parsl.providers import SlurmProvider

    provider = SlurmProvider(
        partition=part.partition,
        gres="gpu:1",
        worker_init=f"{lab.worker_init}\n{entered.worker_init}",
        init_blocks=part.num_blocks,
        max_blocks=part.num_blocks,
        walltime="01:00:00",
        # With it alone a manager hears of the grace.
        launcher=SrunLauncher() if part.partition == GRACEFUL else SingleNodeLauncher(),
    )
    return HighThroughputExecutor(
        label="bench",
        address="127.0.0.1",
        max_workers_per_node=part.num_slots,
        cores_per_worker=0.5,
        encrypted=True,
        provider=provider,
    )


def stock_submit(entered: Books, part: Part) -> Submit:
    """Return what submits an item that keeps its context in a global."""
    call = common.app(books.with_cached_global)
    return lambda item, seconds: call(item, entered.folder, seconds, part.load_s)


def ours(lab: SlurmLab, entered: Books, part: Part) -> Any:
    """Return PCMExecutor on whatever is idle."""
    from parsl_pcm import PCMExecutor
    from parsl_pcm.provider import OpportunisticProvider, slurm_flavour

    flavours = [
        slurm_flavour(
            partition=part.partition,
            gpu_type=gpu_type,
            worker_init=f"{lab.worker_init}\n{entered.worker_init}",
            walltime="01:00:00",
            requeue=part.is_requeued,
        )
        for gpu_type in lab.nodes
    ]
    return PCMExecutor(
        label="bench",
        address="127.0.0.1",
        provider=OpportunisticProvider(flavours, max_blocks=part.num_blocks),
        cores_per_worker=0.5,
        print_summary=False,
    )


def our_submit(entered: Books, part: Part) -> Submit:
    """Return what submits an item to the hosts that hold its context."""
    call = common.app(books.with_context)
    engine = books.gpu(entered.folder, part.load_s).options(max_concurrency=part.num_slots)
    return lambda item, seconds: call(item, entered.folder, seconds, engine)
