"""Turns of the thread, one at a time and without the thread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from parsl_pcm.elasticity import Elasticity
from parsl_pcm.provider import Flavour, OpportunisticProvider
from parsl_pcm.provider.schedulers.observations import Ending, JobPhase
from parsl_pcm.types import BlockId, Requirements
from parsl_pcm.wire.messages import AnyMessage, BlockGone, BlockNotice
from tests.fake_site import FakeSite


class FakeBlocks:
    """An executor whose blocks are numbered like their jobs, with a letter before."""

    def __init__(self, provider: OpportunisticProvider) -> None:
        self.provider = provider
        self.num_wanted = 0
        self.num_hosts = 0
        self.num_warm = 0
        self.uses: dict[str, dict[str, Any]] = {}
        self.told: list[AnyMessage] = []
        self.given_back: list[str] = []
        self.ended: list[str] = []

    def block_of_job(self, job_id: str) -> BlockId | None:
        return BlockId(f"b{job_id}")

    def job_of_block(self, block_id: BlockId) -> str | None:
        return block_id[1:]

    def ask_demand(self) -> dict[str, Any]:
        needs = msgspec.to_builtins(Requirements(gpus=1, cores=1.0))
        row = {"name": "llm", "context_key": "k", "ways": [needs], "setup_s": 1.0}
        row |= {
            "num_wanted": self.num_wanted,
            "num_hosts": self.num_hosts,
            "num_open": self.num_wanted,
            "num_warm": self.num_warm,
        }
        return {"contexts": [row], "blocks": list(self.uses.values())}

    def tell_interchange(self, message: AnyMessage) -> None:
        self.told.append(message)

    def scale_out_facade(self, n: int) -> list[str]:
        return [f"b{self.provider.submit('manager', 1)}" for _ in range(n)]

    def give_back(self, block_ids: Sequence[BlockId]) -> None:
        self.given_back += block_ids
        self.provider.cancel([block_id[1:] for block_id in block_ids])

    def job_ended(self, job_id: str) -> None:
        self.ended.append(job_id)

    def use(
        self, block_id: str, *, num_leases: int, idle_s: float = 0.0, keep_warm_s: float = 0.0
    ) -> None:
        self.uses[block_id] = {
            "block_id": block_id,
            "num_managers": 1,
            "num_leases": num_leases,
            "num_starting": 0,
            "idle_s": idle_s,
            "setup_s": 1.0,
            "keep_warm_s": keep_warm_s,
        }


class Bed:
    def __init__(self, num_idle: int, **settings: Any) -> None:
        self.site = FakeSite(num_idle=num_idle)
        flavour = Flavour("fake", self.site, probe=self.site, jobs=self.site)
        self.provider = OpportunisticProvider([flavour], **settings)
        self.blocks = FakeBlocks(self.provider)
        self.errors: list[Exception] = []
        self.elasticity = Elasticity(self.blocks, self.provider, self.errors.append)

    def turn(self) -> bool:
        return self.elasticity._turn()


def test_site_is_left_alone_while_there_is_neither_work_nor_a_block() -> None:
    bed = Bed(num_idle=3)
    assert bed.turn() is False
    assert bed.site.num_looks == 0


def test_work_grows_onto_what_is_idle() -> None:
    bed = Bed(num_idle=2)
    bed.blocks.num_wanted = 5
    assert bed.turn() is True
    assert len(bed.site.in_queue) == 2


def test_wish_for_warm_hosts_is_work_and_keeps_its_blocks() -> None:
    bed = Bed(num_idle=3, keep_warm_s=5.0)
    bed.blocks.num_wanted = bed.blocks.num_warm = 1
    assert bed.turn() is True
    assert list(bed.site.in_queue) == ["1"]
    bed.site.run("1")
    bed.blocks.num_hosts = 1
    bed.blocks.use("b1", num_leases=0, idle_s=100.0, keep_warm_s=math.inf)
    assert bed.turn() is True
    assert bed.blocks.given_back == []
    bed.blocks.num_wanted = bed.blocks.num_warm = 0
    bed.blocks.use("b1", num_leases=0, idle_s=100.0)
    bed.turn()
    assert bed.blocks.given_back == ["b1"]


def test_minimum_is_held_without_work() -> None:
    bed = Bed(num_idle=2, min_blocks=1)
    assert bed.turn() is True
    assert len(bed.site.in_queue) == 1


def test_notice_of_the_site_is_passed_on_once() -> None:
    bed = Bed(num_idle=1)
    bed.blocks.num_wanted = 1
    bed.turn()
    bed.site.change("1", phase=JobPhase.RUNNING, notice_s=9.5)
    bed.turn()
    bed.turn()
    notice = BlockNotice(block_id=BlockId("b1"), num_restarts=0, remaining_s=9.5)
    assert bed.blocks.told == [notice]


def test_requeued_job_has_lost_its_earlier_manager_alone() -> None:
    bed = Bed(num_idle=1)
    bed.blocks.num_wanted = 1
    bed.turn()
    bed.site.run("1")
    bed.turn()
    bed.site.change("1", phase=JobPhase.PENDING, num_restarts=2, words="PENDING (BeginTime)")
    bed.turn()
    (gone,) = bed.blocks.told
    assert isinstance(gone, BlockGone)
    assert gone.num_restarts == 1


def test_ended_job_has_lost_all_managers_and_leaves_the_ledger() -> None:
    bed = Bed(num_idle=1)
    bed.blocks.num_wanted = 1
    bed.turn()
    bed.site.num_idle = 0
    bed.site.end("1", Ending.PREEMPTED)
    bed.turn()
    (gone,) = bed.blocks.told
    assert isinstance(gone, BlockGone)
    assert gone.num_restarts == 0
    assert bed.blocks.ended == ["1"]


def test_idle_block_at_the_tail_is_given_back() -> None:
    bed = Bed(num_idle=2)
    bed.blocks.num_wanted = 2
    bed.turn()
    for number in ("1", "2"):
        bed.site.run(number)
        bed.blocks.use(f"b{number}", num_leases=1)
    bed.site.num_idle = 0
    bed.blocks.num_hosts = 2
    bed.turn()
    bed.blocks.num_wanted = 1
    bed.blocks.use("b2", num_leases=0, idle_s=3.0)
    bed.turn()
    assert bed.blocks.given_back == ["b2"]
    assert bed.site.cancelled == ["2"]


def test_failure_of_ours_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed(num_idle=1)

    def fail() -> dict[str, Any]:
        raise KeyError("a bug")

    monkeypatch.setattr(bed.blocks, "ask_demand", fail)
    bed.elasticity._run()
    assert [type(error) for error in bed.errors] == [KeyError]


def test_work_is_heeded_only_while_no_look_is_planned() -> None:
    bed = Bed(num_idle=1)
    called = bed.elasticity._is_called
    bed.elasticity.work_came()
    assert called.is_set()
    called.clear()
    bed.elasticity._heeds_work = False
    bed.elasticity.work_came()
    assert not called.is_set()
    bed.elasticity.wake()
    assert called.is_set()
