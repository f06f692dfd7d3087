"""Which hosts may start, and in which order."""

from __future__ import annotations

from parsl_pcm.manager.boots import BootGate
from parsl_pcm.types import ContextKey, DeviceId, HostId, Requirements
from parsl_pcm.wire.messages import StartHost


def start(host_id: int, *device_ids: str) -> StartHost:
    return StartHost(
        host_id=HostId(host_id),
        context_key=ContextKey("key"),
        name="llm",
        requirements=Requirements(gpus=len(device_ids)),
        device_ids=tuple(map(DeviceId, device_ids)),
        recipes=None,
        env={},
    )


def gate_with(*starts: StartHost, max_boots: int = 100) -> BootGate:
    gate = BootGate(max_boots)
    for order in starts:
        gate.add(order)
    return gate


def let_in(gate: BootGate) -> list[int]:
    """Return all that may start now."""
    started: list[int] = []
    while (order := gate.next()) is not None:
        started.append(order.host_id)
    return started


def test_one_boots_on_a_device_at_a_time() -> None:
    gate = gate_with(start(1, "a"), start(2, "a"), start(3, "b"), start(4, "a"))
    assert let_in(gate) == [1, 3]
    gate.leave(HostId(1))
    assert let_in(gate) == [2]
    gate.leave(HostId(2))
    assert let_in(gate) == [4]


def test_hosts_without_devices_boot_together_up_to_the_bound() -> None:
    gate = gate_with(start(1), start(2), start(3), max_boots=2)
    assert let_in(gate) == [1, 2]
    gate.leave(HostId(2))
    assert let_in(gate) == [3]


def test_bound_counts_hosts_with_devices_too() -> None:
    assert let_in(gate_with(start(1, "a"), start(2, "b"), start(3), max_boots=2)) == [1, 2]


def test_host_of_several_devices_is_not_overtaken_on_any_of_them() -> None:
    gate = gate_with(start(1, "a"), start(2, "a", "b"), start(3, "b"), start(4, "c"))
    assert let_in(gate) == [1, 4]
    gate.leave(HostId(1))
    assert let_in(gate) == [2]
    gate.leave(HostId(2))
    assert let_in(gate) == [3]


def test_dropped_order_is_never_carried_out() -> None:
    gate = gate_with(start(1, "a"), start(2, "a"), start(3, "a"))
    assert let_in(gate) == [1]
    assert gate.drop(HostId(2))
    assert not gate.drop(HostId(2))
    assert not gate.drop(HostId(1))  # it boots: to be stopped in another way
    gate.leave(HostId(1))
    assert let_in(gate) == [3]


def test_all_that_wait_are_dropped_at_once() -> None:
    gate = gate_with(start(1, "a"), start(2, "a"), start(3, "a"))
    assert let_in(gate) == [1]
    assert gate.drop_all() == [2, 3]
    gate.leave(HostId(1))
    assert let_in(gate) == []


def test_leaving_twice_does_no_harm() -> None:
    gate = gate_with(start(1, "a"), start(2, "a"), start(3, "a"))
    assert let_in(gate) == [1]
    gate.leave(HostId(1))
    assert let_in(gate) == [2]
    gate.leave(HostId(1))  # ready before, gone now
    assert let_in(gate) == []
