"""What the manager has sent and nobody has taken yet, filled by a thread of its own."""

from __future__ import annotations

import os
import queue
import signal
import threading
import traceback
from typing import TypeAlias

from parsl_pcm.host.connection import Connection
from parsl_pcm.types import Digest, LeaseId
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.messages import (
    PieceRevoked,
    PrepareHost,
    RevokePiece,
    RunPiece,
    SleepHost,
    StartHost,
    StopHost,
    StoreBlob,
    WakeHost,
)

Order: TypeAlias = LeaseId | SleepHost | WakeHost | None
"""What the main thread does next: a piece, or the message as it came. None: stop."""


class Recall:
    """Whether nobody wants what is left of a mapped piece from this host any more."""

    __slots__ = ("is_made",)

    def __init__(self) -> None:
        self.is_made = False


class Inbox:
    """Receives while the main thread runs user code, for hours perhaps.

    A thread is needed for that: the next piece must be here when one ends, a piece must be
    handed back while another runs, and the host must end at once when its manager is gone.
    Nobody joins it: it watches until the very end of the process, clean-up code included.
    """

    def __init__(self, connection: Connection) -> None:
        self.blobs: dict[Digest, bytes] = {}
        self._connection = connection
        self._starts: queue.SimpleQueue[PrepareHost | StartHost] = queue.SimpleQueue()
        self._orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
        # dict.pop is atomic: of a runner and a revocation that want the same piece, one gets it.
        self._waiting: dict[LeaseId, Envelope] = {}
        self._recalls: dict[LeaseId, Recall] = {}
        threading.Thread(target=self._receive, name="pcm-inbox", daemon=True).start()

    def wait_for_start(self) -> PrepareHost | StartHost:
        """Wait for what to import, or for the order to build a context.

        The recipes of the context are in `blobs` by then.
        """
        return self._starts.get()

    def wait_for_order(self) -> Order:
        """Wait for what to do next, as the manager has sent it."""
        return self._orders.get()

    def claim(self, lease_id: LeaseId) -> Envelope | None:
        """Take a piece for running; None if it has been handed back meanwhile."""
        return self._waiting.pop(lease_id, None)

    def recall_of(self, lease_id: LeaseId) -> Recall:
        """Return what tells whether the rest of a mapped piece is still wanted from this host."""
        return self._recalls[lease_id]

    def forget(self, lease_id: LeaseId) -> None:
        """Take note that a mapped piece has ended."""
        self._recalls.pop(lease_id, None)

    def _receive(self) -> None:
        try:
            for envelope in self._connection.receive():
                self._sort(envelope)
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            # The manager is gone (or sends nonsense). Nobody wants our results: end, together with
            # every process that the context started, whatever the main thread is busy with.
            os.killpg(0, signal.SIGKILL)

    def _sort(self, envelope: Envelope) -> None:
        match envelope.message:
            case StoreBlob(digest=digest):
                self.blobs[digest] = envelope.payload[0]
            case RunPiece(lease_id=lease_id, frames_start=frames_start):
                if frames_start is not None:
                    self._recalls[lease_id] = Recall()
                self._waiting[lease_id] = envelope
                self._orders.put(lease_id)
            case RevokePiece(lease_id=lease_id):
                self._revoke(lease_id)
            case PrepareHost() | StartHost() as start:
                self._starts.put(start)
            case SleepHost() | WakeHost() as order:
                self._orders.put(order)
            case StopHost():
                self._waiting.clear()
                for recall in list(self._recalls.values()):
                    recall.is_made = True
                self._orders.put(None)
            case unknown:
                raise TypeError(f"a manager never sends {type(unknown).__name__} to a host")

    def _revoke(self, lease_id: LeaseId) -> None:
        if self._waiting.pop(lease_id, None) is not None:
            self.forget(lease_id)
            self._connection.send(Envelope(PieceRevoked(lease_id=lease_id)))
        elif (recall := self._recalls.get(lease_id)) is not None:
            recall.is_made = True
