"""One piece of a map, from its frames to what is handed over for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from parsl_pcm import pickling
from parsl_pcm.host import mapped
from parsl_pcm.host.inbox import Recall
from parsl_pcm.host.mapped import load_range, run_mapped
from parsl_pcm.host.outbox import Delivery, Outbox
from parsl_pcm.types import Digest, HostId, LeaseId, TaskId
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.messages import PieceFailed, PieceFinished, RunPiece

FRAMES = tuple(pickling.dump_items(items) for items in ([10, 11], [12], [13, 14, 15]))


class Clock:
    """Goes on only when an app says that it works."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(mapped, "monotonic_s", clock)
    return clock


def piece_of(start: int, stop: int) -> RunPiece:
    return RunPiece(
        host_id=HostId(1),
        lease_id=LeaseId(1),
        task_id=TaskId(1),
        start=start,
        stop=stop,
        function=Digest("d"),
        frames_start=10,
    )


def run(function: Callable[..., Any], start: int = 10, stop: int = 16) -> list[Envelope]:
    """Return all that is sent for the piece."""
    sent: list[Envelope] = []
    outbox = Outbox(lambda *envelopes: sent.extend(envelopes))
    arguments, _ = pickling.dump_arguments((), {})
    delivery = Delivery(outbox, piece_of(start, stop), function, Recall())
    assert run_mapped(delivery, (arguments, *FRAMES)) is None
    outbox.close()
    return sent


def total_run_s(sent: list[Envelope]) -> float:
    return sum(e.message.run_s for e in sent if isinstance(e.message, PieceFinished))


@pytest.mark.parametrize(("start", "stop"), [(10, 16), (11, 13), (15, 16), (10, 11)])
def test_items_are_those_of_the_range(start: int, stop: int) -> None:
    assert load_range(piece_of(start, stop), FRAMES) == list(range(start, stop))


def test_list_takes_the_time_of_its_call(clock: Clock) -> None:
    def work(items: list[int]) -> list[int]:
        clock.now += 3.0
        return items

    assert total_run_s(run(work)) == 3.0


def test_yields_take_the_time_until_the_app_ends(clock: Clock) -> None:
    def work(items: list[int]) -> Iterator[int]:
        for i in items:
            clock.now += 1.0
            yield i
        clock.now += 0.5

    assert total_run_s(run(work)) == 6.5


def test_iterator_takes_the_time_of_the_call_that_made_it(clock: Clock) -> None:
    def work(items: list[int]) -> Iterator[int]:
        clock.now += 2.0
        return iter(items)

    assert total_run_s(run(work)) == 2.0


def test_time_of_a_wait_for_the_socket_is_not_the_apps(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(_: Delivery) -> None:
        clock.now += 100.0

    monkeypatch.setattr(Delivery, "must_wait", True)
    monkeypatch.setattr(Delivery, "wait_for_room", wait)

    def work(items: list[int]) -> Iterator[int]:
        for i in items:
            clock.now += 1.0
            yield i

    assert total_run_s(run(work)) == 6.0


def test_iterator_without_close_will_do() -> None:
    sent = run(iter)
    assert [pickling.load_result(e.payload[0]) for e in sent][-1][-1] == 15


@pytest.mark.parametrize("num_given", [0, 1, 5])
def test_too_few_yields_are_counted(num_given: int) -> None:
    def lazy(items: list[int]) -> Iterator[int]:
        yield from items[:num_given]

    *finished, last = run(lazy)
    assert isinstance(last.message, PieceFailed)
    assert f"yielded {num_given} result" in last.message.failure.message
    results = [r for e in finished for r in pickling.load_result(e.payload[0])]
    assert results == list(range(10, 10 + num_given))


def test_last_result_is_kept_back_until_it_is_known_to_be_the_last() -> None:
    def eager(items: list[int]) -> Iterator[int]:
        yield from [*items, 0]

    *finished, last = run(eager, 10, 12)
    assert [pickling.load_result(e.payload[0]) for e in finished] == [[10]]
    assert isinstance(last.message, PieceFailed)
    assert "yielded more than 2 results for 2 items" in last.message.failure.message
