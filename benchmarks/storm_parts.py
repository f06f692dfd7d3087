"""The contexts that users need in a storm, and the nodes that there are."""

from __future__ import annotations

from random import Random

from parsl_pcm.simulator.engine.parts import GB, Model, PieceTime, Way, gamma_each, gpus
from parsl_pcm.types import NodeResources, Requirements


def models(random: Random) -> list[Model]:
    """Return contexts of all kinds; two of them can be built nowhere."""

    def items(item_s: float, cv: float = 1.0) -> PieceTime:
        return gamma_each(item_s, cv, 0.01, random)

    cpu = Way(requirements=Requirements(cores=1.0), piece_time=items(0.5), setup_s=3.0)
    crowd = Way(
        requirements=Requirements(cores=2.0, max_concurrency=4, host_memory_bytes=GB),
        piece_time=items(2.0),
        setup_s=1.0,
        setup_cv=0.5,
    )
    whole = Way(
        requirements=Requirements(cores=1.0, gpus=1),
        piece_time=items(1.0, 2.0),
        setup_s=20.0,
        setup_cv=0.3,
        files_bytes=4 * GB,
        unpack_s=5.0,
    )
    small = Way(
        requirements=Requirements(cores=0.5, gpus=1, gpu_memory_bytes=6 * GB),
        piece_time=items(0.2),
        setup_s=8.0,
        files_bytes=GB,
    )
    sleeper = Way(
        requirements=Requirements(
            cores=0.5, gpus=1, gpu_memory_bytes=15 * GB, host_memory_bytes=GB, can_sleep=True
        ),
        piece_time=items(0.5),
        setup_s=30.0,
        sleep_s=1.0,
        wake_s=2.0,
        asleep_gpu_bytes=GB // 2,
        asleep_host_bytes=GB,
    )
    gang = Way(
        requirements=Requirements(cores=1.0, gpus=2, gpu_memory_bytes=16 * GB),
        piece_time=items(3.0),
        setup_s=10.0,
    )
    hopper = Way(
        requirements=Requirements(
            cores=1.0, gpus=1, gpu_memory_bytes=40 * GB, min_compute_capability=9.0
        ),
        piece_time=items(0.3),
        setup_s=15.0,
    )
    nowhere = Way(requirements=Requirements(cores=1.0, gpus=64), piece_time=items(1.0))
    return [
        Model("cpu", (cpu,)),
        Model("crowd", (crowd,)),
        Model("whole", (whole,)),
        Model("small", (small,)),
        Model("sleeper", (sleeper,)),
        Model("gang", (gang,)),
        Model("either", (hopper, small, cpu)),
        Model("broken", (cpu,), is_bad=True),
        Model("nowhere", (nowhere,)),
    ]


def cpus(cores: float) -> NodeResources:
    """Return a node without devices."""
    return NodeResources(cores=cores, memory_bytes=16 * GB)


WANTED = {"cpu": 8, "crowd": 8, "whole": 8, "small": 8, "sleeper": 8, "gang": 8, "either": 8}
WANTED |= {"broken": 1, "nowhere": 1}
"""How often users need a context, beside others."""
KINDS = (
    cpus(4.0),
    gpus(16 * GB, cores=4.0),
    gpus(24 * GB, 24 * GB, cores=8.0),
    gpus(80 * GB, capability=9.0, cores=8.0),
)
"""Of nodes; one of each stays, and together they can hold all that can be held."""
