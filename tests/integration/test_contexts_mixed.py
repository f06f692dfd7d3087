"""A pool of nodes of two kinds, on which a context is built in two ways."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

from parsl import python_app
from parsl.providers import LocalProvider

from parsl_pcm import context, live_variant
from parsl_pcm.mapping.api import pcm_map
from tests.running import PATIENCE_S, running, wait_for

# The scheduler of the site has given a GPU to the first block that starts, and none to the others.
ONE_GPU_IN_ALL = """
if mkdir {folder}/taken 2>/dev/null
then export SLURM_JOB_GPUS=0 CUDA_VISIBLE_DEVICES=0
else export CUDA_VISIBLE_DEVICES=
fi
"""


@context(gpus=1)
def on_gpu():
    import os

    return f"GPU {os.environ['CUDA_VISIBLE_DEVICES']}"


@context
def on_cpu():
    return "CPU"


model = on_gpu.variant(on_cpu)


@python_app
def meet(folder, number, model=model):
    """Return only when two calls run at the same time."""
    Path(folder, f"call-{number}").touch()
    deadline = time.monotonic() + PATIENCE_S
    while len(list(Path(folder).glob("call-*"))) < 2:
        assert time.monotonic() < deadline, "the other call does not come"
        time.sleep(0.02)
    return model, live_variant()


@python_app
def use(items, model=model):
    return [model] * len(items)


def test_every_node_builds_its_own_variant_and_results_tell_which(tmp_path: Path):
    two_nodes = LocalProvider(
        init_blocks=2,
        min_blocks=2,
        max_blocks=2,
        worker_init=ONE_GPU_IN_ALL.format(folder=tmp_path),
    )
    with running(tmp_path / "run", provider=two_nodes, max_workers_per_node=1) as executor:
        calls = [meet(str(tmp_path), number) for number in range(2)]
        made = {call.result(PATIENCE_S) for call in calls}
        assert made == {("GPU 0", "on_gpu"), ("CPU", "on_cpu")}

        (row,) = wait_for(executor.contexts, "a context is known")
        assert row.variants == {"on_gpu": 1, "on_cpu": 1}

        sink = tmp_path / "out.jsonl"
        run = pcm_map(use, range(100), sink=sink)
        assert run.result(PATIENCE_S).num_done == 100
        rows = [json.loads(line) for line in sink.read_text().splitlines()]
        assert {(row["result"], row["variant"]) for row in rows} <= made
        assert Counter(row["variant"] for row in rows) == run.variants()
