"""Live objects that sleep and wake."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from parsl_pcm.host.sleeping import Sleepers


class Sleeper:
    def __init__(self, name: str, told: list[str]) -> None:
        self.name = name
        self.told = told

    def sleep(self) -> None:
        self.told.append(f"{self.name} sleeps")

    def wake(self) -> None:
        self.told.append(f"{self.name} wakes")


class AsyncSleeper(Sleeper):
    async def sleep(self) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        super().sleep()


def never(call: Any) -> None:
    raise AssertionError(call)


def test_what_was_built_last_wakes_first() -> None:
    told: list[str] = []
    sleepers = Sleepers([(name, Sleeper(name, told)) for name in ("index", "llm")])
    sleepers.sleep(never)
    sleepers.wake(never)
    assert told == ["index sleeps", "llm sleeps", "llm wakes", "index wakes"]


def test_coroutine_is_waited_for_before_the_next_one_sleeps() -> None:
    told: list[str] = []
    sleepers = Sleepers([("index", AsyncSleeper("index", told)), ("llm", Sleeper("llm", told))])
    sleepers.sleep(asyncio.run)
    assert told == ["index sleeps", "llm sleeps"]


@pytest.mark.parametrize("absent", ["sleep", "wake"])
def test_object_without_the_methods_is_named_with_the_cure(absent: str) -> None:
    class Half(Sleeper): ...

    setattr(Half, absent, None)
    words = rf"'llm' is .*Half that its set-up gave has no method {absent}\(\).*leave can_sleep"
    with pytest.raises(TypeError, match=words):
        Sleepers([("index", Sleeper("index", [])), ("llm", Half("llm", []))])
