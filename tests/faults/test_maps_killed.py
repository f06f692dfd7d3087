"""Maps whose hosts, nodes and scripts are killed: what is computed twice, and what is delivered."""

from __future__ import annotations

import json
import os
import random
import signal
from collections import Counter
from pathlib import Path

import psutil
import pytest
from parsl import python_app

from parsl_pcm import context, pcm_map
from parsl_pcm.core import actions, events
from parsl_pcm.errors import TaskKillsHost
from parsl_pcm.eventlog import read_log, replay
from parsl_pcm.mapping.report import ItemError
from tests.running import (
    HOST,
    MANAGER,
    Script,
    descendants,
    one_block,
    running,
    wait_for,
    wait_until_gone,
)


@context
def doubled():
    yield lambda x: 2 * x


@python_app
def listed(items, folder, doubled=doubled):
    import os
    import time

    results = []
    for item in items:
        time.sleep(0.002)
        results.append(doubled(item))
        with open(os.path.join(folder, str(os.getpid())), "a") as file:
            file.write(f"{item}\n")
    return results


@python_app
def yielded(items, folder, doubled=doubled):
    import os
    import time

    for item in items:
        time.sleep(0.002)
        with open(os.path.join(folder, str(os.getpid())), "a") as file:
            file.write(f"{item}\n")
        yield doubled(item)


@python_app
def poisoned(items, doubled=doubled):
    import os
    import signal

    if 321 in items:
        os.kill(os.getpid(), signal.SIGKILL)
    return [doubled(item) for item in items]


def executions(folder: Path) -> Counter[int]:
    return Counter(int(line) for path in folder.iterdir() for line in path.read_text().split())


def hosts_at_work(folder: Path) -> list[psutil.Process]:
    """Return the hosts that have done something: the others may still be building the context."""
    return [process for process in descendants(HOST) if (folder / str(process.pid)).exists()]


class Traffic:
    """What a log tells of the items that were sent to hosts.

    Attributes
    ----------
    largest_piece
        Items in one piece, at most.
    num_raced
        Items that were sent to a host while the one that had them before was alive.
    num_in_vain
        Items that were sent though they had been delivered.
    """

    def __init__(self, log: Path) -> None:
        self.largest_piece = self.num_raced = self.num_in_vain = 0
        self._host_of: dict[tuple[int, int], int] = {}
        self._gone: set[int] = set()
        self._delivered: set[tuple[int, int]] = set()
        for record in read_log(log).records:
            if isinstance(record.event, events.HostExited):
                self._gone.add(record.event.host_id)
            for action in record.actions:
                self._take(action)

    def _take(self, action: actions.Action) -> None:
        if isinstance(action, actions.DeliverRange):
            self._delivered |= _items(action)
        elif isinstance(action, actions.SendPiece):
            items = _items(action)
            self.largest_piece = max(self.largest_piece, len(items))
            self.num_in_vain += len(items & self._delivered)
            held = items & self._host_of.keys()
            self.num_raced += sum(self._host_of[item] not in self._gone for item in held)
            self._host_of |= dict.fromkeys(items, action.host_id)


def _items(action: actions.DeliverRange | actions.SendPiece) -> set[tuple[int, int]]:
    return {(action.task_id, item) for item in range(action.start, action.stop)}


@pytest.mark.parametrize("app", [listed, yielded], ids=["list", "yield"])
def test_killed_hosts_cost_what_was_in_flight_and_nothing_is_delivered_twice(
    app, tmp_path: Path
) -> None:
    num_items, num_kills = 4000, 10
    chance = random.Random(7)
    folder = tmp_path / "executions"
    folder.mkdir()
    settings = {"max_attempts": num_kills + 1, "parsl_settings": {"retries": 0}}
    with running(tmp_path / "run", **settings) as executor:
        run = pcm_map(app, range(num_items), folder=str(folder), progress=False)
        for kill in range(num_kills):
            goal = num_items * kill // (2 * num_kills)
            wait_for(lambda n=goal: run.progress().num_done >= n, f"{goal} items are done")
            alive = wait_for(lambda: hosts_at_work(folder), "there is a host to kill")
            victim = chance.choice(sorted(alive, key=lambda process: process.pid))
            victim.kill()
            wait_until_gone([victim])
        assert run.result(timeout=120) == [2 * item for item in range(num_items)]
        log = Path(executor.logdir) / "events.jsonl"
    done = executions(folder)
    assert sorted(done) == list(range(num_items))
    traffic = Traffic(log)
    assert traffic.num_in_vain == 0
    num_lost = sum(done.values()) - num_items - traffic.num_raced
    if app is yielded:  # the item that ran, and those on their way
        assert num_lost <= 10 * num_kills
    else:  # the piece that ran, and one on its way
        assert num_lost <= 2 * num_kills * traffic.largest_piece
    assert replay(log) is None


