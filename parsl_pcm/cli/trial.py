"""A test job through the real executor: what a task finds where it runs.

Imported by the job too, so nothing heavy is imported at the top.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, Any

from parsl_pcm.cli.checks import Level, Result, fail
from parsl_pcm.clock import monotonic_s
from parsl_pcm.context import context

if TYPE_CHECKING:
    from parsl.config import Config

GPU_QUESTION = (
    "nvidia-smi",
    "--query-gpu=name,memory.total,driver_version",
    "--format=csv,noheader",
)
ASSIGNMENTS = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
WALLTIMES = ("PARSL_PCM_WALLTIME_S", "SLURM_JOB_END_TIME")


def run_trial(config: Config, label: str, *, num_gpus: int, timeout_s: float) -> Result:
    """Run one task on an executor of a configuration, and tell what it saw.

    The jobs are cancelled before this returns, also when the task does not run in time.
    """
    import parsl

    recipe = one_gpu if num_gpus else no_gpu
    look = parsl.python_app(look_around, executors=[label])
    started_s = monotonic_s()
    try:
        with parsl.load(config):
            seen = look(recipe).result(timeout=timeout_s)
            elapsed_s = monotonic_s() - started_s
    except FutureTimeoutError:
        detail = f"the job has not run a task within {timeout_s:g} s"
        return fail("test job", detail, "look at what it waits for; --wait-s gives it more time")
    except Exception as error:  # noqa: BLE001 - the user sees it
        cure = f"the output of the job is below {config.run_dir}"
        return fail("test job", f"{type(error).__name__}: {error}", cure)
    finally:
        parsl.clear()
    detail = f"ran a task {elapsed_s:.1f} s after the start, waiting in the queue included"
    return Result(Level.OK, "test job", detail, table=(("WHAT", "SEEN THERE"), *seen.items()))


@context(gpus=1)
def one_gpu() -> str:
    """Hold one GPU, and nothing on it."""
    return "one GPU"


@context
def no_gpu() -> str:
    """Hold nothing, where blocks have no GPUs."""
    return "no GPU"


def look_around(held: Any) -> dict[str, str]:
    """Return what a task can see of its place."""
    assigned = [f"{name}={os.environ[name]}" for name in ASSIGNMENTS if name in os.environ]
    return {
        "node": os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        "holds": str(held),
        "assigned": ", ".join(assigned) or "nothing",
        "GPU": _gpus(),
        "Python": platform.python_version(),
        "walltime": "known" if any(map(os.environ.get, WALLTIMES)) else "not known",
    }


def _gpus() -> str:
    if not shutil.which(GPU_QUESTION[0]):
        return "no nvidia-smi there"
    done = subprocess.run(GPU_QUESTION, capture_output=True, text=True, check=False, timeout=60)
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return "; ".join(lines) or "nvidia-smi prints nothing"
