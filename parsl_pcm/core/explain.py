"""Sentences for the user: what was wrong, the value, the usual cure."""

from __future__ import annotations

from collections.abc import Sequence

from parsl_pcm.core.blame import Explanation
from parsl_pcm.core.events import HostExited
from parsl_pcm.core.memory import Held
from parsl_pcm.core.quarantine import gist
from parsl_pcm.core.records import ContextRecord, HostRecord, ManagerRecord, PieceRecord
from parsl_pcm.core.rooms import Room
from parsl_pcm.types import Device, NodeResources, Requirements

GB = 1e9
MOST_BYTES, MOST_CORES, MOST_CAPABILITY = 1 << 50, 1 << 20, 99.0
"""More than any node has: so much in a node that may come stands for what is not known."""
MAX_OFFERS = 6
"""Kinds of nodes named in a message, so that a person still reads it."""


def explain_misfit(
    context: ContextRecord, kinds: Sequence[Room], possible: Sequence[NodeResources]
) -> Explanation:
    """Say that no node known so far could hold a context, and what there is or may come."""
    why = []
    if possible:
        offers = dict.fromkeys(_describe_offer(node) for node in possible)
        shown = "; ".join([*offers][:MAX_OFFERS])
        more = f"; and {len(offers) - MAX_OFFERS} more" if len(offers) > MAX_OFFERS else ""
        why.append(f"no node that the provider may bring has that: it offers {shown}{more}")
    if kinds:
        why.append(f"no node so far has had that: the largest node {_describe_largest(kinds)}")
    return Explanation(
        f"context {context.name!r} needs {_describe_ways(context)}, but "
        f"{', and '.join(why)}. Ask the site for nodes that have it (the provider of the "
        f"executor), or lower the requirements in @context or .options()."
    )


def explain_waiting(context: ContextRecord, kinds: Sequence[Room]) -> Explanation:
    """Say what a context waits for that the provider may bring."""
    return Explanation(
        f"context {context.name!r} waits for a node with {_describe_ways(context)}: the largest so "
        f"far {_describe_largest(kinds)}. The provider of the executor may bring a larger one."
    )


def explain_setup(context: ContextRecord) -> Explanation:
    """Say that a context cannot be built, with the first failure."""
    first, *others = context.quarantine.explanations()
    message = first.message
    if others:
        nodes = "1 other node" if len(others) == 1 else f"{len(others)} other nodes"
        message += f" ({nodes} failed to build it too.)"
    return Explanation(message, first.remote_traceback, first.log_tail)


def explain_not_warm(context: ContextRecord, why: Explanation) -> Explanation:
    """Say that a context that shall be warm cannot be built, and is not tried any more."""
    return Explanation(
        f"context {context.name!r} cannot be built, and is kept warm no more: {why.message} "
        f"({gist(why)})",
        why.remote_traceback,
        why.log_tail,
    )


def explain_quarantine(
    context: ContextRecord, manager: ManagerRecord, why: Explanation, pause_s: float
) -> Explanation:
    """Say that a context could not be built on a node, and what is done about it."""
    return Explanation(
        f"context {context.name!r} could not be built on node {manager.manager_id}, and is not "
        f"tried there again for {pause_s:.0f} s: {gist(why)}",
        why.remote_traceback,
        why.log_tail,
    )


def explain_overdrawn(host: HostRecord, held: Held) -> Explanation:
    """Say that hosts were measured to hold more memory than a node has for them."""
    on_devices = f"{held.gpu_memory_bytes / GB:.1f} GB on each of its devices and "
    return Explanation(
        f"hosts on node {host.manager.manager_id} hold more memory than it has for them: one of "
        f"context {host.context.name!r} holds {on_devices if host.device_positions else ''}"
        f"{held.host_memory_bytes / GB:.1f} GB of main memory. No other host is placed there, "
        f"and such as have no work are ended. "
        f"Declare what the context needs as gpu_memory and host_memory."
    )


def explain_no_sleep(host: HostRecord, what_happened: str) -> Explanation:
    """Say that a context could not be put to sleep, and what is done about it."""
    return Explanation(
        f"context {host.context.name!r} could not be put to sleep: {what_happened}. Its hosts are "
        f"ended instead from now on. Check the method sleep() of what it builds."
    )


