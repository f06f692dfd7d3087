"""Contexts that sleep when another one needs their place, with real processes."""

from __future__ import annotations

from pathlib import Path

import psutil

from tests.running import running, wait_for
from tests.sleepers import HELD_BYTES, LOAD_S, ask, count, sleeper, wait_until

FAR_TOO_LONG_S = 120.0


def answer(index: int, model) -> int:
    """Return the process that answers a call."""
    told, pid = ask(index, model).result(timeout=FAR_TOO_LONG_S)
    assert told == index
    return int(pid)


def test_contexts_that_take_turns_sleep_and_are_built_once(tmp_path: Path):
    models = {name: sleeper(name, str(tmp_path), load_s=LOAD_S) for name in "ab"}
    with running(tmp_path / "run", max_workers_per_node=1) as executor:
        pids = [answer(index, models["ab"[index % 2]]) for index in range(12)]
        rows = executor.contexts()
        assert [row.loads for row in rows] == [1, 1]
        assert sum(row.warm for row in rows) == 1
        assert sum(row.asleep for row in rows) == 1
        assert any(row.wake_s is not None for row in rows)
    assert len(set(pids)) == 2
    assert [count(tmp_path, name, "built") for name in "ab"] == [1, 1]
    assert [count(tmp_path, name, "awake") for name in "ab"] == [5, 5]


def test_sleeping_context_gives_its_memory_back(tmp_path: Path):
    models = {name: sleeper(name, str(tmp_path), held_bytes=HELD_BYTES) for name in "ab"}
    with running(tmp_path / "run", max_workers_per_node=1) as executor:
        first = psutil.Process(answer(0, models["a"]))
        assert first.memory_info().rss > HELD_BYTES
        answer(1, models["b"])
        assert wait_until(tmp_path, "a", "asleep") == first.pid
        wait_for(lambda: first.memory_info().rss < HELD_BYTES, "its memory is free")
        assert answer(2, models["a"]) == first.pid
        assert first.memory_info().rss > HELD_BYTES
        assert all(row.host_memory_bytes > HELD_BYTES for row in executor.contexts())


def test_context_that_cannot_fall_asleep_is_ended_and_told_and_sleeps_no_more(tmp_path: Path):
    bad = sleeper("bad", str(tmp_path), sleeps_badly=True, load_s=LOAD_S)
    good = sleeper("good", str(tmp_path), load_s=LOAD_S)
    with running(tmp_path / "run", max_workers_per_node=1) as executor:
        for index in range(3):
            answer(2 * index, bad)
            answer(2 * index + 1, good)
        (trouble,) = [row.trouble for row in executor.contexts() if row.trouble]
    assert "bad has no bed" in trouble
    assert count(tmp_path, "bad", "falls asleep") == 1
    assert count(tmp_path, "bad", "built") == 3
    assert count(tmp_path, "good", "built") == 1


def test_context_that_cannot_wake_is_built_again_and_sleeps_no_more(tmp_path: Path):
    bad = sleeper("bad", str(tmp_path), wakes_badly=True, load_s=LOAD_S)
    good = sleeper("good", str(tmp_path), load_s=LOAD_S)
    with running(tmp_path / "run", max_workers_per_node=1) as executor:
        for index in range(3):
            answer(2 * index, bad)
            answer(2 * index + 1, good)
        (trouble,) = [row.trouble for row in executor.contexts() if row.trouble]
    assert "sleeper" in trouble
    assert count(tmp_path, "bad", "wakes") == 1
    assert count(tmp_path, "bad", "built") == 3
    assert count(tmp_path, "good", "built") == 1
