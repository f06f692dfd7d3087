"""The manager's end of a real socket pair, with a slow or dead host at the other end."""

from __future__ import annotations

import socket

from parsl_pcm.manager.channel import Channel
from parsl_pcm.types import Digest
from parsl_pcm.wire import codec, stream
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.messages import StoreBlob


def blob(size: int) -> Envelope:
    return Envelope(StoreBlob(digest=Digest("d")), (b"x" * size,))


def test_more_than_the_socket_takes_is_sent_piece_by_piece() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = Channel(ours)
        sent = [blob(1_000_000), blob(5), blob(300_000)]
        for envelope in sent:
            channel.send([envelope])
        assert channel.has_outgoing
        unpacker = stream.Unpacker()
        received: list[Envelope] = []
        while len(received) < len(sent):
            for frames in unpacker.feed(theirs.recv(1 << 16)):
                received += codec.decode(frames)
            channel.flush()
        assert received == sent
        assert not channel.has_outgoing


def test_what_a_host_sent_before_its_end_is_received() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        channel = Channel(ours)
        theirs.sendall(b"".join(stream.pack(codec.encode([blob(10)]))))
        theirs.close()
        assert channel.receive() == [blob(10)]
        assert channel.is_closed


def test_sending_to_a_dead_host_drops_the_message() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        channel = Channel(ours)
        theirs.close()
        channel.send([blob(10)])
        assert not channel.has_outgoing


def test_silence_is_no_end() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = Channel(ours)
        assert channel.receive() == []
        assert not channel.is_closed
