"""A script with ordinary calls and a map is killed and run again.

Parsl's checkpoint repeats no call that was done, ``resume=`` no item.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.running import HOST, Script, descendants, wait_for

NUM_ITEMS = 60
SCRIPT = """
import pathlib
import sys
import parsl
from parsl import python_app
from parsl.dataflow.memoization import BasicMemoizer
from parsl_pcm import context, pcm_map
from tests.running import config_of, small_executor

@context
def numbers():
    return {"ten": 10}

@python_app(cache=True)
def prepare(folder):
    with open(f"{folder}/prepared", "a") as file:
        file.write("once\\n")
    return 3

@python_app
def work(items, folder, factor, numbers=numbers):
    import os
    import time
    for item in items:
        while item >= 30 and not os.path.exists(f"{folder}/gate"):
            time.sleep(0.01)
        with open(f"{folder}/worked-{os.getpid()}", "a") as file:
            file.write(f"{item}\\n")
        yield item * factor * numbers["ten"]

@python_app(cache=True, ignore_for_cache=["after"])
def count(sink, folder, after):
    with open(f"{folder}/counted", "a") as file:
        file.write("once\\n")
    with open(sink) as file:
        return sum(1 for _ in file)

folder, num_items = sys.argv[1], int(sys.argv[2])
memoizer = BasicMemoizer(checkpoint_mode="task_exit")
with parsl.load(config_of(pathlib.Path("run"), small_executor(), memoizer=memoizer)):
    factor = prepare(folder).result()
    print("prepared", flush=True)
    run = pcm_map(work, range(num_items), sink="results.jsonl", resume=True,
                  folder=folder, factor=factor)
    counted = count("results.jsonl", folder, after=run.future).result()
    print("counted", counted, run.progress().num_skipped, flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return where the apps write what they do."""
    folder = tmp_path / "traces"
    folder.mkdir()
    return folder


def start(folder: Path) -> Script:
    script = Script(folder.parent, SCRIPT, str(folder), str(NUM_ITEMS))
    assert script.read_line() == "prepared"
    return script


def run(folder: Path) -> str:
    script = start(folder)
    told = script.read_line()
    assert script.end() == 0, script.errors()
    return told


def num_rows(folder: Path) -> int:
    sink = folder.parent / "results.jsonl"
    return sink.read_bytes().count(b"\n") if sink.exists() else 0


def traces(folder: Path, what: str) -> Counter[str]:
    return Counter(
        line for path in folder.glob(f"{what}*") for line in path.read_text().splitlines()
    )


def test_a_killed_script_repeats_neither_calls_nor_items(folder: Path):
    killed = start(folder)
    wait_for(lambda: num_rows(folder), "the first results are written")
    killed.process.kill()
    killed.end()
    wait_for(lambda: not descendants(HOST), "its hosts are gone")
    num_done = num_rows(folder)
    worked_before = traces(folder, "worked")
    (folder / "gate").touch()

    _, counted, num_skipped = run(folder).split()
    assert int(counted) == NUM_ITEMS
    assert int(num_skipped) == num_done
    assert traces(folder, "prepared") == {"once": 1}
    assert traces(folder, "counted") == {"once": 1}
    worked = traces(folder, "worked")
    assert set(worked) == {str(item) for item in range(NUM_ITEMS)}
    lines = (folder.parent / "results.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    kept = {str(row["index"]) for row in rows[:num_done]}
    assert set(worked - worked_before) == set(worked) - kept
    assert {row["index"]: row["result"] for row in rows} == {n: 30 * n for n in range(NUM_ITEMS)}

    assert run(folder).split()[1:] == [str(NUM_ITEMS)] * 2
    assert traces(folder, "counted") == {"once": 1}, "its result is in Parsl's checkpoint"
    assert traces(folder, "worked") == worked
