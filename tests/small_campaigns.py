"""Campaigns that are simulated in no time, for tests of what is told of them."""

from __future__ import annotations

from typing import Any

from parsl_pcm.simulator.scenario import Scenario
from parsl_pcm.simulator.scenarios.reading import check


def small_scenario(**changes: Any) -> Scenario:
    """Return 100 items of 10 s on two A10, which load for 20 s, with parts changed as given."""
    context = {"name": "model", "load_s": 20.0, "item_s": 10.0}
    data: dict[str, Any] = {
        "name": "small",
        "contexts": [context | changes.pop("context", {})],
        "work": [{"context": "model", "items": 100} | changes.pop("work", {})],
        "pools": [changes.pop("pool", {"gpu": "A10", "count": 2})],
    }
    return check(data | changes, "small")
