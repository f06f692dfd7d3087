"""Parsl's own strategy sees work, not futures: what it makes of calls and maps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from parsl import python_app

from parsl_pcm import PCMExecutor, pcm_map
from parsl_pcm.provider import OpportunisticProvider, local_flavour
from tests.running import one_block, running, wait_for

STRATEGY = {"strategy": "htex_auto_scale", "max_idletime": 2.0}


@python_app
def tiny(item):
    return item


@python_app
def slow(items):
    import time

    time.sleep(0.2 * len(items))
    return items


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
    with scaling(tmp_path, init_blocks=1, max_blocks=3) as executor:
        run = pcm_map(slow, range(200), progress=False)
        wait_for(lambda: num_blocks(executor) == 3, "one future has got all three blocks")
        wait_for(lambda: len(executor.connected_managers()) == 3, "they are at work")
        assert run.result(timeout=60) == list(range(200))
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
        assert most <= 5, "2,000 calls that one host does in a second or two"
        assert len(executor.status_facade) <= 5


def test_a_map_whose_items_come_late_gets_a_block_all_the_same(tmp_path: Path) -> None:
    def late() -> Iterator[int]:
        time.sleep(2.0)  # by then, nobody looks for blocks any more
        yield from range(10)

    provider = OpportunisticProvider([local_flavour()])
    with running(tmp_path, provider=provider, address="127.0.0.1") as executor:
        run = pcm_map(slow, late(), progress=False)
        assert executor.connected_managers() == []
        assert run.result(timeout=60) == list(range(10))
