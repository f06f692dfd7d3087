"""Files on their way to nodes: fair parts, peers, and nodes that go."""

from __future__ import annotations

import math
from functools import partial
from random import Random

import pytest

from parsl_pcm.simulator.engine.staging import Staging
from parsl_pcm.simulator.engine.timeline import Timeline
from parsl_pcm.types import ManagerId

A, B, C, D = (ManagerId(name) for name in "abcd")


class Bench:
    """A staging whose arrivals are written down."""

    def __init__(self, shared: float = math.inf, node: float = math.inf, peers: int = 0) -> None:
        self.time = Timeline()
        self.staging = Staging(
            self.time, shared_bytes_per_s=shared, node_bytes_per_s=node, num_peers=peers
        )
        self.arrived_at: dict[tuple[str, str], float] = {}

    def fetch(self, node: ManagerId, num_bytes: float, key: str = "k", at: float = 0.0) -> None:
        note = partial(self.note, node, key)
        self.time.at(at, lambda: self.staging.fetch(node, key, num_bytes, note))

    def note(self, node: ManagerId, key: str) -> None:
        assert (node, key) not in self.arrived_at
        self.arrived_at[node, key] = self.time.now

    def forget(self, node: ManagerId, at: float) -> None:
        self.time.at(at, lambda: self.staging.forget(node))

    def run(self) -> dict[str, float]:
        """Return when files of the key ``k`` arrived at each node."""
        while self.time.next_at() < math.inf:
            self.time.step()
        return {node: when for (node, key), when in self.arrived_at.items() if key == "k"}


def test_files_arrive_at_once_where_nothing_limits_them() -> None:
    bench = Bench()
    bench.fetch(A, 1e12)
    assert bench.run() == {A: 0.0}


def test_one_node_alone_is_limited_by_itself_or_by_the_shared_file_system() -> None:
    for shared, node in [(10.0, 100.0), (100.0, 10.0), (math.inf, 10.0), (10.0, math.inf)]:
        bench = Bench(shared, node)
        bench.fetch(A, 50.0, at=3.0)
        assert bench.run() == {A: 8.0}


def test_nodes_have_equal_parts_of_the_shared_file_system() -> None:
    bench = Bench(shared=10.0)
    bench.fetch(A, 50.0)
    bench.fetch(B, 100.0)
    bench.fetch(C, 50.0, at=5.0)
    # 5 each until 5 s (25 left, 75 left); then 10/3 each until a has 25 more at 12.5 s, and so on
    assert bench.run() == pytest.approx({A: 12.5, C: 17.5, B: 20.0})


def test_what_one_cannot_take_goes_to_the_others() -> None:
    bench = Bench(shared=10.0, node=6.0)
    for key in ("k", "l", "m"):
        bench.fetch(A, 20.0, key)  # three transfers into one node: 2 each
    bench.fetch(B, 40.0)  # 4 of what is left, not a quarter of 10
    assert bench.run() == pytest.approx({A: 10.0, B: 10.0})


def test_several_fetches_of_the_same_files_on_a_node_are_one_transfer() -> None:
    bench = Bench(node=10.0)
    told: list[float] = []
    for at in (0.0, 2.0, 30.0):
        fetch = partial(bench.staging.fetch, A, "k", 100.0, lambda: told.append(bench.time.now))
        bench.time.at(at, fetch)
    bench.run()
    assert told == [10.0, 10.0, 30.0]
    assert bench.staging.has(A, "k")


def test_files_that_were_dropped_are_fetched_again() -> None:
    bench = Bench(node=10.0)
    bench.fetch(A, 100.0)
    bench.run()
    bench.arrived_at.clear()
    bench.staging.drop(A, "k")
    bench.fetch(A, 100.0)
    assert bench.run() == {A: 20.0}