def explain_no_wake(host: HostRecord, death: HostExited) -> Explanation:
    """Say that a context did not wake up, and what is done about it."""
    return Explanation(
        f"context {host.context.name!r} did not wake up: {death.description}. It is built again, "
        f"and not put to sleep any more. Check the method wake() of what it builds.",
        log_tail=death.log_tail,
    )


def explain_deaths(context: ContextRecord, death: HostExited) -> Explanation:
    """Say that hosts of a context die often."""
    return Explanation(
        f"{context.num_deaths} hosts of context {context.name!r} have died at work, the last one: "
        f"{death.description}. Usual causes: too little memory (raise host_memory or gpu_memory, "
        f"or lower max_concurrency), or a crash in native code (see the log of the host).",
        log_tail=death.log_tail,
    )


def explain_kill(piece: PieceRecord, death: HostExited) -> Explanation:
    """Say that a task, or one of its items, killed its host on every attempt."""
    num_kills = piece.num_kills
    attempts = "its only attempt" if num_kills == 1 else f"each of its {num_kills} attempts"
    last = "" if num_kills == 1 else ", the last one"
    return Explanation(
        f"{_describe_victim(piece)} kills its host: {attempts} ended with the death of the "
        f"process that ran it{last}: {death.description}. Usual causes: too little memory (raise "
        f"host_memory or gpu_memory, or give it less data), or a crash in native code (see the "
        f"log of the host).",
        log_tail=death.log_tail,
    )


def _describe_victim(piece: PieceRecord) -> str:
    """Name what ran. The number of an item is told beside: users count from the map's first one."""
    if piece.task.is_mapped:
        return "this item"
    if piece.task.num_items == 1:
        return "this task"
    return f"this task (items {piece.start} to {piece.stop - 1})"


def _describe_ways(context: ContextRecord) -> str:
    """Name what each way to build a context needs."""
    first = _describe_needs(context.requirements)
    others = [f"{_describe_needs(way.requirements)} ({way.name!r})" for way in context.variants]
    return ", or ".join([first, *others])


def _describe_needs(needs: Requirements) -> str:
    parts = []
    if needs.gpus:
        memory = needs.gpu_memory_bytes
        each = "" if memory is None else f" with {memory / GB:.1f} GB each"
        parts.append(f"{needs.gpus} GPU(s){each}")
    if needs.gpu_types:
        parts.append(f"of type {' or '.join(needs.gpu_types)}")
    if needs.min_compute_capability is not None:
        parts.append(f"compute capability {needs.min_compute_capability} or higher")
    if needs.host_memory_bytes:
        parts.append(f"{needs.host_memory_bytes / GB:.1f} GB of main memory")
    if needs.cores:
        parts.append(f"{needs.cores:g} core(s)")
    return ", ".join(parts) or "a free place"


def _describe_largest(kinds: Sequence[Room]) -> str:
    num_gpus = max(len(kind.devices) for kind in kinds)
    devices = [device for kind in kinds for device in kind.devices]
    gpus = f"{num_gpus} GPU(s)"
    if devices:
        largest = max(device.total_bytes for device in devices)
        capability = max(device.compute_capability for device in devices)
        gpus += f" of up to {largest / GB:.1f} GB and compute capability {capability:g}"
    memory = max(kind.memory_bytes for kind in kinds) / GB
    cores = max(kind.cores for kind in kinds)
    return f"has {gpus}, {memory:.1f} GB of main memory and {cores:g} core(s) for hosts"


def _describe_offer(node: NodeResources) -> str:
    """Name what is known of a kind of node that may come."""
    num_gpus = len(node.devices)
    parts = [f"{num_gpus} GPU(s) {_describe_device(node.devices[0])}" if num_gpus else "no GPU"]
    if node.memory_bytes < MOST_BYTES:
        parts.append(f"{node.memory_bytes / GB:.1f} GB of main memory")
    if node.cores < MOST_CORES:
        parts.append(f"{node.cores:g} core(s)")
    return ", ".join(parts)


def _describe_device(device: Device) -> str:
    parts = [repr(device.name) if device.name else "of some type"]
    if device.memory_bytes < MOST_BYTES:
        parts.append(f"of {device.memory_bytes / GB:.1f} GB")
    capability = device.compute_capability
    if capability is not None and capability < MOST_CAPABILITY:
        parts.append(f"and compute capability {capability:g}")
    return " ".join(parts)
