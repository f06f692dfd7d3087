"""Messages to frames and back. Pure: bytes in, messages out.

A batch is ``[head, payload frame, payload frame, ...]``; the head is a msgpack list of
``(message, number of its payload frames)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from parsl_pcm.wire.messages import AnyMessage


class ProtocolError(ValueError):
    """Bytes that no peer of ours sends: our bug, or a stranger at the port."""


class Envelope(NamedTuple):
    """A message with its payload frames."""

    message: AnyMessage
    payload: tuple[bytes, ...] = ()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[tuple[AnyMessage, int]])


def encode(envelopes: Sequence[Envelope]) -> list[bytes]:
    """Return the frames of a batch, the head first."""
    frames = [_encoder.encode([(e.message, len(e.payload)) for e in envelopes])]
    for envelope in envelopes:
        frames.extend(envelope.payload)
    return frames


def decode(frames: Sequence[bytes]) -> list[Envelope]:
    """Return the messages of a batch.

    Raises
    ------
    ProtocolError
        If the frames are not such a batch; nothing of it is returned then.
    """
    if not frames:
        raise ProtocolError("a batch has no head frame")
    try:
        head = _decoder.decode(frames[0])
    except msgspec.DecodeError as error:
        raise ProtocolError(f"the head of a batch cannot be decoded: {error}") from error
    if sum(count for _, count in head) != len(frames) - 1:
        raise ProtocolError(
            f"a batch declares {sum(count for _, count in head)} payload frames, "
            f"but has {len(frames) - 1}"
        )
    envelopes = []
    position = 1
    for message, count in head:
        envelopes.append(Envelope(message, tuple(frames[position : position + count])))
        position += count
    return envelopes
