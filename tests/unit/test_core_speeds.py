"""What was measured of the time of items."""

from __future__ import annotations

import pytest

from parsl_pcm.core.records import (
    ContextRecord,
    HostRecord,
    LeaseRecord,
    ManagerRecord,
    PieceRecord,
    TaskRecord,
)
from parsl_pcm.core.speeds import (
    ItemTime,
    discount_rate,
    item_s,
    learn,
    pool_rate,
    size_class,
    sizes_of,
    sizes_of_kind,
)
from parsl_pcm.types import (
    BlockId,
    ContextKey,
    HostId,
    LeaseId,
    ManagerId,
    NodeResources,
    Requirements,
    TaskId,
)
from tests.fakes import cpu_node, gpu_node


def new_context(max_concurrency: int = 1) -> ContextRecord:
    needs = Requirements(cores=1.0, max_concurrency=max_concurrency)
    return ContextRecord(ContextKey("c"), "c", needs)


def new_host(context: ContextRecord, number: int = 1, node: NodeResources | None = None):  # type: ignore[no-untyped-def]
    resources = cpu_node() if node is None else node
    manager = ManagerRecord(ManagerId(f"m{number}"), BlockId("0"), resources, 0.0)
    host = HostRecord(HostId(number), context, manager, tuple(range(len(resources.devices))))
    context.hosts[host.host_id] = host
    return host


def run(
    host: HostRecord, num_items: int, item_time: float, *, reports: int = 1, function: str = "f"
) -> None:
    """Let a host do a mapped piece, in so many reports of equal size."""
    task = TaskRecord(TaskId(0), host.context, num_items, 0, is_mapped=True, function_key=function)
    lease = LeaseRecord(LeaseId(1), PieceRecord(task, 0, num_items), host, 0)
    size = num_items // reports
    for _ in range(reports):
        learn(lease, size, size * item_time, 0.0)
        lease.next_item += size


# --- means ----------------------------------------------------------------------------------------


def test_large_piece_counts_for_more_than_a_small_one() -> None:
    time = ItemTime()
    time.add(1000, 0.1)
    time.add(1, 0.1)
    assert time.value == pytest.approx(0.0002, rel=0.1)


def test_mean_follows_a_host_that_becomes_slower_within_two_pieces() -> None:
    time = ItemTime()
    for _ in range(20):
        time.add(200, 2.0)
    assert time.value == pytest.approx(0.01)
    time.add(200, 6.0)
    time.add(67, 2.0)
    assert time.value == pytest.approx(0.03, rel=0.1)


def test_mean_is_the_same_whether_a_piece_is_reported_whole_or_item_by_item() -> None:
    whole, single = ItemTime(), ItemTime()
    for item_time in (0.01, 0.02):
        whole.add(200, 200 * item_time)
        for _ in range(200):
            single.add(1, item_time)
    assert single.value == pytest.approx(whole.value, rel=0.1)


def test_several_long_items_are_remembered() -> None:
    time = ItemTime()
    for seconds in (10.0, 30.0) * 10:
        time.add(1, seconds)
    assert time.value == pytest.approx(20.0, rel=0.2)


def test_prudent_time_is_that_of_the_items_that_take_the_time() -> None:
    time = ItemTime()
    time.add(4, 2.0)
    assert time.prudent_s == pytest.approx(0.5)
    time.add(1000, 0.001)
    assert time.value is not None
    assert time.value < 0.01
    assert time.prudent_s == pytest.approx(0.5, rel=0.01)
    for _ in range(30):
        time.add(1000, 1.0)
    assert time.prudent_s == pytest.approx(0.001, rel=0.1)


def test_first_call_on_a_host_counts_only_until_there_is_another() -> None:
    context = new_context()
    host, later = new_host(context), new_host(context, 2)
    run(host, 1, 5.0)
    assert item_s(host) == 5.0
    assert item_s(later) == 5.0
    run(host, 8, 0.01)
    assert item_s(host) == pytest.approx(0.01)
    run(later, 1, 5.0)
    assert item_s(later) == 5.0
    assert context.item_times["cpu"].value == pytest.approx(0.01)


def test_clock_that_did_not_move_does_no_harm() -> None:
    context = new_context()
    host = new_host(context)
    run(host, 8, 0.0)
    assert 0.0 < (item_s(host) or 0.0) < 1e-6


# --- hosts and kinds ------------------------------------------------------------------------------


def test_host_without_measurement_is_taken_for_one_of_its_kind() -> None:
    context = new_context()
    slow, fast = new_host(context, 1), new_host(context, 2, gpu_node(16))
    other_slow, other_fast = new_host(context, 3), new_host(context, 4, gpu_node(80))
    assert item_s(other_slow) is None
    for host, seconds in ((slow, 1.0), (fast, 0.1)):
        run(host, 10, seconds)
        run(host, 10, seconds)
    assert item_s(other_slow) == pytest.approx(1.0)
    assert item_s(other_fast) == pytest.approx(0.1)
    assert fast.device_kind != slow.device_kind


def test_sum_of_rates_follows_measurements_and_departures() -> None:
    context = new_context(max_concurrency=2)
    hosts = [new_host(context, number) for number in range(3)]
    run(hosts[0], 10, 0.1)
    run(hosts[1], 10, 0.4)
    assert context.total_rate == pytest.approx(20.0 + 5.0)
    assert pool_rate(hosts[2], 1.0) == pytest.approx(25.0 + 12.5)
    run(hosts[1], 1000, 0.2)
    assert context.total_rate == pytest.approx(20.0 + 10.0, rel=0.01)
    discount_rate(hosts[0])
    discount_rate(hosts[0])
    del context.hosts[hosts[0].host_id]
    run(hosts[0], 10, 0.1)
    assert context.total_rate == pytest.approx(10.0, rel=0.01)
    assert context.num_rated == 1


# --- sizes ----------------------------------------------------------------------------------------


def test_piece_reported_in_small_ranges_is_judged_as_a_whole() -> None:
    host = new_host(new_context())
    run(host, 256, 0.01, reports=256)
    times = sizes_of(host, "f")
    assert times is not None
    assert list(times.by_class) == [8]
    assert times.by_class[8].value == pytest.approx(0.01)


def test_functions_of_one_context_are_told_apart() -> None:
    host = new_host(new_context())
    run(host, 1024, 0.001, function="embed")
    assert sizes_of(host, "generate") is None
    assert sizes_of_kind(host, "generate") is None
    assert sizes_of_kind(host, "embed") is not None


def test_ordinary_calls_say_nothing_about_sizes() -> None:
    host = new_host(new_context())
    task = TaskRecord(TaskId(0), host.context, 1, 0)
    learn(LeaseRecord(LeaseId(1), PieceRecord(task, 0, 1), host, 0), 1, 0.5, 0.0)
    assert item_s(host) == 0.5
    assert host.context.service_s.value == 0.5
    assert not host.size_times


def test_size_class_is_the_nearest_power_of_two() -> None:
    assert [size_class(n) for n in (0.1, 1, 2, 3, 100, 250, 256)] == [0, 0, 1, 2, 7, 8, 8]
