"""Sentences for the user: what was wrong, the value, the usual cure."""

from __future__ import annotations

from collections.abc import Sequence

from parsl_pcm.core.capacity import Room
from parsl_pcm.core.events import HostExited
from parsl_pcm.core.records import ContextRecord, Explanation, PieceRecord
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
        why.append(f"no node so far has had that: the largest {_describe_largest(kinds)}")
    return Explanation(
        f"context {context.name!r} needs {_describe_needs(context.requirements)}, but "
        f"{', and '.join(why)}. Ask the site for nodes that have it (the provider of the "
        f"executor), or lower the requirements in @context or .options()."
    )


def explain_setup(context: ContextRecord) -> Explanation:
    """Say that a context cannot be built, with the first failure."""
    first, *others = context.failures.values()
    message = first.message
    if others:
        nodes = "1 other node" if len(others) == 1 else f"{len(others)} other nodes"
        message += f" ({nodes} failed to build it too.)"
    return Explanation(message, first.remote_traceback, first.log_tail)


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


def _describe_needs(needs: Requirements) -> str:
    parts = []
    if needs.gpus:
        memory = needs.gpu_memory_bytes
        each = "" if memory is None else f" with {memory / GB:.1f} GB each"
        parts.append(f"{needs.gpus} GPU(s){each}")
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
    return f"node has {gpus}, {memory:.1f} GB of main memory and {cores:g} core(s) for hosts"


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
    parts = [repr(device.name)]
    if device.memory_bytes < MOST_BYTES:
        parts.append(f"of {device.memory_bytes / GB:.1f} GB")
    capability = device.compute_capability
    if capability is not None and capability < MOST_CAPABILITY:
        parts.append(f"and compute capability {capability:g}")
    return " ".join(parts)
