from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsl_pcm.types import ContextKey, Digest, HostId, LeaseId, TaskId
from parsl_pcm.wire import codec
from parsl_pcm.wire.codec import Envelope, ProtocolError
from parsl_pcm.wire.messages import (
    ManagerAlive,
    PieceFinished,
    StopHost,
    StoreBlob,
    SubmitTask,
)

SUBMIT = SubmitTask(task_id=TaskId(1), context_key=ContextKey("k"), function=Digest("d"))
FINISHED = PieceFinished(lease_id=LeaseId(7), start=0, stop=1, run_s=0.25)


def test_batch_comes_back_with_each_payload_at_its_message() -> None:
    batch = [
        Envelope(SUBMIT, (b"arguments",)),
        Envelope(ManagerAlive()),
        Envelope(FINISHED, (b"", b"second")),
        Envelope(StopHost(host_id=HostId(3))),
    ]
    assert codec.decode(codec.encode(batch)) == batch


@given(st.lists(st.lists(st.binary(max_size=50), max_size=3), max_size=5))
def test_any_payloads_survive(payloads: list[list[bytes]]) -> None:
    batch = [Envelope(StoreBlob(digest=Digest("d")), tuple(frames)) for frames in payloads]
    assert codec.decode(codec.encode(batch)) == batch


def test_payload_frames_are_passed_on_not_copied() -> None:
    blob = b"x" * 1000
    assert codec.encode([Envelope(SUBMIT, (blob,))])[1] is blob


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b"not msgpack"],
        codec.encode([Envelope(SUBMIT, (b"a",))])[:1],
        [*codec.encode([Envelope(ManagerAlive())]), b"one too many"],
    ],
    ids=["empty", "garbage", "payload missing", "payload too long"],
)
def test_what_is_no_batch_is_refused(frames: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        codec.decode(frames)
