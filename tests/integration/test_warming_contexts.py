"""Contexts that a person warms, looks at and drops, in real processes."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

import pytest
from parsl import python_app

from parsl_pcm import PCMError, PCMExecutor, context
from parsl_pcm.errors import TaskKillsHost
from parsl_pcm.provider import OpportunisticProvider, local_flavour
from parsl_pcm.status import ContextStatus
from tests.running import one_block, running, small_executor, wait_for


@context
def tools():
    return {"factor": 3}


@context
def weights(size=1):
    return bytes(size)


@python_app
def triple(x, tools=tools):
    return x * tools["factor"]


def status_of(executor: PCMExecutor, name: str) -> ContextStatus:
    return next(each for each in executor.contexts() if each.name == name)


def wait_until_warm(executor: PCMExecutor, name: str, num_hosts: int) -> ContextStatus:
    """Wait until so many hosts of a context are warm, and none of it comes or works any more."""

    def find() -> ContextStatus | None:
        status = status_of(executor, name)
        is_quiet = status.loading == status.running == 0
        return status if is_quiet and status.warm == num_hosts else None

    return wait_for(find, f"{num_hosts} hosts of {name} are warm")


def test_warm_context_answers_its_first_call_without_a_load_and_evict_ends_it(
    tmp_path: Path,
) -> None:
    with running(tmp_path) as executor:
        executor.warm(tools)
        status = wait_until_warm(executor, "tools", 1)
        assert (status.held_warm, status.loads, status.hits) == (1, 1, 0)
        assert status.devices == {"cpu": 1}
        assert triple(2).result(timeout=60) == 6
        status = wait_until_warm(executor, "tools", 1)
        assert (status.loads, status.hits) == (1, 1)
        executor.evict(tools)
        status = wait_until_warm(executor, "tools", 0)
        assert (status.held_warm, status.loads) == (0, 1)
        assert triple(3).result(timeout=60) == 9, "it is built again"
        assert status_of(executor, "tools").loads == 2
        with pytest.raises(ValueError, match=r"'weights' is not known to this executor.*tools"):
            executor.evict(weights)


def test_more_hosts_than_fit_are_warned_about_and_as_many_as_fit_are_warm(tmp_path: Path) -> None:
    with running(tmp_path, max_workers_per_node=2) as executor:
        wait_for(executor.connected_managers, "the node is there")
        with pytest.warns(UserWarning, match="room for 2: so many will be warm at most"):
            outlook = executor.warm([weights(size=10), tools], hosts=5)
        assert (outlook.asked, outlook.possible) == (5, 2)
        wait_until_warm(executor, "weights+tools", 2)
        shown = str(executor.contexts())
        assert "2 of 5" in shown
        assert "weights+tools" in executor.contexts()._repr_html_()


def test_callback_of_a_future_that_asks_gets_an_error_instead_of_waiting_for_ever(
    tmp_path: Path,
) -> None:
    def wait_for_file(path):  # pickled by value: a host need not import all of Parsl
        import pathlib
        import time

        while not pathlib.Path(path).exists():
            time.sleep(0.01)
        return path

    with running(tmp_path) as executor:
        answer: Future[object] = Future()

        def ask(_: object) -> None:
            try:
                answer.set_result(executor.contexts())
            except PCMError as error:
                answer.set_exception(error)

        gate = tmp_path / "gate"
        future = executor.submit(wait_for_file, {}, str(gate))
        future.add_done_callback(ask)
        gate.touch()
        assert future.result(timeout=60) == str(gate)
        assert "cannot be called from a callback" in str(answer.exception(timeout=60))


def test_hosts_that_die_often_are_told_of_once_and_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    @python_app
    def die(x, tools=tools):
        import os

        os._exit(9)

    with running(tmp_path, max_attempts=1) as executor:
        for index in range(4):
            assert isinstance(die(index).exception(timeout=60), TaskKillsHost)
        status = status_of(executor, "tools")
        assert status.deaths == 4
        assert status.trouble.startswith("3 hosts of context 'tools' have died at work")
        assert status.trouble in str(executor.contexts())
        # It was sent before the answers above, through the same thread.
        assert capsys.readouterr().err.count("3 hosts of context 'tools' have died at work") == 1


def test_nothing_can_be_asked_before_the_start() -> None:
    executor = small_executor()
    for ask in (executor.contexts, lambda: executor.warm(tools), lambda: executor.evict(tools)):
        with pytest.raises(PCMError, match=r"is not running: load it with parsl\.load"):
            ask()
    assert executor.outstanding() == 0


@pytest.mark.parametrize("strategy", ["htex_auto_scale", "none"])
def test_warm_gets_a_block_where_there_is_none_and_it_stays_until_it_is_not_wanted_any_more(
    tmp_path: Path, strategy: str
) -> None:
    provider = one_block(init_blocks=0, min_blocks=0)
    if strategy == "none":
        provider = OpportunisticProvider([local_flavour(max_blocks=1)], keep_warm_s=1.0)
    settings = {"strategy": strategy, "max_idletime": 1.0}
    with running(
        tmp_path,
        provider=provider,
        address="127.0.0.1",
        max_workers_per_node=1,
        parsl_settings=settings,
    ) as executor:
        outlook = executor.warm(tools)
        assert (outlook.warm, outlook.coming) == (0, 0)
        wait_for(executor.connected_managers, "a block has come")
        wait_until_warm(executor, "tools", 1)
        assert executor.outstanding() == 1
        executor.warm(tools, hosts=0)
        assert executor.outstanding() == 0
        wait_for(lambda: not executor.connected_managers(), "the block is given back")
