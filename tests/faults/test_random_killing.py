"""Hosts and managers killed at random while 2,000 calls run: none is lost, none delivered twice."""

from __future__ import annotations

import contextlib
import random
import signal
from collections import Counter
from concurrent.futures import Future
from pathlib import Path

import psutil
import pytest
from parsl import python_app

from parsl_pcm import PCMExecutor, context
from parsl_pcm.core.actions import DeliverRange
from parsl_pcm.eventlog import read_log, replay
from tests.running import HOST, MANAGER, descendants, one_block, running, wait_for

NUM_CALLS = 2000
PARCEL = 50
"""Calls made at once: more than wait at the hosts, so that each kill hits work."""
NUM_KILLS = NUM_CALLS // PARCEL
NUM_MANAGERS_KILLED = NUM_KILLS // 4


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


def kill_one(what: str, chance: random.Random) -> None:
    """Kill one of these processes, as the kernel or the site would; wait until there is one."""
    alive = wait_for(lambda: descendants(what), f"there is a {what} to kill")
    victim = chance.choice(sorted(alive, key=lambda process: process.pid))
    signum = signal.SIGKILL if what == HOST or chance.random() < 0.5 else signal.SIGTERM
    with contextlib.suppress(psutil.NoSuchProcess):
        victim.send_signal(signum)


def wait_until_done(futures: list[Future[tuple[int, int]]], num_calls: int) -> None:
    wait_for(
        lambda: sum(future.done() for future in futures) >= num_calls, f"{num_calls} calls are done"
    )


def run_and_kill(
    executor: PCMExecutor, folder: Path, chance: random.Random
) -> list[Future[tuple[int, int]]]:
    """Make the calls in parcels, kill something in the middle of each, replace lost blocks."""
    futures: list[Future[tuple[int, int]]] = []
    victims = [MANAGER] * NUM_MANAGERS_KILLED + [HOST] * (NUM_KILLS - NUM_MANAGERS_KILLED)
    chance.shuffle(victims)
    for first, what in zip(range(0, NUM_CALLS, PARCEL), victims, strict=True):
        calls = range(first, first + PARCEL)
        futures += [chance.choice([square, plain])(i, str(folder)) for i in calls]
        wait_until_done(futures, first + chance.randrange(PARCEL // 2))
        kill_one(what, chance)
        if what == MANAGER:  # whether it is gone or will be: at no time may there be none to come
            executor.scale_out_facade(1)
    return futures


@pytest.mark.parametrize("seed", [1, 2])
def test_random_kills_lose_nothing_and_deliver_nothing_twice(seed: int, tmp_path: Path):
    chance = random.Random(seed)
    folder = tmp_path / "executions"
    folder.mkdir()
    provider = one_block(init_blocks=2, min_blocks=0, max_blocks=100)
    settings = {"provider": provider, "parsl_settings": {"retries": 0}}
    # One call, or one context that is being built, may be hit by each of the kills.
    with running(tmp_path / "run", max_attempts=NUM_KILLS + 1, **settings) as executor:
        futures = run_and_kill(executor, folder, chance)
        assert [future.result(timeout=60) for future in futures] == [
            (i, i * i) for i in range(NUM_CALLS)
        ]
        assert executor.outstanding() == 0
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
