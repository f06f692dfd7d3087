"""What a host keeps live is put to sleep, and woken, by its own methods ``sleep`` and ``wake``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

Await = Callable[[Coroutine[Any, Any, None]], None]
"""Runs a coroutine to its end; raises what it raises."""


class Sleepers:
    """The live objects of a host that sleeps as a whole.

    Parameters
    ----------
    live_of_name
        Each recipe's name with what it gave, in the order in which they were built.

    Raises
    ------
    TypeError
        If one of the objects lacks the methods.
    """

    def __init__(self, live_of_name: Sequence[tuple[str, Any]]) -> None:
        for name, live in live_of_name:
            _check_methods(name, live)
        self._live = [live for _, live in live_of_name]

    def sleep(self, wait_for: Await) -> None:
        """Call ``sleep()`` on each; `wait_for` is given what is a coroutine."""
        _call_each((live.sleep for live in self._live), wait_for)

    def wake(self, wait_for: Await) -> None:
        """Call ``wake()`` on each, in reverse order."""
        _call_each((live.wake for live in reversed(self._live)), wait_for)


def _check_methods(name: str, live: Any) -> None:
    absent = [each for each in ("sleep", "wake") if not callable(getattr(live, each, None))]
    if absent:
        raise TypeError(
            f"context {name!r} is declared with can_sleep=True, but the {type(live).__qualname__} "
            f"that its set-up gave has no method {absent[0]}(); define sleep(), which gives memory "
            "back, and wake(), which makes the object usable again, or leave can_sleep out"
        )


def _call_each(methods: Iterable[Callable[[], Any]], wait_for: Await) -> None:
    for method in methods:
        returned = method()
        if inspect.iscoroutine(returned):
            wait_for(returned)