def test_lost_nodes_cost_a_map_nothing_but_time(tmp_path: Path) -> None:
    folder = tmp_path / "executions"
    folder.mkdir()
    provider = one_block(init_blocks=2, min_blocks=0, max_blocks=100)
    with running(tmp_path / "run", provider=provider) as executor:
        run = pcm_map(yielded, range(3000), folder=str(folder), progress=False)
        for goal in (200, 900, 1600):
            wait_for(lambda n=goal: run.progress().num_done >= n, f"{goal} items are done")
            victim = wait_for(lambda: descendants(MANAGER), "there is a manager to kill")[0]
            os.kill(victim.pid, signal.SIGKILL)
            executor.scale_out_facade(1)
        assert run.result(timeout=120) == [2 * item for item in range(3000)]


def test_one_item_that_kills_its_host_costs_one_error_row(tmp_path: Path) -> None:
    with running(tmp_path / "run"):
        run = pcm_map(poisoned, range(1000), on_error="return", progress=False)
        results = run.result(timeout=120)
    (bad,) = [result for result in results if isinstance(result, ItemError)]
    assert bad.index == 321
    assert isinstance(bad.exception, TaskKillsHost)
    assert [r for r in results if r is not bad] == [2 * i for i in range(1000) if i != 321]


def test_one_item_that_kills_its_host_ends_a_strict_map_and_is_named(tmp_path: Path) -> None:
    with running(tmp_path / "run"):
        run = pcm_map(poisoned, range(1000), progress=False)
        results = []
        with pytest.raises(TaskKillsHost) as caught:
            results.extend(run)
    assert "321" in "".join([str(caught.value), *getattr(caught.value, "__notes__", [])]) or (
        "321" in repr(caught.value.__cause__)
    )


SCRIPT = """
    import sys
    import parsl
    from parsl import python_app
    from parsl_pcm import pcm_map
    from tests.running import config_of, small_executor

    @python_app
    def work(items, folder):
        import os
        import time

        for item in items:
            time.sleep(0.002)
            with open(os.path.join(folder, str(os.getpid())), "a") as file:
                file.write(f"{item}\\n")
            yield 2 * item

    run_dir, folder, sink = sys.argv[1:]
    with parsl.load(config_of(run_dir, small_executor())):
        run = pcm_map(work, range(3000), folder=folder, sink=sink, resume=True, progress=False)
        print("begun", flush=True)
        print(run.result(), flush=True)
"""


def test_killed_script_goes_on_where_it_was(tmp_path: Path) -> None:
    folder, sink = tmp_path / "executions", tmp_path / "results.jsonl"
    folder.mkdir()
    arguments = [str(tmp_path / "run"), str(folder), str(sink)]
    first = Script(tmp_path, SCRIPT, *arguments)
    assert first.read_line() == "begun"
    wait_for(lambda: sink.exists() and sink.read_bytes().count(b"\n") >= 500, "500 rows")
    first.process.kill()
    first.end()
    wait_for(lambda: not descendants(HOST), "its hosts are gone")
    before = executions(folder)
    kept = [json.loads(line)["index"] for line in sink.read_bytes().split(b"\n")[:-1]]
    second = Script(tmp_path, SCRIPT, *arguments)
    assert second.read_line() == "begun"
    assert f"num_skipped={len(kept)}" in second.read_line()
    assert second.end() == 0
    rows = [json.loads(line) for line in sink.read_text().splitlines()]
    assert sorted(row["index"] for row in rows) == list(range(3000))
    assert all(row["result"] == 2 * row["index"] for row in rows)
    done_again = executions(folder) - before  # twice, perhaps: in a race
    assert set(done_again) == set(range(3000)) - set(kept)