def test_nodes_with_peers_fill_the_pool_in_the_time_of_a_tree() -> None:
    bench = Bench(shared=10.0, node=10.0, peers=1)
    nodes = [ManagerId(f"n{number}") for number in range(8)]
    for node in nodes:
        bench.fetch(node, 100.0)
    # 1 after 10 s, 1 + 2 after 20 s (the shared file system goes on serving), 3 + 4, 7 + 1
    assert sorted(bench.run().values()) == [10.0] + [20.0] * 2 + [30.0] * 4 + [40.0]


def test_peer_shares_its_bandwidth_among_those_that_it_serves() -> None:
    bench = Bench(shared=1.0, node=10.0, peers=3)
    bench.fetch(A, 0.0)
    bench.fetch(D, 50.0, key="other")  # keeps the shared file system busy
    bench.fetch(B, 100.0, at=1.0)
    bench.fetch(C, 100.0, at=1.0)
    assert bench.run() == {A: 0.0, B: 21.0, C: 21.0}


def test_node_that_dropped_files_serves_nobody() -> None:
    bench = Bench(shared=1.0, node=10.0, peers=1)
    bench.fetch(A, 0.0)
    bench.run()
    bench.staging.drop(A, "k")
    bench.fetch(B, 50.0)
    assert bench.run()[B] == 50.0


def test_what_a_peer_served_that_goes_begins_again_elsewhere() -> None:
    bench = Bench(shared=10.0, node=10.0, peers=1)
    bench.fetch(A, 100.0)
    bench.fetch(B, 100.0, at=10.0)  # from a, until it goes
    bench.forget(A, 15.0)
    arrived = bench.run()
    assert arrived[B] == pytest.approx(25.0)


def test_transfers_to_a_node_that_goes_never_arrive_and_leave_their_parts_to_others() -> None:
    bench = Bench(shared=10.0)
    bench.fetch(A, 50.0)
    bench.fetch(B, 50.0)
    bench.forget(A, 5.0)
    assert bench.run() == pytest.approx({B: 7.5})
    assert not bench.staging.has(A, "k")


@pytest.mark.parametrize("seed", range(20))
def test_rates_are_those_of_a_fluid_computed_step_by_step(seed: int) -> None:
    random = Random(seed)
    shared, node = random.choice([20.0, 100.0]), random.choice([10.0, 30.0, math.inf])
    wants = [
        (random.uniform(0.0, 5.0), ManagerId(f"n{random.randrange(6)}"), f"k{number}")
        for number in range(20)
    ]
    sizes = {key: random.uniform(1.0, 200.0) for _, _, key in wants}
    bench = Bench(shared, node)
    for at, to, key in wants:
        bench.fetch(to, sizes[key], key, at)
    bench.run()
    arrived_at = {key: when for (_, key), when in bench.arrived_at.items()}
    expected = fluid({key: (at, to, sizes[key]) for at, to, key in wants}, shared, node)
    assert arrived_at == pytest.approx(expected)


def fluid(
    wants: dict[str, tuple[float, str, float]], shared: float, node: float
) -> dict[str, float]:
    """Return when each arrives, by the definition: from one change of the rates to the next."""
    now, left, arrived = 0.0, {key: size for key, (_, _, size) in wants.items()}, {}
    while left:
        moving = [key for key in left if wants[key][0] <= now]
        rates = fair_rates({key: wants[key][1] for key in moving}, shared, node)
        ends = [now + left[key] / rates[key] for key in moving]
        begins = [wants[key][0] for key in left if wants[key][0] > now]
        later = min(ends + begins)
        for key in moving:
            left[key] -= (later - now) * rates[key]
            if left[key] <= 1e-9:
                arrived[key] = later
                del left[key]
        now = later
    return arrived


def fair_rates(to: dict[str, str], shared: float, node: float) -> dict[str, float]:
    """Return the rates of transfers by filling all of them evenly until they are full."""
    most = {key: node / list(to.values()).count(place) for key, place in to.items()}
    rates: dict[str, float] = {}
    for key in sorted(most, key=lambda key: most[key]):
        part = (shared - sum(rates.values())) / (len(most) - len(rates))
        rates[key] = min(most[key], part)
    return rates
