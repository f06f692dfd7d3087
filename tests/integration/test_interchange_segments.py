"""Segments of maps through a real interchange: which frames a piece gets, and what comes back."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from parsl_pcm.types import Digest, TaskId
from parsl_pcm.wire import codec, messages
from parsl_pcm.wire.codec import Envelope
from tests.integration.test_interchange import CONTEXT, PlayedManager, Site
from tests.running import PATIENCE_S, wait_for

M = TypeVar("M", bound=messages.Message)

ITEMS = list("abcdefgh")
FRAMES = tuple(pickle.dumps(ITEMS[start : start + 2]) for start in range(0, 8, 2))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    try:
        yield site
    finally:
        site.close()


class Worker:
    """A host that a test plays: it does what the interchange sends, and remembers it."""

    def __init__(self, manager: PlayedManager) -> None:
        self.manager = manager
        self.host_id = manager.build_host()

        self._waiting: list[tuple[messages.RunPiece, list[str]]] = []

    def next_piece(self) -> tuple[messages.RunPiece, list[str]]:
        """Return the next piece with the items that its frames hold."""
        deadline = time.monotonic() + PATIENCE_S
        while not self._waiting:
            assert time.monotonic() < deadline, "no piece came"
            if self.manager.socket.poll(100):
                for envelope in codec.decode(self.manager.socket.recv_multipart()):
                    self._take(envelope)
        return self._waiting.pop(0)

    def _take(self, envelope: Envelope) -> None:
        run = envelope.message
        if not isinstance(run, messages.RunPiece):
            return
        assert envelope.payload[0] == b"arguments"
        assert run.frames_start is not None
        held = [item for frame in envelope.payload[1:] for item in pickle.loads(frame)]
        first = run.start - run.frames_start
        items = held[first : first + run.stop - run.start]
        assert len(items) == run.stop - run.start, "the frames hold the whole piece"
        self._waiting.append((run, items))

    def finish(self, run: messages.RunPiece, items: list[str]) -> None:
        done = messages.PieceFinished(
            lease_id=run.lease_id, start=run.start, stop=run.stop, run_s=0.01
        )
        self.manager.send(done, pickle.dumps([item.upper() for item in items]))

    def fail(self, run: messages.RunPiece) -> None:
        failure = messages.Failure(kind=messages.FailureKind.RAISED, message="no c, please")
        self.manager.send(messages.PieceFailed(lease_id=run.lease_id, failure=failure))


def submit(site: Site, *, is_tolerant: bool = False) -> None:
    message = messages.SubmitTask(
        task_id=TaskId(1),
        context_key=CONTEXT,
        function=Digest("f"),
        frame_sizes=(2, 2, 2, 2),
        is_tolerant=is_tolerant,
    )
    site.client.send(Envelope(message, (b"arguments", *FRAMES)))


def delivered(site: Site, num_items: int) -> list[int]:
    """Wait for so many results, and return the items that they belong to."""

    def numbers() -> list[int]:
        ranges = [m for m in site.heard if isinstance(m, messages.RangeDelivered)]
        return sorted(number for m in ranges for number in range(m.start, m.stop))

    wait_for(lambda: len(numbers()) >= num_items, f"{num_items} results")
    return numbers()


def test_every_item_is_sent_with_its_frames_and_delivered_once(site: Site) -> None:
    manager = site.manager("first")
    submit(site)
    worker = Worker(manager)
    done: list[str] = []
    while len(done) < len(ITEMS):
        run, items = worker.next_piece()
        worker.finish(run, items)
        done += items
    assert sorted(done) == ITEMS
    assert delivered(site, 8) == list(range(8))


def test_an_item_that_raises_is_found_and_all_others_are_delivered(site: Site) -> None:
    manager = site.manager("first")
    submit(site, is_tolerant=True)
    worker = Worker(manager)
    left = set(ITEMS)
    while left:
        run, items = worker.next_piece()
        if "c" not in items:
            worker.finish(run, items)
            left -= set(items)
        else:
            worker.fail(run)
            if items == ["c"]:
                left.remove("c")
    failed = site.wait_for(messages.ItemFailed)
    assert (failed.task_id, failed.item, failed.failure.message) == (1, 2, "no c, please")
    assert delivered(site, 7) == [0, 1, 3, 4, 5, 6, 7]


def test_the_item_that_ends_a_strict_map_is_named(site: Site) -> None:
    manager = site.manager("first")
    submit(site)
    worker = Worker(manager)
    is_over = False
    while not is_over:
        run, items = worker.next_piece()
        if "c" in items:
            worker.fail(run)
            is_over = items == ["c"]
        else:
            worker.finish(run, items)
    failed = site.wait_for(messages.TaskFailed)
    assert (failed.task_id, failed.item) == (1, 2)
