from __future__ import annotations

import pytest

from parsl_pcm.interchange.peers import Peer, Peers
from parsl_pcm.types import BlockId, ManagerId, NodeResources
from parsl_pcm.wire.messages import PROTOCOL_VERSION, RegisterManager


def registration(manager: str, block: str = "0", num_restarts: int = 0) -> RegisterManager:
    return RegisterManager(
        protocol_version=PROTOCOL_VERSION,
        manager_id=ManagerId(manager),
        block_id=BlockId(block),
        hostname="node",
        pid=1,
        python_version="3.11",
        parsl_version="1",
        pcm_version="1",
        resources=NodeResources(cores=1.0, memory_bytes=1),
        packages={},
        num_restarts=num_restarts,
    )


def peers_of(*registrations: RegisterManager) -> Peers:
    peers = Peers()
    for descriptor, each in enumerate(registrations):
        peers.add(Peer(each, descriptor))
    return peers


def names(found: list[Peer]) -> list[str]:
    return [str(peer.manager_id) for peer in found]


@pytest.mark.parametrize(
    ("newcomer", "nodes_per_block", "replaced"),
    [
        (registration("new", num_restarts=1), 2, ["a", "b"]),
        (registration("new", num_restarts=0), 2, []),
        (registration("new", num_restarts=0), 1, ["a", "b", "c"]),
        (registration("new", num_restarts=2), 2, ["a", "b", "c"]),
        (registration("new", "2", num_restarts=2), 1, []),
    ],
)
def test_newcomer_replaces_managers_of_earlier_starts_of_its_block(
    newcomer: RegisterManager, nodes_per_block: int, replaced: list[str]
) -> None:
    peers = peers_of(
        registration("a"),
        registration("b"),
        registration("c", num_restarts=1),
        registration("other", "1"),
    )
    assert names(peers.replaced_by(newcomer, nodes_per_block)) == replaced


def test_blocks_are_remembered_in_their_order_when_their_managers_are_gone() -> None:
    peers = peers_of(registration("a", "3"), registration("b", "1"), registration("c", "3"))
    peers.remove(ManagerId("b"))
    assert peers.blocks_seen == ["3", "1"]
    assert names(peers.of_block(BlockId("3"))) == ["a", "c"]
    assert names(peers.of_block(BlockId("1"))) == []


def test_closed_connection_is_that_of_the_manager_that_is_still_registered() -> None:
    peers = peers_of(registration("a"), registration("b"))
    assert peers.connection_closed(1) == "b"
    peers.depart(ManagerId("a"))
    assert not peers.are_gone()
    assert peers.connection_closed(0) is None
    peers.remove(ManagerId("b"))
    assert peers.are_gone()
