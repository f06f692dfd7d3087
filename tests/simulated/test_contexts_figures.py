"""What ``benchmarks/contexts.py`` shows of several contexts stays so: smaller, in virtual time."""

from __future__ import annotations

import contexts_budget
import contexts_virtual
import pytest
from contexts_virtual import DEVICE_BYTES, HOST_BYTES, alternating, num_loads
from map_values import Settings, Value

from parsl_pcm.simulator.engine.parts import Model, Node, Way, each, gpus
from parsl_pcm.simulator.engine.pool import VirtualPool
from parsl_pcm.types import Requirements

HALF, FIFTH, TENTH = (Settings(scale=scale) for scale in (0.5, 0.2, 0.1))


def value_of(values: list[Value], words: str) -> float:
    (value,) = [each.value for each in values if words in each.row]
    return value


@pytest.mark.parametrize("what", ["maps", "calls"])
def test_three_contexts_are_as_fast_as_the_best_fixed_assignment(what: str) -> None:
    values = list(contexts_virtual.zipf(what, 2, HALF))
    assert value_of(values, "makespan") <= 1.15
    assert value_of(values, "loads") <= 1.5


@pytest.mark.parametrize("every_s", [0.0, 1.0])
def test_two_contexts_that_fit_are_loaded_once_each(every_s: float) -> None:
    pool = alternating(200, every_s, DEVICE_BYTES)
    pool.run()
    assert num_loads(pool) == 2


@pytest.mark.parametrize("every_s", [0.0, 1.0, 4.0])
def test_two_contexts_that_do_not_fit_take_turns_and_nobody_waits_for_ever(every_s: float) -> None:
    pool = alternating(400, every_s, HOST_BYTES)
    pool.run()
    assert num_loads(pool) <= 400 / 5
    assert [tally.num_items for tally in pool.tallies.values()] == [200, 200]
    quantum_s = 4 * 2 * contexts_virtual.SETUP_S
    longest_s = max(max(tally.waits_s) for tally in pool.tallies.values())
    assert longest_s <= 2 * quantum_s


def test_memory_is_never_exceeded_by_contexts_that_hold_what_they_declare() -> None:
    values = list(contexts_budget.honest(TENTH))
    assert value_of(values, "placed") >= 100
    assert value_of(values, "overfull") == 0


def test_bad_nodes_and_a_bad_recipe_delay_the_others_a_little() -> None:
    values = list(contexts_virtual.failures(FIFTH))  # which checks that the others are complete
    assert value_of(values, "makespan") <= 1.2


def test_sleeping_contexts_are_loaded_once_and_answer_sooner() -> None:
    values = list(contexts_virtual.sleep(TENTH))
    assert value_of(values, "that sleep: loads") == 2
    awake_s = value_of(values, "cannot sleep: median wait")
    assert value_of(values, "that sleep: median wait") < 0.5 * awake_s


def test_devices_of_different_kinds_are_used_nearly_as_well_as_by_the_best_assignment() -> None:
    for value in contexts_virtual.mixed(FIFTH):
        if "makespan" in value.row:
            assert value.value <= 1.5


def test_contexts_of_two_devices_and_of_one_all_get_their_turns() -> None:
    needs = [Requirements(gpus=count, cores=1.0) for count in (2, 2, 1)]
    models = [
        Model(f"m{number}", (Way(requirements=need, piece_time=each(1.0), setup_s=20.0),))
        for number, need in enumerate(needs)
    ]
    pool = VirtualPool([Node(gpus(DEVICE_BYTES, DEVICE_BYTES)) for _ in range(2)], models)
    for model in models:
        pool.submit_calls(model.name, 1000)
    assert pool.run() <= 1.3 * (2 * 1000 / 2 + 1000 / 4)
    assert [tally.num_items for tally in pool.tallies.values()] == [1000] * 3
    assert num_loads(pool) <= 30
