"""The host's end of the socket pair: whole messages in and out."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

from parsl_pcm.wire import codec, stream
from parsl_pcm.wire.codec import Envelope

_READ_BYTES = 1 << 18
"""As much as a socket pair holds by default (212,992 bytes on Linux), rounded up."""
_JOIN_BYTES = 1 << 16
"""Below this, copying the chunks into one is cheaper than another system call."""


class Connection:
    """Blocking sends from any thread, receiving in one."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._send_lock = threading.Lock()

    def send(self, *envelopes: Envelope) -> None:
        """Send one batch, whole, after those of other threads.

        Raises
        ------
        OSError
            If the manager is gone.
        """
        chunks = stream.pack(codec.encode(envelopes))
        if sum(map(len, chunks)) < _JOIN_BYTES:
            chunks = [b"".join(chunks)]
        with self._send_lock:
            for chunk in chunks:
                self._socket.sendall(chunk)

    def receive(self) -> Iterator[Envelope]:
        """Wait for messages and give them one by one; ends when the manager is gone."""
        unpacker = stream.Unpacker()
        space = bytearray(_READ_BYTES)
        view = memoryview(space)
        while num_bytes := self._receive_into(space):
            for frames in unpacker.feed(view[:num_bytes]):
                yield from codec.decode(frames)

    def _receive_into(self, space: bytearray) -> int:
        try:
            return self._socket.recv_into(space)
        except ConnectionResetError:  # it left without reading what we had sent
            return 0
