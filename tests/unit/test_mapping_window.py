from __future__ import annotations

from parsl_pcm.mapping.window import (
    FIRST_ITEMS,
    MAX_HELD_BYTES,
    MAX_ITEMS,
    MAX_SENT_BYTES,
    MIN_ITEMS,
    Pace,
    Window,
)


def test_is_open_until_so_many_bytes_are_under_way() -> None:
    window = Window()
    window.send(10, MAX_SENT_BYTES - 1)
    assert window.is_open
    window.send(1, 1)
    assert not window.is_open
    window.end(1, 1)
    assert window.is_open


def test_little_is_sent_before_the_size_of_results_is_known() -> None:
    window = Window()
    window.send(FIRST_ITEMS, 1)
    assert not window.is_open
    window.end(1, 0)
    window.hold(1, 10)
    window.learn(1, 10)
    assert window.is_open


def test_results_that_nobody_takes_close_it() -> None:
    window = Window()
    window.hold(10, MAX_HELD_BYTES)
    assert window.is_held_up
    window.release(10, MAX_HELD_BYTES)
    assert window.is_open


def test_results_that_are_to_come_count_by_the_size_of_those_that_came() -> None:
    window = Window()
    window.learn(1, 100_000)
    window.send(MIN_ITEMS - 1, 1)
    assert window.is_open  # hosts need something
    window.send(1000, 1)
    assert not window.is_open


def test_items_are_limited_however_small_they_are() -> None:
    window = Window()
    window.learn(1, 5)
    window.send(MAX_ITEMS - 10, 1)
    window.hold(9, 9)
    assert window.is_open
    window.hold(1, 1)
    assert not window.is_open


def test_pace_is_that_of_the_last_half_minute() -> None:
    pace = Pace()
    assert pace.items_per_s(0, now=0.0) == 0.0
    for second in range(100):
        pace.note(second * (1 if second < 60 else 10), now=float(second))
    assert pace.items_per_s(990, now=99.0) == 10.0


def test_pace_falls_when_nothing_comes() -> None:
    pace = Pace()
    pace.note(0, now=0.0)
    pace.note(100, now=10.0)
    assert pace.items_per_s(100, now=10.0) == 10.0
    assert pace.items_per_s(100, now=20.0) == 5.0
    assert pace.items_per_s(100, now=100.0) == 0.0
