"""Hosts and managers killed at random while 2,000 calls run: none is lost, none delivered twice."""

from __future__ import annotations

import random
import signal
from collections import Counter
from pathlib import Path

import psutil
import pytest
from parsl import python_app

from parsl_pcm import PCMExecutor, context
from parsl_pcm.core.actions import DeliverRange
from parsl_pcm.eventlog import read_log, replay
from tests.running import HOST, MANAGER, descendants, one_block, running, wait_for

NUM_CALLS = 2000


@context
def squares():
    import time

    time.sleep(0.05)
    yield lambda x: x * x


@python_app
def square(i, folder, squares=squares):
    import os
    import time

    with open(os.path.join(folder, str(os.getpid())), "a") as file:
        file.write(f"{i}\n")
    time.sleep(0.005)
    return i, squares(i)


@python_app
def plain(i, folder):
    import time

    time.sleep(0.005)
    return i, i * i


def kill_one(what: str, chance: random.Random) -> bool:
    """Kill one of these processes, as the kernel or the site would; False if there is none."""
    alive = sorted(descendants(what), key=lambda process: process.pid)
    if not alive:
        return False
    victim = chance.choice(alive)
    signum = signal.SIGKILL if what == HOST or chance.random() < 0.5 else signal.SIGTERM
    try:
        victim.send_signal(signum)
    except psutil.NoSuchProcess:
        return False
    return True


def kill_until_done(executor: PCMExecutor, futures: list, chance: random.Random) -> Counter[str]:
    """Kill something each time that some more calls have ended; replace lost blocks."""
    killed: Counter[str] = Counter()
    while (num_done := sum(future.done() for future in futures)) < NUM_CALLS:
        next_kill = min(NUM_CALLS, num_done + chance.randrange(10, 80))
        wait_for(
            lambda n=next_kill: sum(future.done() for future in futures) >= n,
            f"{next_kill} calls are done",
        )
        what = chance.choice([HOST, HOST, HOST, MANAGER])
        killed[what] += kill_one(what, chance)
        if len(descendants(MANAGER)) < 2:
            executor.scale_out_facade(1)
    return killed


@pytest.mark.parametrize("seed", [1, 2])
def test_random_kills_lose_nothing_and_deliver_nothing_twice(seed: int, tmp_path: Path):
    chance = random.Random(seed)
    folder = tmp_path / "executions"
    folder.mkdir()
    provider = one_block(init_blocks=2, min_blocks=0, max_blocks=100)
    with running(tmp_path / "run", provider=provider, parsl_settings={"retries": 0}) as executor:
        futures = [chance.choice([square, plain])(i, str(folder)) for i in range(NUM_CALLS)]
        killed = kill_until_done(executor, futures, chance)
        assert [future.result(timeout=60) for future in futures] == [
            (i, i * i) for i in range(NUM_CALLS)
        ]
        assert executor.outstanding() == 0
    assert killed[HOST] >= 5
    assert killed[MANAGER] >= 1
    log = Path(executor.logdir) / "events.jsonl"
    delivered = Counter(
        action.task_id
        for record in read_log(log).records
        for action in record.actions
        if isinstance(action, DeliverRange)
    )
    assert len(delivered) == NUM_CALLS
    assert set(delivered.values()) == {1}
    executed = {int(line) for path in folder.iterdir() for line in path.read_text().split()}
    assert len(executed) == sum(future.task_record["func_name"] == "square" for future in futures)
    assert replay(log) is None
