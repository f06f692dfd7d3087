"""A real manager whose host gives the results of a piece part by part."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parsl_pcm import pickling
from parsl_pcm.types import HostId, LeaseId, TaskId
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.messages import (
    HostExited,
    HostReady,
    ManagerClosing,
    ManagerLeaving,
    PieceFinished,
    PieceRevoked,
    RevokePiece,
    RunPiece,
    StoreBlob,
)
from tests.interchange_driver import InterchangeDriver, children_of

HOST_ID = HostId(1)
LEASE_ID = LeaseId(5)


def run_mapped(interchange: InterchangeDriver, identity: bytes, gate: Path) -> None:
    """Have a host yield two results, and the other two when the gate is there."""
    gate_path = str(gate)

    def wait_at_two(items: list[int]) -> Iterator[int]:
        import pathlib
        import time

        for i in items:
            while i == 2 and not pathlib.Path(gate_path).exists():
                time.sleep(0.01)
            yield i

    blob = pickling.dump_function(wait_at_two)
    digest = pickling.digest_of(blob)
    arguments, _ = pickling.dump_arguments((), {})
    piece = RunPiece(
        host_id=HOST_ID,
        lease_id=LEASE_ID,
        task_id=TaskId(6),
        start=0,
        stop=4,
        function=digest,
        frames_start=0,
    )
    interchange.send(
        identity,
        Envelope(StoreBlob(digest=digest), (blob,)),
        Envelope(piece, (arguments, pickling.dump_items([0, 1, 2, 3]))),
    )


def results_until(interchange: InterchangeDriver, identity: bytes, start: int, stop: int) -> Any:
    results: list[int] = []
    while start + len(results) < stop:
        message, payload = interchange.receive(identity)
        assert isinstance(message, PieceFinished), message
        results += pickling.load_result(payload[0])
        assert (message.lease_id, message.stop) == (LEASE_ID, start + len(results))
    return results


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "gate"


@pytest.fixture
def identity(interchange: InterchangeDriver, gate: Path) -> bytes:
    """Give a manager whose host has yielded two results of four."""
    interchange.start_manager()
    identity, _ = interchange.accept()
    interchange.start_host(identity)
    interchange.expect(identity, HostReady)
    run_mapped(interchange, identity, gate)
    assert results_until(interchange, identity, 0, 2) == [0, 1]
    return identity


def test_piece_of_which_a_part_is_told_is_finished_after_a_notice(
    interchange: InterchangeDriver, identity: bytes, gate: Path
) -> None:
    interchange.managers[0].terminate()
    interchange.expect(identity, ManagerClosing)
    gate.touch()
    assert results_until(interchange, identity, 2, 4) == [2, 3]
    assert "nothing is left" in interchange.expect(identity, ManagerLeaving).reason


def test_manager_has_no_work_left_when_a_piece_is_cut_short(
    interchange: InterchangeDriver, identity: bytes, gate: Path
) -> None:
    waiting, handed_back = LeaseId(7), LeaseId(8)
    for lease_id in (waiting, handed_back):
        interchange.run(identity, lambda: None, lease_id=lease_id)
    interchange.tell(identity, RevokePiece(host_id=HOST_ID, lease_id=handed_back))
    assert interchange.expect(identity, PieceRevoked).lease_id == handed_back  # both came there
    interchange.managers[0].terminate()
    interchange.expect(identity, ManagerClosing)
    for lease_id in (LEASE_ID, waiting):
        interchange.tell(identity, RevokePiece(host_id=HOST_ID, lease_id=lease_id))
    assert interchange.expect(identity, PieceRevoked).lease_id == waiting  # it has read both
    gate.touch()
    assert results_until(interchange, identity, 2, 3) == [2]
    assert interchange.expect(identity, PieceRevoked).lease_id == LEASE_ID
    assert "nothing is left" in interchange.expect(identity, ManagerLeaving).reason


@pytest.mark.parametrize("is_noticed", [False, True])
def test_host_that_dies_in_a_piece_leaves_the_rest_to_others(
    interchange: InterchangeDriver, identity: bytes, is_noticed: bool
) -> None:
    manager = interchange.managers[0]
    (host,) = children_of(manager)
    if is_noticed:
        manager.terminate()
        interchange.expect(identity, ManagerClosing)
    host.send_signal(signal.SIGKILL)
    if is_noticed:
        assert interchange.expect(identity, PieceRevoked).lease_id == LEASE_ID
    assert "SIGKILL" in interchange.expect(identity, HostExited).description
