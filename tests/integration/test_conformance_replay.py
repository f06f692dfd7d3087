"""The event logs of real runs, fed to a scheduler that never saw them: it decides the same.

``tests/integration/test_executor_runs.py`` and ``tests/faults`` replay plain calls, and killing at
random; here are the kinds of events that they leave to chance. While its log is replayed, what must
hold between any two steps of the scheduler is checked.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from parsl import python_app

from parsl_pcm import PCMExecutor, context, pcm_map
from parsl_pcm.core import actions, events
from parsl_pcm.core.check import check
from parsl_pcm.eventlog import LogRecord, build_scheduler, read_log
from tests.running import MANAGER, PATIENCE_S, descendants, one_block, running, wait_for

WALLTIME_S = 8
"""A node with nothing to do leaves 5 s before its end."""
LONG_S = 600.0
"""Longer than any test lasts."""


@pytest.fixture(autouse=True, scope="module")
def functions_travel_by_value() -> Iterator[None]:
    """Hosts cannot import this module."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@context
def desk(name):
    return name


def hold(folder):
    """Say which process is here, and wait for the gate."""
    import os
    import pathlib
    import time

    here = pathlib.Path(folder)
    (here / f"at {os.getpid()}").touch()
    while not (here / "gate").exists():
        time.sleep(0.01)


@python_app
def doubled(items, folder, at, hold=hold):
    for item in items:
        if item == 1000:
            hold(folder)
        yield 2 * item


@python_app
def held(folder, at, hold=hold):
    hold(folder)


@python_app
def work(i, at):
    return i


def log_of(executor: PCMExecutor) -> Path:
    return Path(executor.logdir) / "events.jsonl"


def replayed(log: Path) -> Iterator[LogRecord]:
    """Yield the lines of a log, each when a scheduler has decided the same and all is well."""
    header, records = read_log(log)
    scheduler = build_scheduler(header)
    for record in records:
        assert scheduler.handle(record.event, record.now) == record.actions
        check(scheduler.cluster)
        yield record


def kinds_replayed(log: Path) -> set[type]:
    """Replay a log; return the kinds of all that happened and was decided in it."""
    return {type(part) for record in replayed(log) for part in (record.event, *record.actions)}


def all_of(log: Path, kind: type) -> list[Any]:
    """Return all events and actions of a kind so far."""
    happened = (part for r in read_log(log).records for part in (r.event, *r.actions))
    return [part for part in happened if isinstance(part, kind)]


def wait_for_in_log(executor: PCMExecutor, kind: type, number: int = 1) -> list[Any]:
    """Wait until there are so many of a kind; return them."""

    def find() -> list[Any]:
        found = all_of(log_of(executor), kind)
        return found if len(found) >= number else []

    return wait_for(find, f"{number} {kind.__name__} in the log")


def is_a_kill_told(executor: PCMExecutor) -> bool:
    return any("SIGKILL" in e.description for e in all_of(log_of(executor), events.HostExited))


def holder(folder: Path, *before: int) -> int:
    """Wait until a process is at the item that is held, another than those before; return it."""

    def find() -> int:
        found = {int(path.name.split()[1]) for path in folder.glob("at *")}
        return next(iter(found.difference(before)), 0)

    return wait_for(find, "a host is at the item")


def test_map_and_calls_through_the_loss_of_a_host_and_of_a_node(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    provider = one_block(min_blocks=0, max_blocks=2)
    with running(tmp_path / "run", provider=provider) as executor:
        run = pcm_map(doubled, range(3000), folder=str(folder), at=desk("map"), progress=False)
        calls = [work(i, desk("calls")) for i in range(50)]
        first = holder(folder)
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: is_a_kill_told(executor), "the death of the host is told")
        holder(folder, first)
        (manager,) = descendants(MANAGER)
        manager.kill()
        wait_for(lambda: not executor.connected_managers(), "the node is gone")
        executor.scale_out_facade(1)
        (folder / "gate").touch()
        assert run.result(PATIENCE_S) == [2 * item for item in range(3000)]
        assert [call.result(PATIENCE_S) for call in calls] == list(range(50))
    kinds = kinds_replayed(log_of(executor))
    assert {events.HostExited, events.ManagerLost, events.PieceFinished} <= kinds


def test_wishes_of_a_person_and_a_notice_of_the_site(tmp_path: Path) -> None:
    provider = one_block(min_blocks=0, max_blocks=2)
    with running(tmp_path / "run", provider=provider, notice_s=LONG_S) as executor:
        executor.warm(desk("a"), hosts=2)
        calls = [
            executor.submit(work.func, {"priority": i % 3}, i, desk("ab"[i % 2])) for i in range(40)
        ]
        calls[38].cancel()
        assert calls[39].result(PATIENCE_S) == 39
        executor.evict(desk("a"))
        calls.append(executor.submit(held.func, {}, str(tmp_path), desk("b")))
        holder(tmp_path)
        (manager,) = descendants(MANAGER)
        manager.terminate()
        wait_for_in_log(executor, events.ManagerClosing)
        (tmp_path / "gate").touch()
        wait_for(lambda: not executor.connected_managers(), "the node is gone")
        executor.scale_out_facade(1)
        assert executor.submit(work.func, {}, 40, desk("a")).result(PATIENCE_S) == 40
        for call in calls:
            assert call.cancelled() or call.exception(PATIENCE_S) is None
    kinds = kinds_replayed(log_of(executor))
    assert {events.WarmRequested, events.EvictRequested, events.ManagerClosing} <= kinds
    assert actions.DismissManager in kinds


def test_node_with_a_drain_period(tmp_path: Path) -> None:
    with running(tmp_path / "run", drain_period=1) as executor:
        for i in range(20):  # some may be left when the node leaves
            executor.submit(work.func, {}, i, desk("a"))
        wait_for_in_log(executor, actions.DismissManager)
    (node,) = all_of(log_of(executor), events.ManagerRegistered)
    assert node.drain_s == 1.0
    assert actions.DismissManager in kinds_replayed(log_of(executor))


def test_node_with_a_walltime(tmp_path: Path) -> None:
    init = f"export PARSL_PCM_WALLTIME_S={WALLTIME_S}"
    provider = one_block(min_blocks=0, max_blocks=100, worker_init=init)
    with running(tmp_path / "run", provider=provider) as executor:
        for i in range(20):
            executor.submit(work.func, {}, i, desk("a"))
        for num_nodes in itertools.count(1):
            nodes = wait_for_in_log(executor, events.ManagerRegistered, num_nodes)
            if nodes[-1].remaining_s is not None:
                break
            executor.scale_out_facade(1)  # that one was so slow to start that its end was past
        wait_for_in_log(executor, actions.DismissManager)
    assert actions.DismissManager in kinds_replayed(log_of(executor))
