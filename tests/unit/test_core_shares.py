"""Who needs a host most, and who gives one to whom, by numbers alone."""

from __future__ import annotations

import math

import pytest

from parsl_pcm.core.memory import NO_CLAIM
from parsl_pcm.core.records import (
    ContextRecord,
    HostRecord,
    ManagerRecord,
    PieceRecord,
    TaskRecord,
)
from parsl_pcm.core.shares import (
    QUANTUM_LOADS,
    WORSE_WAIT_FACTOR,
    Gift,
    finish_s,
    has_hardly_begun,
    host_rate,
    need,
    pays,
    rate,
)
from parsl_pcm.core.speeds import ItemTime
from parsl_pcm.core.transitions import HostState
from parsl_pcm.types import BlockId, ContextKey, HostId, ManagerId, Requirements, TaskId
from tests.fakes import cpu_node

NODE = ManagerRecord(ManagerId("m0"), BlockId("0"), cpu_node(), 0.0)
LOAD_S = 10.0
QUANTUM_S = QUANTUM_LOADS * 2 * LOAD_S


def context(
    name: str = "c",
    num_hosts: int = 0,
    num_open: int = 0,
    item_s: float | None = 1.0,
    priority: int = 0,
    concurrency: int = 1,
) -> ContextRecord:
    """Return a context with ready hosts, and with work, all of which waits."""
    needs = Requirements(cores=1.0, max_concurrency=concurrency)
    made = ContextRecord(ContextKey(name), name, needs)
    made.service_s.value = item_s
    made.num_open_items = num_open
    if num_open:
        task = TaskRecord(TaskId(0), made, num_open, priority, is_mapped=True)
        made.backlog.push(PieceRecord(task, 0, num_open))
    for number in range(1, num_hosts + 1):
        host = HostRecord(HostId(number), made, NODE, (), awake_claim=NO_CLAIM)
        host.state = HostState.READY
        made.hosts[host.host_id] = host
    return made


def gives(giver: ContextRecord, newcomer: ContextRecord, num: int = 1, now: float = 0.0) -> bool:
    """Whether a context gives so many of its hosts to another; all load in 10 s."""
    hosts = list(giver.hosts.values())[:num]
    gift = Gift(hosts=hosts, newcomer=newcomer, given_load_s=LOAD_S, taken_load_s=LOAD_S)
    return gift.is_right(now)


# --- estimates ------------------------------------------------------------------------------------


def test_work_ends_when_all_hosts_have_done_it() -> None:
    assert finish_s(context(num_hosts=4, num_open=100, item_s=2.0)) == 50.0
    assert finish_s(context(num_hosts=4, num_open=100, item_s=2.0, concurrency=5)) == 10.0
    assert finish_s(context(num_hosts=0, num_open=1)) == math.inf
    assert finish_s(context(num_hosts=0, num_open=0)) == 0.0


def test_host_more_helps_only_when_it_has_loaded() -> None:
    busy = context(num_hosts=1, num_open=100)
    assert finish_s(busy, gained_rate=1.0, load_s=20.0) == 60.0  # 20 s alone, 40 s together
    assert finish_s(busy, gained_rate=-1.0) == math.inf


def test_hosts_that_are_coming_count_as_the_mean_of_those_that_were_measured() -> None:
    mixed = context(num_hosts=3)
    mixed.num_rated, mixed.total_rate = 2, 6.0
    assert rate(mixed) == 9.0
    mixed.num_promised = 1
    assert rate(mixed) == 12.0


def test_devices_are_compared_by_what_was_measured_on_them() -> None:
    mixed = context(item_s=4.0)
    mixed.item_times["fast"] = ItemTime(10.0, 5.0)
    assert host_rate(mixed, "fast") == 2.0
    assert host_rate(mixed, "never seen") == host_rate(mixed) == 0.25


def test_priority_then_having_no_host_then_the_latest_end_make_the_need() -> None:
    urgent = context("urgent", num_hosts=3, num_open=1, priority=-1)
    hostless = context("hostless", num_open=1)
    late = context("late", num_hosts=1, num_open=100)
    early = context("early", num_hosts=9, num_open=100)
    assert sorted([early, late, hostless, urgent], key=need) == [urgent, hostless, late, early]


def test_host_pays_if_its_work_lasts_so_many_times_as_long_as_its_load() -> None:
    assert pays(context(num_hosts=1, num_open=70), LOAD_S, 1.0, num_loads=3)  # (70 + 10)/2 - 10
    assert not pays(context(num_hosts=1, num_open=69), LOAD_S, 1.0, num_loads=3)


# --- balance --------------------------------------------------------------------------------------


def test_context_gives_a_host_if_it_ends_clearly_sooner_without_it() -> None:
    newcomer = context("d", num_hosts=1, num_open=100)
    assert gives(context(num_hosts=2, num_open=80), newcomer)
    assert not gives(context(num_hosts=2, num_open=81), newcomer)


