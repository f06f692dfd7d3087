"""How many pieces a host of a concurrent context holds, learned from its throughput."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from parsl_pcm.core.inflight import FIRST_PLACES, TRY_AGAIN_S
from parsl_pcm.core.records import HostRecord
from tests.core_bench import Bench, slot


def saturating(places: int, item_s: float = 0.5) -> Callable[[int, float, int], float]:
    """Return the times of an engine that is not faster with more than so many items at once."""
    return lambda num_items, _now, num_running: num_items * item_s * max(1.0, num_running / places)


def bench(max_concurrency: int, *engines: int) -> Bench:
    nodes = [slot(saturating(places), setup_s=5.0) for places in engines]
    return Bench(nodes, max_concurrency=max_concurrency)


def hosts(bench: Bench) -> list[HostRecord]:
    return list(bench.scheduler.cluster.hosts.values())


@pytest.mark.parametrize("max_concurrency", [1, 4, FIRST_PLACES])
def test_contexts_of_moderate_concurrency_get_all_their_places_at_once(
    max_concurrency: int,
) -> None:
    run = bench(max_concurrency, 1)
    run.call(500)
    assert [host.num_places for host in hosts(run)] == [max_concurrency]
    num_first = sum(sent_at == run.sent[0][0] for sent_at, _, _ in run.sent)
    assert num_first == max_concurrency


def test_host_of_a_very_concurrent_context_begins_with_few_places() -> None:
    run = bench(256, 1000)
    run.call(500)
    assert sum(sent_at <= 5.4 for sent_at, _, _ in run.sent) == FIRST_PLACES


@pytest.mark.parametrize(("saturated_by", "learned"), [(10, 16), (64, 64), (100, 128), (999, 256)])
def test_places_double_while_the_host_is_faster_that_way(saturated_by: int, learned: int) -> None:
    run = bench(256, saturated_by)
    run.call(6000)
    assert [host.num_places for host in hosts(run)] == [learned]


def test_saturated_rate_is_reached_by_single_calls() -> None:
    run = bench(256, 64)
    num_calls = 20_000
    assert run.call(num_calls) - 5.0 <= num_calls * 0.5 / 64 / 0.95


def test_new_host_begins_with_what_others_have_learned() -> None:
    run = bench(256, 64)
    run.call(5000)
    context = hosts(run)[0].context
    assert context.places == {"cpu": 64}
    manager = hosts(run)[0].manager
    newcomer = HostRecord(hosts(run)[0].host_id, context, manager, ())
    assert newcomer.num_places == 64


def test_more_places_are_tried_again_after_a_while() -> None:
    before, after = saturating(16), saturating(64)
    change_at = 60.0
    node = slot(lambda n, now, k: (before if now < change_at else after)(n, now, k), setup_s=5.0)
    run = Bench([node], max_concurrency=64)
    run.call(12_000)
    assert run.ended_at > change_at + TRY_AGAIN_S
    assert [host.num_places for host in hosts(run)] == [64]


def test_host_that_is_not_full_learns_nothing() -> None:
    run = bench(256, 1000)
    for _ in range(100):
        run.call(FIRST_PLACES - 1)
    assert [host.num_places for host in hosts(run)] == [FIRST_PLACES]


def test_work_goes_to_the_host_with_the_most_room_for_its_places() -> None:
    run = bench(64, 16, 64)
    run.call(6000)
    assert sorted(host.num_places for host in hosts(run)) == [16, 64]
    slow, fast = sorted(run.hosts.values(), key=lambda host: host.manager_id)
    sent_to = {n: sum(host == n for _, host, _ in run.sent) for n in (slow.host_id, fast.host_id)}
    assert sent_to[fast.host_id] >= 3 * sent_to[slow.host_id]
