"""An executor on the lab, and items whose runs are entered in the books."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import parsl
import psutil
from parsl import python_app

from parsl_pcm import PCMExecutor
from parsl_pcm.provider import Flavour, OpportunisticProvider, slurm_flavour
from tests.running import config_of, is_alive, wait_for
from tests.slurm_lab import books as worker
from tests.slurm_lab.books import Books, Entry
from tests.slurm_lab.lab import SlurmLab
from tests.slurm_lab.settings import PREEMPTIBLE

Submit = Callable[..., "Future[int]"]


def flavour_of(lab: SlurmLab, books: Books, gpu_type: str, **changes: Any) -> Flavour:
    """Return a flavour for one node of the lab."""
    settings: dict[str, Any] = {
        "partition": PREEMPTIBLE,
        "gpu_type": gpu_type,
        "walltime": "00:30:00",
        "worker_init": "",
    }
    settings |= changes
    settings["worker_init"] = "\n".join(
        [lab.worker_init, books.worker_init, settings["worker_init"]]
    )
    return slurm_flavour(**settings)


def executor_on(flavours: list[Flavour], **provider_settings: Any) -> PCMExecutor:
    """Return an executor that looks at the lab every second."""
    settings = {"look_every_s": 1.0} | provider_settings
    return PCMExecutor(
        label="pcm",
        address="127.0.0.1",
        cores_per_worker=0.25,
        provider=OpportunisticProvider(flavours, **settings),
        print_summary=False,
    )


@contextlib.contextmanager
def running_on(
    flavours: list[Flavour],
    run_dir: Path,
    *,
    parsl_settings: dict[str, Any] | None = None,
    **provider_settings: Any,
) -> Iterator[PCMExecutor]:
    """Load Parsl, without retries and without a strategy of its own, and give the executor."""
    executor = executor_on(flavours, **provider_settings)
    config = config_of(run_dir, executor, **({"retries": 0} | (parsl_settings or {})))
    try:
        with parsl.load(config):
            yield executor
    finally:
        parsl.clear()


def items(books: Books, *, load_s: float = 0.0, **options: Any) -> Submit:
    """Return what submits an item: its number, and its seconds or None to wait for its gate."""
    engine = worker.gpu(books.folder, load_s).options(**options)
    app = python_app(worker.with_context)
    return lambda item, seconds=None: app(item, books.folder, seconds, engine)


def results(futures: list[Future[int]], *, timeout_s: float = 180.0) -> list[int]:
    """Return all results; no Parsl retry may have been used."""
    values = [future.result(timeout=timeout_s) for future in futures]
    counts = [future.task_record["fail_count"] for future in futures]  # type: ignore[attr-defined]
    assert counts == [0] * len(futures)
    return values


def wait_until_dead(entry: Entry) -> None:
    """Wait for the end of the process that made an entry."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(entry.pid)
        wait_for(lambda: not is_alive(process), f"process {entry.pid} ends")


def job_ids(lab: SlurmLab) -> set[str]:
    """Return our jobs that have not ended."""
    return {job.job_id for job in lab.queue() if job.state != "COMPLETING"}


def broken_commands(folder: Path) -> str:
    """Return a folder with commands of Slurm that fail."""
    programs = folder / "broken"
    programs.mkdir()
    for name in ("squeue", "sinfo", "sacct", "sbatch", "scontrol"):
        path = programs / name
        path.write_text("#!/bin/sh\necho 'Unable to contact slurm controller' >&2\nexit 1\n")
        path.chmod(0o755)
    return str(programs)