def test_host_of_a_large_pool_changes_little_and_is_given_all_the_same() -> None:
    giver, newcomer = context(num_hosts=60, num_open=6_000), context("d", 40, 12_000)
    assert gives(giver, newcomer)


def test_what_was_given_is_not_taken_back_at_once() -> None:
    for num_open in range(10, 500, 7):
        giver, newcomer = context(num_hosts=3, num_open=num_open), context("d", 1, 200)
        if gives(giver, newcomer):
            fewer, more = context(num_hosts=2, num_open=num_open), context("d", 2, 200)
            assert not gives(more, fewer), num_open


def test_nothing_is_compared_before_both_are_measured() -> None:
    giver = context(num_hosts=2, num_open=10)
    assert not gives(giver, context("d", 1, 1000, item_s=None))
    assert gives(giver, context("d", 1, 1000))


def test_last_host_and_those_that_shall_be_warm_are_not_given_for_balance() -> None:
    newcomer = context("d", num_hosts=1, num_open=1000)
    assert not gives(context(num_hosts=1, num_open=1), newcomer)
    giver = context(num_hosts=2, num_open=1)
    giver.num_warm = 2
    assert not gives(giver, newcomer)


def test_devices_go_to_the_context_that_is_fast_there() -> None:
    giver, newcomer = context(num_hosts=2, num_open=95), context("d", 1, 100)
    assert not gives(giver, newcomer)
    newcomer.item_times["cpu"] = ItemTime(8.0, 4.0)
    assert gives(giver, newcomer)
    sooner = context(num_hosts=3, num_open=50)
    sooner.num_rated, sooner.total_rate = 3, 6.0
    assert gives(sooner, context("d", 1, 100))
    sooner.item_times["cpu"] = ItemTime(8.0, 2.0)  # without that host it still ends much sooner
    assert not gives(sooner, context("d", 1, 100))


def test_better_priority_takes_hosts_for_all_work_that_pays_and_worse_none() -> None:
    giver = context(num_hosts=2, num_open=1000)
    assert gives(giver, context("d", 1, 100, priority=-1))
    assert not gives(giver, context("d", 1, 10, priority=-1))
    assert not gives(giver, context("d", 1, 10_000, priority=1))


# --- turns ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("priority", "after_s"),
    [(0, QUANTUM_S), (-1, 0.0), (1, WORSE_WAIT_FACTOR * QUANTUM_S)],
)
def test_context_without_host_waits_for_its_turn(priority: int, after_s: float) -> None:
    giver, newcomer = context(num_hosts=1, num_open=1000), context("d", 0, 1, priority=priority)
    assert gives(giver, newcomer, now=after_s)
    assert not gives(giver, newcomer, now=after_s - 0.1)


def test_host_serves_for_a_quantum_before_it_is_anothers_turn() -> None:
    giver, newcomer = context(num_hosts=1, num_open=1000), context("d", num_open=1)
    giver.hosts[HostId(1)].ready_since = 500.0
    assert not gives(giver, newcomer, now=500.0 + QUANTUM_S - 1)
    assert gives(giver, newcomer, now=500.0 + QUANTUM_S)


@pytest.mark.parametrize("priority", [0, -1])
def test_context_that_gave_way_comes_back_after_a_quantum(priority: int) -> None:
    giver, newcomer = context(num_hosts=1, num_open=9), context("d", 0, 9, priority=priority)
    newcomer.gave_way_at = 500.0
    assert not gives(giver, newcomer, now=500.0 + QUANTUM_S - 1)
    assert gives(giver, newcomer, now=500.0 + QUANTUM_S)


def test_context_without_host_gets_one_of_several_unless_it_gave_way_for_little_work() -> None:
    giver = context(num_hosts=2, num_open=1000)
    newcomer = context("d", num_open=1)
    assert gives(giver, newcomer)
    assert not gives(giver, newcomer, num=2)
    newcomer.gave_way_at = -1.0
    assert not gives(giver, newcomer)
    much = context("d", num_open=round(QUANTUM_S))
    much.gave_way_at = -1.0
    assert gives(giver, much)


def test_host_that_starts_is_given_away_only_early_and_before_items_are_measured() -> None:
    giver = context(num_hosts=1, num_open=1, item_s=None)
    (host,) = giver.hosts.values()
    assert not has_hardly_begun(host, LOAD_S, now=0.0)
    host.state = HostState.STARTING
    assert has_hardly_begun(host, LOAD_S, now=2.5)
    assert not has_hardly_begun(host, LOAD_S, now=2.6)
    giver.service_s.value = 1.0
    assert not has_hardly_begun(host, LOAD_S, now=0.0)
