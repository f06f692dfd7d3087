"""Framing of the socket pair between manager and host."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from parsl_pcm.wire import stream

BATCHES = st.lists(st.lists(st.binary(max_size=40), max_size=4), max_size=6)


def test_batch_survives() -> None:
    frames = [b"head", b"", b"x" * 1000]
    assert stream.Unpacker().feed(b"".join(stream.pack(frames))) == [frames]


def test_frames_are_not_copied_for_packing() -> None:
    frame = b"x" * 1000
    assert stream.pack([b"head", frame])[2] is frame


def test_incomplete_batch_waits_for_its_rest() -> None:
    data = b"".join(stream.pack([b"head", b"payload"]))
    unpacker = stream.Unpacker()
    assert unpacker.feed(data[:-1]) == []
    assert unpacker.feed(data[-1:]) == [[b"head", b"payload"]]


def test_received_memory_may_be_used_again_at_once() -> None:
    space = bytearray(b"".join(stream.pack([b"payload"])))
    batches = stream.Unpacker().feed(memoryview(space))
    space[:] = bytes(len(space))
    assert batches == [[b"payload"]]


@given(batches=BATCHES, chunk_size=st.integers(min_value=1, max_value=50))
def test_batches_survive_any_splitting(batches: list[list[bytes]], chunk_size: int) -> None:
    data = b"".join(chunk for frames in batches for chunk in stream.pack(frames))
    unpacker = stream.Unpacker()
    received: list[list[bytes]] = []
    for position in range(0, len(data), chunk_size):
        received += unpacker.feed(data[position : position + chunk_size])
    assert received == batches
