"""Several contexts on one node, through Parsl, with real processes."""

from __future__ import annotations

from pathlib import Path

import psutil
from parsl import python_app

from parsl_pcm import context
from parsl_pcm.errors import ContextSetupFailed
from tests.running import fails_with, is_alive, one_block, running, wait_for

FAR_TOO_LONG_S = 120.0


@context
def built(name, folder, gate=None):
    """Leaves a file for each time that it is built, as soon as the gate is open."""
    import os
    import pathlib
    import time

    while gate and not pathlib.Path(gate).exists():
        time.sleep(0.01)
    (pathlib.Path(folder) / f"{name}-{os.getpid()}").touch()
    return name


@python_app
def use(index, model):
    return index, model


def builds(folder: Path, name: str) -> int:
    return len(list(folder.glob(f"{name}-*")))


def results(futures) -> list:
    return [future.result(timeout=FAR_TOO_LONG_S) for future in futures]


def test_two_contexts_that_fit_together_are_each_built_once_for_alternating_calls(tmp_path: Path):
    models = {name: built(name, str(tmp_path)) for name in "ab"}
    with running(tmp_path / "run") as executor:
        for index in range(30):
            name = "ab"[index % 2]
            assert use(index, models[name]).result(timeout=FAR_TOO_LONG_S) == (index, name)
        assert [row.loads for row in executor.contexts()] == [1, 1]
    assert [builds(tmp_path, name) for name in "ab"] == [1, 1]


def test_two_contexts_of_which_one_fits_take_turns_and_both_get_everything_done(tmp_path: Path):
    gate = tmp_path / "gate"
    models = {name: built(name, str(tmp_path), str(gate)) for name in "ab"}
    with running(tmp_path / "run", max_workers_per_node=1):
        futures = [use(index, models["ab"[index % 2]]) for index in range(40)]
        gate.touch()
        assert results(futures) == [(index, "ab"[index % 2]) for index in range(40)]
    # Two if nothing disturbs it; one that reloads for each call needs forty.
    assert sum(builds(tmp_path, name) for name in "ab") <= 6


def test_memory_of_the_node_is_never_given_to_two_contexts_that_need_most_of_it(tmp_path: Path):
    @context(host_memory="600 MB")
    def large(name, folder):
        """Says whether the other one lived when it was built."""
        import os
        import pathlib

        import psutil

        others = [p.name for p in pathlib.Path(folder).glob("pid-*") if p.name[4] != name]
        is_alone = not any(psutil.pid_exists(int(other.split("-")[2])) for other in others)
        (pathlib.Path(folder) / f"pid-{name}-{os.getpid()}").touch()
        return is_alone

    models = {name: large(name, str(tmp_path)) for name in "ab"}
    node_of_1_gib = one_block(worker_init="export PARSL_MEMORY_GB=1")
    with running(tmp_path / "run", provider=node_of_1_gib):
        for index in range(4):
            outcome = use(index, models["ab"[index % 2]]).result(timeout=FAR_TOO_LONG_S)
            assert outcome == (index, True)
    assert builds(tmp_path, "pid") == 4  # a call waits for the one before: each needs a load


def test_urgent_context_does_not_wait_for_the_end_of_the_queue_of_another(tmp_path: Path):
    calm, urgent = built("calm", str(tmp_path)), built("urgent", str(tmp_path))
    order, gate = tmp_path / "order", tmp_path / "gate"

    @python_app
    def note(model, order=str(order), gate=str(gate)):
        import pathlib
        import time

        with open(order, "a") as file:
            file.write(f"{model} ")
        while not pathlib.Path(gate).exists():
            time.sleep(0.01)

    with running(tmp_path / "run", max_workers_per_node=1) as executor:
        futures = [note(calm) for _ in range(10)]
        wait_for(order.exists, "the first call runs")
        futures.append(note(urgent, parsl_resource_specification={"priority": -1}))
        wait_for(lambda: [row.queued for row in executor.contexts()] == [9, 1], "all calls wait")
        gate.touch()
        results(futures)
    words = order.read_text().split()
    assert sorted(words) == ["calm"] * 10 + ["urgent"]
    assert words[-1] == "calm"


def test_one_bad_recipe_fails_with_its_traceback_and_the_others_are_not_disturbed(tmp_path: Path):
    @context
    def bad(word):
        raise ValueError(f"no weights for {word}")

    models = {name: built(name, str(tmp_path)) for name in "abcd"}
    with running(tmp_path / "run"):
        failing = [use(index, bad("e")) for index in range(5)]
        futures = [use(index, models["abcd"[index % 4]]) for index in range(20)]
        assert results(futures) == [(index, "abcd"[index % 4]) for index in range(20)]
        for future in failing:
            text = fails_with(future, ContextSetupFailed)
            assert "no weights for e" in text
            assert "'bad'" in text


def test_context_that_one_node_cannot_build_is_built_on_another(tmp_path: Path):
    @context
    def particular(folder):
        """Fails in the block that tries it first."""
        import contextlib
        import os
        import pathlib

        block = os.environ["PARSL_WORKER_BLOCK_ID"]
        own, first = pathlib.Path(folder) / f"tried {os.getpid()}", pathlib.Path(folder) / "first"
        own.write_text(block)
        with contextlib.suppress(FileExistsError):
            os.link(own, first)
        if first.read_text() == block:
            raise OSError("this node has no such file")
        return block

    two_blocks = one_block(init_blocks=2, min_blocks=2, max_blocks=2)
    with running(tmp_path / "run", provider=two_blocks, max_workers_per_node=1) as executor:
        wait_for(lambda: len(executor.connected_blocks()) == 2, "both nodes are there")
        outcomes = results([use(index, particular(str(tmp_path))) for index in range(4)])
    good = {"0": "1", "1": "0"}[(tmp_path / "first").read_text()]
    assert outcomes == [(index, good) for index in range(4)]


def is_there(pid: int) -> bool:
    return psutil.pid_exists(pid) and is_alive(psutil.Process(pid))


def test_contexts_that_are_gone_leave_no_process(tmp_path: Path):
    @context
    def pid(name):
        import os

        return os.getpid()

    with running(tmp_path / "run", max_workers_per_node=1):
        pids = [use(0, pid(name)).result(timeout=FAR_TOO_LONG_S)[1] for name in "abc"]
        assert len(set(pids)) == 3
        assert not any(map(is_there, pids[:2]))
        assert is_there(pids[2])
