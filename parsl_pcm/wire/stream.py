"""Batches over a byte stream: the framing of the socket pair between a manager and a host. Pure.

A batch is its number of frames, the length of each, then the frames, all counts as 64-bit
little-endian integers.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

_COUNT = struct.Struct("<Q")


def pack(frames: Sequence[bytes]) -> list[bytes]:
    """Return the chunks to write for one batch; the frames are passed on, not copied."""
    header = struct.pack(f"<{len(frames) + 1}Q", len(frames), *map(len, frames))
    return [header, *frames]


class Unpacker:
    """Collects received bytes and gives back whole batches."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> list[list[bytes]]:
        """Add received bytes; return the batches that are complete now, in order."""
        self._buffer += data
        batches = []
        while (batch := self._take_batch()) is not None:
            batches.append(batch)
        return batches

    def _take_batch(self) -> list[bytes] | None:
        if len(self._buffer) < _COUNT.size:
            return None
        (num_frames,) = _COUNT.unpack_from(self._buffer)
        body = _COUNT.size * (num_frames + 1)
        if len(self._buffer) < body:
            return None
        lengths = struct.unpack_from(f"<{num_frames}Q", self._buffer, _COUNT.size)
        end = body + sum(lengths)
        if len(self._buffer) < end:
            return None
        frames = []
        position = body
        with memoryview(self._buffer) as view:
            for length in lengths:
                frames.append(bytes(view[position : position + length]))
                position += length
        del self._buffer[:end]
        return frames
