"""Storms over a pool in virtual time: nothing lost, nothing twice, nothing open, all books agree.

``benchmarks/storm.py`` says what happens in a storm and what must hold in it; this runs small ones
with the scheduler's records checked after each event, and larger ones now and then. Many more:
``python benchmarks/storms.py --events 1000000``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import storm
from hypothesis import given, settings
from hypothesis import strategies as st
from storm import Storm, Weather, header_of
from storm_parts import WANTED

from parsl_pcm.core import actions, events
from parsl_pcm.eventlog import EventLog, read_log, replay
from parsl_pcm.metrics import Metrics

PLACES = [str(Path(storm.__file__).parent), str(Path(__file__).parents[2])]
"""Of the modules that this one needs."""
LARGE = Weather(
    seed=1,
    num_nodes=2000,
    num_calls=600,
    num_maps=20,
    map_items=1000,
    contexts=("cpu",),
    num_disturbances=1000,
    num_squalls=3,
)


CROWDED = Weather(
    num_nodes=2,
    num_calls=200,
    num_maps=10,
    contexts=("sleeper", "sleeper", "whole", "whole", "broken"),
    horizon_s=1000.0,
    num_disturbances=80,
)
"""Contexts take turns, and sleep meanwhile."""
RACES = Weather(
    num_nodes=12, contexts=("cpu",), num_calls=0, num_maps=40, map_items=30, num_disturbances=200
)
"""Small maps end all the time, on nodes of all speeds."""
NOISE = Weather(noise_frac=1.0, latency_s=5.0, num_maps=8, map_items=60, num_calls=30)
"""After each message comes another one that is late or comes twice."""
SQUALLS = Weather(num_nodes=30, num_calls=100, num_maps=10, num_squalls=6, num_disturbances=150)
ITEMS_ALONE = {"DeliverItemException", "FailItem"}
"""Decisions about items of maps that bear errors, which users of this pool do not know."""


def rage(weather: Weather, *, check_every: int = 1) -> Storm:
    storm = Storm(weather, check_every=check_every)
    storm.run()
    return storm


@pytest.mark.parametrize("seed", range(3))
def test_messages_that_come_late_or_twice_change_nothing(seed: int) -> None:
    storm = rage(replace(NOISE, seed=seed), check_every=2)
    assert storm.num_late_words > 300


@pytest.mark.parametrize("seed", range(4))
def test_all_work_ends_whatever_happens(seed: int) -> None:
    rage(Weather(seed=seed, num_calls=40))


@pytest.mark.parametrize("seed", range(2))
def test_contexts_that_take_turns_in_a_storm_all_end(seed: int) -> None:
    rage(replace(CROWDED, seed=seed, num_calls=100), check_every=2)


@pytest.mark.parametrize("seed", range(4))
def test_raced_pieces_in_a_storm_are_told_once(seed: int) -> None:
    assert rage(replace(RACES, seed=seed), check_every=2).metrics.num_races


@pytest.mark.parametrize("seed", range(8))
def test_more_storms_checked_less_often(seed: int) -> None:
    storm = rage(Weather(seed=100 + seed, num_nodes=20, num_squalls=4), check_every=50)
    hopeless = {"broken", "nowhere"}
    for name, tally in storm.pool.tallies.items():
        assert tally.num_items or not tally.num_failed_tasks or name in hopeless, name


@settings(max_examples=20)
@given(
    st.builds(
        Weather,
        seed=st.integers(0, 10_000),
        num_nodes=st.integers(0, 10),
        num_calls=st.integers(0, 30),
        num_maps=st.integers(0, 3),
        map_items=st.integers(1, 100),
        contexts=st.lists(st.sampled_from(sorted(WANTED)), max_size=4, unique=True),
        horizon_s=st.sampled_from([10.0, 100.0, 1000.0]),
        num_squalls=st.integers(0, 3),
        num_disturbances=st.integers(0, 60),
        noise_frac=st.sampled_from([0.0, 0.1, 0.9]),
        max_attempts=st.integers(1, 3),
        latency_s=st.sampled_from([0.002, 0.5, 5.0]),
    )
)
def test_all_work_ends_in_any_weather(weather: Weather) -> None:
    rage(weather, check_every=3)


def test_thousands_of_nodes_in_a_storm() -> None:
    storm = rage(LARGE, check_every=2000)
    assert storm.num_checks >= 3
    assert storm.ledger.counts["ManagerLost"] > 1500
    assert storm.ledger.counts["AbandonLease"] + storm.ledger.counts["LeaseRevoked"] > 0
    assert storm.ledger.ends()["open"] == 0


def test_storms_have_everything_in_them() -> None:
    kinds = {kind.__name__ for kind in (*get_args(events.Event), *get_args(actions.Action))}
    weathers = (replace(weather, seed=seed) for seed in range(20) for weather in (CROWDED, SQUALLS))
    missing = kinds - ITEMS_ALONE
    while missing:
        missing -= rage(next(weathers), check_every=1000).ledger.counts.keys()


# --- the log of a storm -----------------------------------------------------------------------


def written(weather: Weather, path: Path) -> Storm:
    with EventLog(path, header_of(weather)) as log:
        storm = Storm(weather, log=log, check_every=1000)
        storm.run()
    return storm


def test_log_of_a_storm_replays_and_gives_the_same_numbers(tmp_path: Path) -> None:
    run = written(Weather(seed=3), tmp_path / "log")
    assert replay(tmp_path / "log") is None
    assert Metrics.from_log(tmp_path / "log").summary("x") == run.metrics.summary("x")
    assert sum(1 for _ in read_log(tmp_path / "log").records) == run.pool.num_events


def test_same_seed_gives_the_same_log_and_another_seed_another(tmp_path: Path) -> None:
    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        written(Weather(seed=seed), tmp_path / name)
    first, again, other = ((tmp_path / name).read_bytes() for name in "abc")
    assert first == again
    assert first.splitlines()[1:] != other.splitlines()[1:]


def test_log_does_not_depend_on_how_strings_are_hashed(tmp_path: Path) -> None:
    script = (
        "import sys; sys.path[:0] = sys.argv[1:3];"
        "from pathlib import Path; from storm import Weather;"
        "from tests.simulated.test_storms import written;"
        "written(Weather(seed=6), Path(sys.argv[3]))"
    )
    paths = [tmp_path / hash_seed for hash_seed in "12"]
    for path in paths:
        command = [sys.executable, "-c", script, *PLACES, str(path)]
        subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": path.name}, check=True)
    assert paths[0].read_bytes() == paths[1].read_bytes()
