"""GPUs taken back and nodes failing at random: benchmarks/preemption.py has a longer storm."""

from __future__ import annotations

import random
from pathlib import Path

from parsl_pcm.eventlog import replay
from tests.slurm.on_slurm import flavour_of, items, running_on
from tests.slurm_lab.books import Books
from tests.slurm_lab.lab import SlurmLab
from tests.slurm_lab.storm import Storm, num_deliveries

NUM_EVENTS = 12


def test_storm_loses_nothing_and_delivers_nothing_twice(
    lab: SlurmLab, books: Books, tmp_path: Path
):
    # Some blocks are started again by Slurm, some are replaced by us.
    flavours = [flavour_of(lab, books, name, requeue=name != "titanx") for name in lab.nodes]
    with running_on(flavours, tmp_path) as executor:
        damage = Storm(lab, books, items(books), random.Random(1)).rage(NUM_EVENTS)
    assert damage.num_preemptions > 0
    assert damage.num_node_failures > 0
    assert (damage.num_lost, damage.num_overlaps) == (0, 0)
    log = Path(executor.logdir) / "events.jsonl"
    delivered = num_deliveries(log)
    assert len(delivered) == damage.num_items
    assert set(delivered.values()) == {1}
    assert replay(log) is None
