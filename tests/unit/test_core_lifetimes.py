"""How long the nodes last that could hold a context."""

from __future__ import annotations

import math

import pytest

from parsl_pcm.core.blame import Explanation
from parsl_pcm.core.lifetimes import Lifetimes
from parsl_pcm.core.records import ContextRecord, ManagerRecord
from parsl_pcm.types import BlockId, ContextKey, ManagerId, NodeResources, Requirements
from tests.fakes import cpu_node

SMALL = ContextRecord(ContextKey("small"), "small", Requirements(cores=1.0))
LARGE = ContextRecord(ContextKey("large"), "large", Requirements(cores=8.0))


def node(name: str, whole_s: float, cores: float = 1.0) -> ManagerRecord:
    resources: NodeResources = cpu_node(cores)
    return ManagerRecord(ManagerId(name), BlockId(name), resources, 0.0, whole_s=whole_s)


def test_longest_is_of_the_nodes_that_could_hold_the_context() -> None:
    lifetimes = Lifetimes()
    assert lifetimes.longest_s(SMALL) == 0.0
    for manager in (node("a", 100.0), node("b", 300.0), node("c", 200.0, cores=8.0)):
        lifetimes.add(manager)
    assert lifetimes.longest_s(SMALL) == 300.0
    assert lifetimes.longest_s(LARGE) == 200.0


def test_node_without_a_walltime_lasts_for_ever() -> None:
    lifetimes = Lifetimes()
    lifetimes.add(node("a", 100.0))
    lifetimes.add(node("b", math.inf))
    assert lifetimes.longest_s(SMALL) == math.inf


def test_node_that_takes_no_more_work_does_not_count() -> None:
    lifetimes = Lifetimes()
    short, long = node("a", 100.0), node("b", 300.0)
    for manager in (short, long):
        lifetimes.add(manager)
    lifetimes.discard(long)
    lifetimes.discard(long)
    assert lifetimes.longest_s(SMALL) == 100.0
    lifetimes.discard(short)
    assert (lifetimes.longest_s(SMALL), len(lifetimes)) == (0.0, 0)


@pytest.mark.parametrize("bad", ["a", "b"])
def test_node_on_which_the_context_cannot_be_built_does_not_count(bad: str) -> None:
    context = ContextRecord(ContextKey("c"), "c", Requirements(cores=1.0))
    lifetimes = Lifetimes()
    for manager in (node("a", 100.0), node("b", 300.0)):
        lifetimes.add(manager)
    context.quarantine.add(ManagerId(bad), Explanation("why", "", ""), 0.0)
    assert lifetimes.longest_s(context) == {"a": 300.0, "b": 100.0}[bad]
