"""How a range of items is split when one of them raised or killed its host: to find which."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

MAX_PARTS = 16
"""Parts of what killed a host. Each death costs a set-up, so few rounds count for more than few
parts: of 10^6 items one is found within five deaths, and halving would take twenty."""


class Span(NamedTuple):
    """The items [start, stop)."""

    start: int
    stop: int


def split_raised(left: Span, *, has_progressed: bool) -> list[Span]:
    """Return the parts of a range of two items or more in which one raised.

    Parameters
    ----------
    left
        What the call had not returned.
    has_progressed
        Whether it had returned results one by one: then it raised on the first that is left.
    """
    middle = left.start + 1 if has_progressed else (left.start + left.stop) // 2
    return [Span(left.start, middle), Span(middle, left.stop)]


def split_killer(left: Span, *, has_progressed: bool, max_parts: int = MAX_PARTS) -> list[Span]:
    """Return the parts of a range that may have killed its host; all of it if that is one part.

    Parameters
    ----------
    left
        What the host had not returned.
    has_progressed
        Whether it had returned results one by one: then the first that is left is the likeliest.
    max_parts
        Fewer where several ranges are under suspicion.
    """
    if has_progressed and max_parts > 1 and left.stop - left.start > 1:
        rest = Span(left.start + 1, left.stop)
        return [Span(left.start, rest.start), *_even_parts(rest, max_parts - 1)]
    return _even_parts(left, max_parts)


def _even_parts(span: Span, max_parts: int) -> list[Span]:
    num_items = span.stop - span.start
    num_parts = min(max_parts, num_items)
    bounds = [span.start + num_items * part // num_parts for part in range(num_parts + 1)]
    return [Span(*pair) for pair in pairwise(bounds)]
