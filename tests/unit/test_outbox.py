"""How the results of mapped pieces leave a host."""

from __future__ import annotations

import threading
from typing import Any

from parsl_pcm import pickling
from parsl_pcm.host import outbox as outbox_module
from parsl_pcm.host.inbox import Recall
from parsl_pcm.host.outbox import Delivery, Outbox
from parsl_pcm.types import Digest, HostId, LeaseId, TaskId
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.messages import PieceFailed, PieceFinished, PieceRevoked, RunPiece

WAIT_S = 20.0


class Socket:
    """Takes batches; holds each but the first ones until it is allowed to leave."""

    def __init__(self) -> None:
        self.batches: list[list[tuple[Any, ...]]] = []
        self.is_busy = threading.Event()
        self._may_leave = threading.Event()

    def send(self, *envelopes: Envelope) -> None:
        self.batches.append([summary(envelope) for envelope in envelopes])
        self.is_busy.set()
        assert self._may_leave.wait(WAIT_S)

    def open(self) -> None:
        self._may_leave.set()


def summary(envelope: Envelope) -> tuple[Any, ...]:
    match envelope.message:
        case PieceFinished(lease_id=lease_id, start=start, stop=stop, run_s=run_s):
            return lease_id, start, stop, run_s, pickling.load_result(envelope.payload[0])
        case PieceFailed(lease_id=lease_id):
            return lease_id, "failed"
        case PieceRevoked(lease_id=lease_id):
            return lease_id, "revoked"
        case other:
            raise AssertionError(other)


def verify() -> None: ...


def delivery_of(outbox: Outbox, lease_id: int = 1, *, start: int = 0, stop: int = 100) -> Delivery:
    piece = RunPiece(
        host_id=HostId(1),
        lease_id=LeaseId(lease_id),
        task_id=TaskId(1),
        start=start,
        stop=stop,
        function=Digest("d"),
        frames_start=0,
    )
    return Delivery(outbox, piece, verify, Recall())


def revoked(lease_id: int) -> Envelope:
    return Envelope(PieceRevoked(lease_id=LeaseId(lease_id)))


def test_what_was_put_while_the_socket_was_busy_leaves_as_one_range() -> None:
    socket = Socket()
    outbox = Outbox(socket.send)
    delivery = delivery_of(outbox, start=10)
    delivery.put(["a"], 1.0)
    assert socket.is_busy.wait(WAIT_S)
    delivery.put(["b"], 2.0)
    delivery.put(["c", "d"], 4.0)
    socket.open()
    outbox.close()
    assert socket.batches == [
        [(1, 10, 11, 1.0, ["a"])],
        [(1, 11, 14, 6.0, ["b", "c", "d"])],
    ]


def test_leases_share_a_batch_and_keep_their_order() -> None:
    socket = Socket()
    outbox = Outbox(socket.send)
    one, two = delivery_of(outbox, 1), delivery_of(outbox, 2)
    one.put([1], 1.0)
    assert socket.is_busy.wait(WAIT_S)
    two.put([20], 1.0)
    one.put([2], 1.0)
    two.put([21], 1.0)
    two.end(revoked(2))
    one.put([3], 1.0)
    socket.open()
    outbox.close()
    assert socket.batches[1:] == [
        [(2, 0, 2, 2.0, [20, 21]), (2, "revoked"), (1, 1, 3, 2.0, [2, 3])],
    ]


def test_nothing_follows_a_result_that_cannot_be_pickled() -> None:
    socket = Socket()
    outbox = Outbox(socket.send)
    delivery = delivery_of(outbox)
    delivery.put([1], 1.0)
    assert socket.is_busy.wait(WAIT_S)
    assert delivery.is_wanted
    delivery.put([2, threading.Lock(), 3], 3.0)
    delivery.end(revoked(1))
    socket.open()
    outbox.close()
    delivery.put([4], 1.0)
    assert not delivery.is_wanted
    assert delivery.take().reports() == []
    assert socket.batches[1:] == [[(1, 1, 2, 1.0, [2]), (1, "failed")]]


def test_recalled_delivery_is_not_wanted() -> None:
    outbox = Outbox(lambda *envelopes: None)
    recall = Recall()
    delivery = Delivery(outbox, delivery_of(outbox).piece, verify, recall)
    assert delivery.is_wanted
    recall.is_made = True
    assert not delivery.is_wanted
    outbox.close()


def test_apps_wait_while_too_many_bytes_wait() -> None:
    socket = Socket()
    outbox = Outbox(socket.send)
    delivery = delivery_of(outbox)
    delivery.put([b"x" * (outbox_module.MAX_WAITING_BYTES // 4)], 1.0)  # tells the size of others
    assert socket.is_busy.wait(WAIT_S)
    for _ in range(3):
        delivery.put([b""], 1.0)
        assert not delivery.must_wait
    delivery.put([b""], 1.0)
    assert delivery.must_wait
    has_room = threading.Event()
    waiting = threading.Thread(target=lambda: (delivery.wait_for_room(), has_room.set()))
    waiting.start()
    assert not has_room.is_set()
    socket.open()
    assert has_room.wait(WAIT_S)
    waiting.join()
    outbox.close()
    assert not delivery.must_wait
    assert [batch[0][2] for batch in socket.batches] == [1, 5]


def test_close_sends_what_is_left() -> None:
    socket = Socket()
    socket.open()
    outbox = Outbox(socket.send)
    deliveries = [delivery_of(outbox, lease_id) for lease_id in range(10)]
    for delivery in deliveries:
        delivery.put([delivery.piece.lease_id], 1.0)
    outbox.close()
    sent = [results for batch in socket.batches for *_, results in batch]
    assert sent == [[lease_id] for lease_id in range(10)]
