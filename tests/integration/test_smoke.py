"""The shortest way through every part, with real processes: run on each Parsl that we claim."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import parsl
import pytest
from parsl import DataFlowKernel, python_app

from parsl_pcm import context, pcm_map
from site_configs.local import fresh_config

pytestmark = pytest.mark.smoke


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataFlowKernel]:
    """Load Parsl with the configuration that the documentation hands to newcomers."""
    run_dir = tmp_path_factory.mktemp("run")
    with parsl.load(fresh_config(run_dir=str(run_dir))) as kernel:
        yield kernel
    parsl.clear()


@pytest.fixture
def built_in(tmp_path: Path) -> Path:
    """Return the folder in which every build of a context leaves a file."""
    folder = tmp_path / "builds"
    folder.mkdir()
    return folder


def recipe_that_counts(folder: Path):
    """Return a recipe that leaves a file when it is built, and one when it is cleaned up."""

    @context
    def counted(folder=str(folder)):
        import pathlib

        mark = pathlib.Path(folder) / f"built-{uuid.uuid4().hex}"
        mark.touch()
        yield {"mark": mark.name}
        mark.with_name(mark.name.replace("built", "cleaned")).touch()

    return counted


@pytest.mark.usefixtures("loaded")
def test_app_without_a_context_runs() -> None:
    @python_app(executors=["pcm"])
    def add(a, b):
        return a + b

    assert [add(i, 1).result() for i in range(5)] == [1, 2, 3, 4, 5]


@pytest.mark.usefixtures("loaded")
def test_results_of_many_calls_arrive_once_each() -> None:
    @python_app(executors=["pcm"])
    def double(i):
        return 2 * i

    futures = [double(i) for i in range(200)]
    assert [future.result() for future in futures] == list(range(0, 400, 2))


@pytest.mark.usefixtures("loaded")
def test_context_is_built_no_more_often_than_there_are_hosts(built_in: Path) -> None:
    @python_app(executors=["pcm"])
    def which(i, counted=recipe_that_counts(built_in)):  # noqa: B008 - the way to declare it
        return i, counted["mark"]

    results = [future.result() for future in [which(i) for i in range(50)]]
    assert [i for i, _ in results] == list(range(50))
    built = {path.name for path in built_in.glob("built-*")}
    assert {mark for _, mark in results} <= built
    assert 1 <= len(built) <= 2


@pytest.mark.usefixtures("loaded")
def test_exception_of_the_user_comes_back_and_spares_the_context(built_in: Path) -> None:
    @python_app(executors=["pcm"])
    def check(number, counted=recipe_that_counts(built_in)):  # noqa: B008 - the way to declare it
        if number < 0:
            raise ValueError(f"{number} is negative")
        return counted["mark"]

    before = check(1).result()
    with pytest.raises(ValueError, match="-1 is negative"):
        check(-1).result()
    assert check(1).result() in {path.name for path in built_in.glob("built-*")}
    assert before in {path.name for path in built_in.glob("built-*")}


@pytest.mark.usefixtures("loaded")
def test_many_items_are_one_map(tmp_path: Path) -> None:
    @context
    def ten():
        return 10

    @python_app(executors=["pcm"])
    def divide(items, ten=ten):
        for item in items:
            yield ten / item

    run = pcm_map(divide, (item for item in range(300)), on_error="return")
    results = run.result(timeout=60)
    assert isinstance(results[0].exception, ZeroDivisionError)
    assert results[1:] == [10 / item for item in range(1, 300)]
    sink = tmp_path / "results.jsonl"
    summary = pcm_map(divide, [1, 2, 5], sink=sink).result(timeout=60)
    assert (summary.num_done, summary.num_errors) == (3, 0)
    assert run.future.result(timeout=60).num_errors == 1


@pytest.mark.usefixtures("loaded")
def test_call_survives_the_death_of_its_host(tmp_path: Path) -> None:
    @python_app(executors=["pcm"])
    def die_once(flag):
        import pathlib

        if not pathlib.Path(flag).exists():
            pathlib.Path(flag).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return "survived"

    assert die_once(str(tmp_path / "died")).result() == "survived"


def test_block_and_manager_are_known_to_parsl(loaded: DataFlowKernel) -> None:
    executor = loaded.executors["pcm"]
    assert [manager["active"] for manager in executor.connected_managers()] == [True]
    assert executor.connected_blocks() == ["0"]
    assert executor.outstanding() == 0


def test_every_context_is_cleaned_up_at_the_end(built_in: Path, tmp_path: Path) -> None:
    with DataFlowKernel(fresh_config(run_dir=str(tmp_path / "run"))) as kernel:

        @python_app(executors=["pcm"], data_flow_kernel=kernel)
        def use(counted=recipe_that_counts(built_in)):  # noqa: B008 - the way to declare it
            return counted["mark"]

        mark = use().result()
    assert (built_in / mark.replace("built", "cleaned")).exists()
