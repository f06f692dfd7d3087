"""Several contexts on the same devices: what the decisions about them are worth.

::

    python benchmarks/contexts.py                    everything, some minutes
    python benchmarks/contexts.py --only zipf        three contexts, 6:3:2, on devices that hold two
    python benchmarks/contexts.py --only alternate   two contexts, call by call
    python benchmarks/contexts.py --only sleep       the same, with contexts that can sleep
    python benchmarks/contexts.py --only budget      memory held, over a thousand random placements
    python benchmarks/contexts.py --only failures    bad nodes and a bad recipe
    python benchmarks/contexts.py --only mixed       GPUs of different speed, and CPUs
    python benchmarks/contexts.py --only real        real processes that hold real memory

In all but the last, scheduling is the real one and the pool below it is played in virtual time
(:mod:`parsl_pcm.simulator.engine.pool`), so those figures are exact, and the same on any machine.
``--quick`` takes a tenth of the calls, once; repetitions differ by what is random in them.
"""

from __future__ import annotations

import common
import contexts_budget
import contexts_real
import contexts_virtual
from map_values import Settings, Way, measured, print_table

PARTS: dict[str, tuple[Way, ...]] = {
    "zipf": (
        contexts_virtual.zipf_maps,
        contexts_virtual.zipf_calls,
        contexts_virtual.zipf_random,
    ),
    "alternate": (contexts_virtual.alternate_together, contexts_virtual.alternate_apart),
    "sleep": (contexts_virtual.sleep,),
    "budget": (contexts_budget.honest, contexts_budget.understated),
    "failures": (contexts_virtual.failures,),
    "mixed": (contexts_virtual.mixed,),
    "real": (
        contexts_real.together,
        contexts_real.apart,
        contexts_real.apart_cached,
        contexts_real.undeclared,
    ),
}


def main() -> None:
    args = common.parser("Several contexts on the same devices.", tuple(PARTS)).parse_args()
    print(f"{common.machine()}\n")
    settings = Settings(scale=0.1 if args.quick else 1.0)
    for part in args.only or PARTS:
        print_table(measured(part, PARTS[part], settings, 1 if args.quick else args.reps))


if __name__ == "__main__":
    common.let_workers_find_us()
    main()
