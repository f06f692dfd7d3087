"""The files of contexts on nodes in virtual time, and what systems do that keep nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from parsl_pcm.core import events
from parsl_pcm.simulator.engine.parts import Model, Node, Way, each
from parsl_pcm.simulator.engine.pool import VirtualPool
from parsl_pcm.simulator.engine.staging import Staging
from parsl_pcm.simulator.engine.timeline import Timeline
from parsl_pcm.simulator.scenario import Keeps
from parsl_pcm.types import NodeResources, Requirements
from tests.seen import Seen

ONE_CORE = NodeResources(cores=1.0, memory_bytes=8 * 10**9)
TWO_CORES = NodeResources(cores=2.0, memory_bytes=8 * 10**9)
WAY = Way(
    requirements=Requirements(cores=1.0),
    piece_time=each(1.0),
    setup_s=5.0,
    files_bytes=100,
    unpack_s=2.0,
)


def model(way: Way, keeps: Keeps = Keeps.CONTEXT) -> Model:
    return Model("a", (way,), keeps=keeps)


def staged_pool(a_model: Model, *nodes: Node, seen: Seen | None = None) -> VirtualPool:
    time = Timeline()
    observe = None if seen is None else seen.observe
    return VirtualPool(
        nodes,
        [a_model],
        time=time,
        staging=Staging(time, shared_bytes_per_s=10.0),
        observe=observe,
    )


def test_files_are_staged_and_unpacked_once_for_all_hosts_of_a_node() -> None:
    seen = Seen()
    pool = staged_pool(model(WAY), Node(TWO_CORES), seen=seen)
    pool.submit_calls("a", 2)
    pool.run()
    ready = [event.setup_s for _, event in seen.of(events.HostReady)]  # type: ignore[union-attr]
    assert ready == pytest.approx([17.0, 17.0], abs=0.01)  # 10 + 2 + 5, both at the same time


def test_nodes_share_the_file_system_while_they_stage() -> None:
    seen = Seen()
    pool = staged_pool(model(WAY), Node(ONE_CORE), Node(ONE_CORE), seen=seen)
    pool.submit_calls("a", 2)
    pool.run()
    assert seen.times(events.HostReady) == pytest.approx([27.0, 27.0], abs=0.01)


def test_host_that_starts_where_the_files_are_does_not_stage_again() -> None:
    pool = staged_pool(model(WAY), Node(ONE_CORE))
    pool.submit_calls("a", 1)
    pool.submit_calls("a", 1, at=100.0)
    pool.evict("a", at=50.0)
    assert pool.run() == pytest.approx(106.0, abs=0.05)
    assert pool.tallies["a"].num_loads == 2


def test_node_that_comes_back_stages_again() -> None:
    nodes = [Node(ONE_CORE, leaves_at=18.5), Node(ONE_CORE, joins_at=30.0)]
    pool = staged_pool(model(WAY), *nodes)
    pool.submit_calls("a", 2)
    assert pool.run() == pytest.approx(48.0, abs=0.05)


def test_unpacking_takes_its_time_on_each_kind() -> None:
    seen = Seen()
    pool = staged_pool(model(replace(WAY, unpack_s={"cpu": 40.0})), Node(ONE_CORE), seen=seen)
    pool.submit_calls("a", 1)
    pool.run()
    assert seen.times(events.HostReady) == pytest.approx([55.0], abs=0.01)


# --- hosts that keep less than a context ----------------------------------------------------------


def test_system_that_keeps_files_builds_for_each_piece_and_stages_once() -> None:
    seen = Seen()
    pool = staged_pool(model(WAY, Keeps.FILES), Node(ONE_CORE), seen=seen)
    pool.submit_calls("a", 3)
    pool.run()
    assert seen.times(events.HostReady) == pytest.approx([0.0], abs=0.01)
    done_at = [10.0 + 2.0 + 6.0, 24.0, 30.0]
    assert seen.times(events.PieceFinished) == pytest.approx(done_at, abs=0.05)
    assert pool.tallies["a"].built_in_pieces_s == pytest.approx(12.0 + 3 * 5.0)


def test_system_that_keeps_nothing_stages_and_builds_for_each_piece() -> None:
    seen = Seen()
    pool = staged_pool(model(WAY, Keeps.NOTHING), Node(ONE_CORE), seen=seen)
    pool.submit_calls("a", 3)
    pool.run()
    assert seen.times(events.PieceFinished) == pytest.approx([18.0, 36.0, 54.0], abs=0.05)


def test_pieces_of_a_system_that_keeps_nothing_share_the_file_system() -> None:
    seen = Seen()
    pool = staged_pool(model(WAY, Keeps.NOTHING), Node(TWO_CORES), seen=seen)
    pool.submit_calls("a", 2)
    pool.run()
    assert seen.times(events.PieceFinished) == pytest.approx([28.0, 28.0], abs=0.05)


def test_node_that_goes_while_it_stages_for_a_piece_leaves_the_piece_to_others() -> None:
    for keeps in (Keeps.FILES, Keeps.NOTHING):
        nodes = [Node(ONE_CORE, leaves_at=5.0), Node(ONE_CORE, joins_at=6.0)]
        pool = staged_pool(model(WAY, keeps), *nodes)
        pool.submit_calls("a", 1)
        assert pool.run() == pytest.approx(6.0 + 18.0, abs=0.05)
