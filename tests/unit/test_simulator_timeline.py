"""Virtual time."""

from __future__ import annotations

import math

from parsl_pcm.simulator.engine.timeline import Timeline


def test_what_is_planned_happens_in_order_and_at_the_same_time_in_order_of_planning() -> None:
    time = Timeline()
    seen: list[tuple[float, str]] = []
    for when, name in [(2.0, "c"), (1.0, "a"), (1.0, "b")]:
        time.at(when, lambda name=name: seen.append((time.now, name)))  # type: ignore[misc]
    while time.next_at() < math.inf:
        time.step()
    assert seen == [(1.0, "a"), (1.0, "b"), (2.0, "c")]


def test_what_should_have_happened_already_happens_now() -> None:
    time = Timeline()
    time.at(5.0, lambda: time.at(3.0, lambda: None))
    time.step()
    assert time.next_at() == 5.0


def test_what_never_comes_is_not_planned() -> None:
    time = Timeline()
    time.after(math.inf, lambda: None)
    assert time.next_at() == math.inf
