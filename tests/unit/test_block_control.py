from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from parsl_pcm.block_control import BlockControl
from parsl_pcm.errors import InterchangeLost
from parsl_pcm.provider import Flavour, OpportunisticProvider
from parsl_pcm.types import Requirements
from tests.fake_site import FakeSite

CPU = Requirements(cores=1.0)


class Client:
    """An interchange that knows what contexts could use; None: it is gone."""

    is_own_thread = False

    def __init__(self, *demands: dict[str, Any]) -> None:
        self.demands: tuple[dict[str, Any], ...] | None = demands

    def ask(self, name: str, *, timeout_s: float) -> Any:
        assert name == "DEMAND"
        if self.demands is None:
            raise InterchangeLost("gone")
        return {"contexts": list(self.demands)}


def demand(num_wanted: int, num_warm: int = 0) -> dict[str, Any]:
    needs = {"gpus": 0, "cores": 1.0}
    counts = {"num_wanted": num_wanted, "num_warm": num_warm, "hosts_per_gpu": None}
    return {**counts, "item_s": 1.0, "ways": [needs]}


def control(*demands: dict[str, Any], provider: Any = None, num_blocks: int = 1) -> BlockControl:
    running = SimpleNamespace(terminal=False)
    executor: Any = SimpleNamespace(
        _status=dict.fromkeys(range(num_blocks), running),
        workers_per_node=1,
        cores_per_worker=1.0,
        blocks_to_job_id={},
    )
    provider = provider or SimpleNamespace(max_blocks=3, nodes_per_block=2)
    client: Any = Client(*demands)
    jobs: Any = SimpleNamespace()
    return BlockControl(executor, provider, client, jobs, lambda error: None)


def test_work_wants_slots_while_a_future_is_open() -> None:
    assert control(demand(3)).slots_wanted(5) == 3
    assert control(demand(3)).slots_wanted(0) == 0, "what is left is about to end"


def test_wish_for_warm_hosts_wants_slots_without_any_future() -> None:
    assert control(demand(2, num_warm=2), demand(3)).slots_wanted(0) == 2
    assert control(demand(2, num_warm=2), demand(3)).slots_wanted(1) == 5


def test_futures_count_if_nobody_answers() -> None:
    lost = control()
    lost._client.demands = None  # type: ignore[attr-defined]
    assert lost.slots_wanted(7) == 7
    asked_in_its_thread = control(demand(3))
    asked_in_its_thread._client.is_own_thread = True  # type: ignore[misc]
    assert asked_in_its_thread.slots_wanted(7) == 7


@pytest.mark.parametrize(
    ("hosts_on_nodes", "num_to_come"),
    [([], None), ([1, 4], 16), ([1, 1, 1, 1, 1, 1], 0), ([0], 0)],
)
def test_nodes_to_come_are_taken_to_be_like_the_largest_one(
    hosts_on_nodes: list[int], num_to_come: int | None
) -> None:
    assert control().hosts_to_come([CPU], hosts_on_nodes, 1) == num_to_come


def test_provider_that_knows_its_nodes_tells_what_they_hold_before_any_came() -> None:
    site = FakeSite(num_idle=8)
    flavour = Flavour("a10", site, gpu_type="a10", probe=site, jobs=site)
    blocks = control(provider=OpportunisticProvider([flavour], max_blocks=3))
    needs = Requirements(gpus=1, gpu_memory_bytes=7 * 10**9)
    assert blocks.hosts_to_come([needs], [], 0) == 9
    assert blocks.hosts_to_come([needs], [3, 3], 2) == 3
