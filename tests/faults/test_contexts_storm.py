"""More contexts than fit, some of which sleep, while hosts are killed: every call ends, once."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from pathlib import Path

import psutil
import pytest

from parsl_pcm.core.actions import DeliverRange
from parsl_pcm.eventlog import read_log, replay
from tests.running import HOST, descendants, running, wait_for
from tests.sleepers import ask, sleeper

NUM_CALLS, PARCEL = 100, 20
FAR_TOO_LONG_S = 120.0


def contexts_of(folder: Path):
    """Return contexts that sleep, that do not, and two that do so badly."""
    there = str(folder)
    return [
        sleeper("good", there),
        sleeper("restless", there, sleeps_badly=True),
        sleeper("drowsy", there, wakes_badly=True),
        sleeper.options(can_sleep=False)("awake", there),
        sleeper.options(can_sleep=False, max_concurrency=2)("busy", there),
    ]


def kill_a_host(chance: random.Random) -> None:
    alive = wait_for(lambda: descendants(HOST), "there is a host to kill")
    with contextlib.suppress(psutil.NoSuchProcess):
        chance.choice(sorted(alive, key=lambda process: process.pid)).kill()


@pytest.mark.parametrize("seed", [1, 2])
def test_hosts_killed_at_random_lose_no_call_of_any_context(seed: int, tmp_path: Path):
    chance = random.Random(seed)
    models = contexts_of(tmp_path)
    futures = []
    # A call may be in flight at each of the kills.
    with running(tmp_path / "run", max_attempts=NUM_CALLS // PARCEL + 1) as executor:
        for first in range(0, NUM_CALLS, PARCEL):
            futures += [ask(i, chance.choice(models)) for i in range(first, first + PARCEL)]
            num_before = first + chance.randrange(PARCEL // 2)
            wait_until_done(futures, num_before)
            kill_a_host(chance)
        results = [future.result(timeout=FAR_TOO_LONG_S) for future in futures]
        assert [index for index, _ in results] == list(range(NUM_CALLS))
        rows = executor.contexts()
        assert len(rows) == len(models)
        assert sum(row.queued + row.running for row in rows) == 0
    log = Path(executor.logdir) / "events.jsonl"
    delivered = Counter(
        action.task_id
        for record in read_log(log).records
        for action in record.actions
        if isinstance(action, DeliverRange)
    )
    assert set(delivered.values()) == {1}
    assert len(delivered) == NUM_CALLS
    assert replay(log) is None


def wait_until_done(futures, num_calls: int) -> None:
    wait_for(
        lambda: sum(future.done() for future in futures) >= num_calls,
        f"{num_calls} calls are done",
        timeout_s=FAR_TOO_LONG_S,
    )
