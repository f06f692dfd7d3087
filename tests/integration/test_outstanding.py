"""Parsl's own strategy sees work, not futures: what it makes of calls and maps."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from parsl import python_app

from parsl_pcm import PCMExecutor, context, pcm_map
from parsl_pcm.provider import OpportunisticProvider, local_flavour
from tests.running import one_block, running, wait_for

STRATEGY = {"strategy": "htex_auto_scale", "max_idletime": 2.0}


@context
def second():
    """Takes so long to build that only as much work is worth another host."""
    import time

    time.sleep(1.0)
    return 1.0


@python_app
def tiny(item, second=second):
    return item


@python_app
def slow(items, gate=None):
    """Take 0.2 s for each item until the gate is open."""
    import pathlib
    import time

    for item in items:
        if gate is None or not pathlib.Path(gate).exists():
            time.sleep(0.2)
        yield item


def scaling(run_dir: Path, **blocks: int) -> Any:
    return running(
        run_dir,
        provider=one_block(min_blocks=0, **blocks),
        max_workers_per_node=1,
        parsl_settings=STRATEGY,
    )


def num_blocks(executor: PCMExecutor) -> int:
    return sum(not status.terminal for status in executor.status_facade.values())


def test_one_map_of_many_items_grows_onto_all_blocks_and_gives_them_back(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with scaling(tmp_path, init_blocks=1, max_blocks=3) as executor:
        run = pcm_map(slow, range(2000), gate=str(gate), progress=False)
        wait_for(lambda: num_blocks(executor) == 3, "one future has got all three blocks")
        wait_for(lambda: len(executor.connected_managers()) == 3, "they are at work")
        gate.touch()
        assert run.result(timeout=60) == list(range(2000))
        assert run.future.result(timeout=60).num_done == 2000, "it is over for Parsl too"
        assert executor.outstanding() == 0
        wait_for(lambda: num_blocks(executor) == 0, "idle blocks are given back")


def test_many_tiny_calls_do_not_ask_for_many_blocks(tmp_path: Path) -> None:
    with scaling(tmp_path, init_blocks=1, max_blocks=100) as executor:
        assert tiny(0).result(timeout=60) == 0
        calls = [tiny(item) for item in range(2000)]
        most = 0
        while not all(call.done() for call in calls):
            most = max(most, executor.outstanding())
            time.sleep(0.02)
        assert [call.result() for call in calls] == list(range(2000))
        assert most <= 20, "2,000 calls that one host does in a second or two"
        assert len(executor.status_facade) <= 20


def test_a_map_whose_items_come_late_gets_a_block_all_the_same(tmp_path: Path) -> None:
    may_begin = threading.Event()

    def late() -> Iterator[int]:
        may_begin.wait()
        time.sleep(2.0)  # by then, nobody looks for blocks any more
        yield from range(10)

    provider = OpportunisticProvider([local_flavour()])
    with running(tmp_path, provider=provider, address="127.0.0.1") as executor:
        run = pcm_map(slow, late(), progress=False)
        assert executor.connected_managers() == []
        may_begin.set()
        assert run.result(timeout=60) == list(range(10))
