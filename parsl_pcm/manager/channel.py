"""The manager's end of the socket pair to a host: never blocks."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Sequence

from parsl_pcm.wire import codec, stream
from parsl_pcm.wire.codec import Envelope

_READ_BYTES = 1 << 18
"""As much as a socket pair holds by default (212,992 bytes on Linux), rounded up."""
_MAX_READS = 64
"""Reads of one host in one turn of the loop, 16 MiB: a large result must not starve the others."""
_MAX_CHUNKS = 256
"""Chunks for one system call; Linux allows 1024 (IOV_MAX)."""


class Channel:
    """Messages to and from one host over a non-blocking socket.

    Attributes
    ----------
    is_closed
        The host has closed its end: it is dying, or dead.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._unpacker = stream.Unpacker()
        self._space = memoryview(bytearray(_READ_BYTES))
        self._outgoing: deque[memoryview] = deque()
        self.is_closed = False

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._socket.fileno()

    @property
    def has_outgoing(self) -> bool:
        """Whether to wait until the socket takes more."""
        return bool(self._outgoing)

    def send(self, envelopes: Sequence[Envelope]) -> None:
        """Queue a batch and write as much as the socket takes."""
        self._outgoing.extend(map(memoryview, stream.pack(codec.encode(envelopes))))
        self.flush()

    def flush(self) -> None:
        """Write queued chunks until the socket is full or nothing is left."""
        try:
            while self._outgoing:
                chunks = [self._outgoing[i] for i in range(min(_MAX_CHUNKS, len(self._outgoing)))]
                self._drop_written(self._socket.sendmsg(chunks))
        except BlockingIOError:
            pass
        except OSError:  # a dead host reads nothing; its exit is noticed elsewhere
            self._outgoing.clear()

    def receive(self) -> list[Envelope]:
        """Return the messages that are complete now."""
        envelopes: list[Envelope] = []
        for _ in range(_MAX_READS):
            num_bytes = self._receive_into(self._space)
            if num_bytes == 0:
                break
            for frames in self._unpacker.feed(self._space[:num_bytes]):
                envelopes.extend(codec.decode(frames))
        return envelopes

    def close(self) -> None:
        """Give the socket back; the host sees its manager gone."""
        self._socket.close()

    def _receive_into(self, space: memoryview) -> int:
        try:
            num_bytes = self._socket.recv_into(space)
        except BlockingIOError:
            return 0
        except OSError:
            num_bytes = 0
        self.is_closed = num_bytes == 0
        return num_bytes

    def _drop_written(self, num_bytes: int) -> None:
        while num_bytes:
            chunk = self._outgoing.popleft()
            if num_bytes < len(chunk):
                self._outgoing.appendleft(chunk[num_bytes:])
                return
            num_bytes -= len(chunk)
