"""What the interchange answers, from a scheduler without any process."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import msgspec
import pytest

from parsl_pcm.core import events
from parsl_pcm.core.demand import MOST_HOSTS, keep_times_s, num_hosts_alone
from parsl_pcm.core.rooms import whole_room
from parsl_pcm.interchange.commands import (
    answer,
    describe_managers,
    order_of,
)
from parsl_pcm.interchange.peers import Peer, Peers
from parsl_pcm.types import ContextKey, HostId, ManagerId, Requirements
from parsl_pcm.wire.codec import ProtocolError
from parsl_pcm.wire.messages import Command
from tests.core_words import finished, new_pool, ready, submit
from tests.fakes import GB, FakePool, cpu_node, gpu_node
from tests.unit.test_peers import registration

SHARED = Requirements(gpus=1, cores=0.0, gpu_memory_bytes=5 * GB)


def ask(pool: FakePool, name: str, argument: str | None = None) -> Any:
    """Return an answer as it arrives: plain data."""
    command = Command(request_id=0, name=name, argument=argument)
    value = answer(command, pool.scheduler, Peers(), pool.now)
    return msgspec.msgpack.decode(msgspec.msgpack.encode(value))


def contexts(pool: FakePool) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in ask(pool, "CONTEXTS")}


# --- orders -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "argument", "order"),
    [
        ("HOLD_MANAGER", "m", events.ManagerHeld(manager_id=ManagerId("m"))),
        ("WARM", "3 k", events.WarmRequested(context_key=ContextKey("k"), num_hosts=3)),
        ("EVICT", "k", events.EvictRequested(context_key=ContextKey("k"))),
        ("CONTEXTS", None, None),
    ],
)
def test_orders_are_events_and_questions_are_none(
    name: str, argument: str | None, order: events.Event | None
) -> None:
    assert order_of(Command(request_id=0, name=name, argument=argument)) == order


def test_unknown_command_is_refused() -> None:
    with pytest.raises(ProtocolError, match="unknown command: 'DANCE'"):
        ask(new_pool(), "DANCE")


# --- contexts -----------------------------------------------------------------------------------


def test_context_is_told_with_what_waits_works_and_was_measured() -> None:
    pool = new_pool(cpu_node())
    for _ in range(3):
        submit(pool)
    pool.now = 10.0
    host_ready = events.HostReady(
        host_id=HostId(1), setup_s=9.0, host_memory_bytes=3 * GB, gpu_memory_bytes=0
    )
    pool.feed(host_ready)
    pool.now = 110.0
    finished(pool, 1)  # it took 100 s
    row = contexts(pool)["c"]
    assert (row["loading"], row["warm"], row["asleep"]) == (0, 1, 0)
    assert (row["queued"], row["running"]) == (1, 1)
    assert (row["setup_s"], row["item_s"], row["wake_s"]) == (9.0, 100.0, None)
    assert (row["loads"], row["deaths"], row["trouble"]) == (1, 0, "")
    assert row["hits"] == 2, "after the first one, which came with the load"
    assert row["devices"] == {"cpu": 1}
    assert row["variants"] == {}
    assert row["gpu_memory_bytes"] is None
    assert 3 * GB <= row["host_memory_bytes"] < 3.1 * GB


def test_hosts_are_told_by_variant_and_their_devices_once() -> None:
    pool = FakePool(Random(0))
    pool.declare("d", SHARED, Requirements(cores=1.0))
    pool.register(gpu_node(16))
    for _ in range(2):
        submit(pool, "d")
    row = contexts(pool)["d"]
    (device, num_devices), *others = row["devices"].items()
    assert (num_devices, others) == (1, []), "they share it"
    assert device != "cpu"
    assert row["variants"] == {"d": 2}


def test_context_that_sleeps_is_told_apart() -> None:
    pool = FakePool(Random(0))
    sleepy = Requirements(gpus=1, cores=0.0, gpu_memory_bytes=10 * GB, can_sleep=True)
    for key in ("a", "b"):
        pool.declare(key, sleepy)
    pool.register(gpu_node(16))
    for key in ("a", "b", "a"):  # one must make way for the other
        submit(pool, key)
        pool.settle()
        pool.let_time_pass(20.0)
    awake, asleep = contexts(pool)["a"], contexts(pool)["b"]
    assert (awake["warm"], awake["asleep"], awake["loads"]) == (1, 0, 1)
    assert (asleep["warm"], asleep["asleep"], asleep["loads"]) == (0, 1, 1)
    assert awake["wake_s"] == 1.0
    assert asleep["devices"] == {"gpu": 1}


# --- warm ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("needs", "num_hosts"),
    [
        (Requirements(gpus=1, cores=0.0), 2),
        (SHARED, 6),
        (Requirements(gpus=2, cores=0.0), 1),
        (Requirements(gpus=3, cores=0.0), 0),
        (Requirements(cores=2.0), 2),
        (Requirements(gpus=1, cores=0.0, gpu_memory_bytes=1), MOST_HOSTS),
    ],
)
def test_hosts_that_a_node_could_hold_are_counted(needs: Requirements, num_hosts: int) -> None:
    pool = new_pool(needs=needs)
    context = pool.scheduler.cluster.contexts[ContextKey("c")]
    room = whole_room(gpu_node(16, 16))
    room = room._replace(cores=4.0, total_cores=4.0)
    assert num_hosts_alone(room, context) == num_hosts


def test_answer_to_warm_tells_what_there_is_and_what_each_node_could_hold() -> None:
    pool = new_pool(cpu_node(2.0), cpu_node(1.0))
    pool.feed(events.ManagerHeld(manager_id=ManagerId("m1")))
    for _ in range(2):
        submit(pool)
    ready(pool, 1)
    answered = ask(pool, "WARM", "5 c")
    assert answered["ways"][0]["cores"] == 1.0
    del answered["ways"]
    assert answered == {"name": "c", "warm": 1, "coming": 1, "nodes": [2], "num_blocks": 1}


# --- demand -------------------------------------------------------------------------------------


def test_blocks_are_told_with_how_long_their_hosts_are_to_be_kept() -> None:
    pool = new_pool(cpu_node(3.0), needs=Requirements(cores=1.0, keep_warm_s=300.0))
    assert [row["keep_warm_s"] for row in ask(pool, "DEMAND")["blocks"]] == [0.0]
    pool.declare("d", Requirements(cores=1.0))
    for key in ("c", "c", "d"):
        submit(pool, key)
    ready(pool, 1)
    assert [row["keep_warm_s"] for row in ask(pool, "DEMAND")["blocks"]] == [300.0]
    pool.feed(events.WarmRequested(context_key=ContextKey("d"), num_hosts=1))
    assert [row["keep_warm_s"] for row in ask(pool, "DEMAND")["blocks"]] == [math.inf]


def test_of_hosts_beyond_those_that_are_held_warm_none_is_kept() -> None:
    pool = new_pool(cpu_node(), cpu_node())
    for _ in range(2):
        submit(pool)
    pool.feed(events.WarmRequested(context_key=ContextKey("c"), num_hosts=1))
    assert keep_times_s(pool.scheduler.cluster) == {"m0": math.inf, "m1": 0.0}


def test_contexts_tell_all_their_ways() -> None:
    pool = new_pool()
    pool.declare("d", SHARED, Requirements(cores=1.0))
    submit(pool, "d")
    (row,) = ask(pool, "DEMAND")["contexts"]
    assert [way["gpus"] for way in row["ways"]] == [1, 0]


def test_hosts_that_a_gpu_holds_are_told_once_a_node_with_one_was_there() -> None:
    pool = FakePool(Random(0))
    pool.declare("d", SHARED)
    submit(pool, "d")
    assert [row["hosts_per_gpu"] for row in ask(pool, "DEMAND")["contexts"]] == [None]
    pool.register(gpu_node(16, 11))
    assert [row["hosts_per_gpu"] for row in ask(pool, "DEMAND")["contexts"]] == [2.5]


def test_context_that_shall_be_warm_is_demanded_without_work() -> None:
    pool = new_pool()
    assert ask(pool, "DEMAND")["contexts"] == []
    pool.feed(events.WarmRequested(context_key=ContextKey("c"), num_hosts=3))
    (row,) = ask(pool, "DEMAND")["contexts"]
    assert (row["num_wanted"], row["num_warm"], row["num_open"]) == (3, 3, 0)


# --- managers -----------------------------------------------------------------------------------


def test_node_is_not_idle_for_parsls_strategies_while_it_is_to_be_kept() -> None:
    pool = new_pool(cpu_node(), needs=Requirements(cores=1.0, keep_warm_s=300.0))
    peers = Peers()
    peers.add(Peer(registration("m0"), 0))
    submit(pool)
    ready(pool)
    finished(pool, 1)
    cluster = pool.scheduler.cluster

    def idle_s(now: float) -> float:
        (row,) = describe_managers(cluster, peers, now)
        return float(row["idle_duration"])

    assert (idle_s(299.0), idle_s(300.0)) == (0.0, 300.0)
    pool.feed(events.WarmRequested(context_key=ContextKey("c"), num_hosts=1))
    assert idle_s(9999.0) == 0.0
