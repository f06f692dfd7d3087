"""The managers that are connected: what is known of each, and what it has been sent already."""

from __future__ import annotations

from dataclasses import dataclass, field

from parsl_pcm.types import BlockId, Digest, ManagerId
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.messages import RegisterManager


@dataclass(slots=True, eq=False)
class Peer:
    """A registered manager."""

    registration: RegisterManager
    descriptor: int
    """Of its TCP connection on our side: a closed connection is reported by this number."""
    blobs: set[Digest] = field(default_factory=set)
    """What it has been sent, so that nothing is sent to it twice."""
    last_sent_at: float = 0.0
    was_told_closing: bool = False
    """Whether the executor knows that the site takes it back."""

    @property
    def manager_id(self) -> ManagerId:
        """Its name, chosen by itself."""
        return self.registration.manager_id


class Peers:
    """All registered managers, and what waits to be sent to whom in this turn of the loop."""

    def __init__(self) -> None:
        self._peers: dict[ManagerId, Peer] = {}
        self._of_descriptor: dict[int, ManagerId] = {}
        self._departing: set[int] = set()
        self._outgoing: dict[ManagerId, list[Envelope]] = {}
        self.blocks_seen: list[BlockId] = []
        """Every block that ever had a manager, in the order in which they came."""

    def __contains__(self, manager_id: ManagerId) -> bool:
        return manager_id in self._peers

    def __getitem__(self, manager_id: ManagerId) -> Peer:
        return self._peers[manager_id]

    def all(self) -> list[Peer]:
        """Return the registered managers, the oldest first."""
        return list(self._peers.values())

    def of_block(self, block_id: BlockId) -> list[Peer]:
        """Return the registered managers of a block, the oldest first."""
        return [peer for peer in self._peers.values() if peer.registration.block_id == block_id]

    def replaced_by(self, newcomer: RegisterManager, nodes_per_block: int) -> list[Peer]:
        """Return the managers of its block that cannot be there any more now that this one is.

        The site started the block again, or the block has one node and so one manager.
        """
        return [
            peer
            for peer in self.of_block(newcomer.block_id)
            if nodes_per_block == 1 or peer.registration.num_restarts < newcomer.num_restarts
        ]

    def add(self, peer: Peer) -> None:
        """Record a manager that was admitted."""
        self._peers[peer.manager_id] = peer
        block_id = peer.registration.block_id
        if block_id not in self.blocks_seen:
            self.blocks_seen.append(block_id)
        self._of_descriptor[peer.descriptor] = peer.manager_id

    def remove(self, manager_id: ManagerId) -> None:
        """Forget a manager, if it is known; what waits for it is still sent."""
        peer = self._peers.pop(manager_id, None)
        if peer is not None and self._of_descriptor.get(peer.descriptor) == manager_id:
            del self._of_descriptor[peer.descriptor]

    def depart(self, manager_id: ManagerId) -> None:
        """Forget a manager that said goodbye; its hosts clean up until its connection closes."""
        if manager_id in self._peers:
            self._departing.add(self._peers[manager_id].descriptor)
            self.remove(manager_id)

    def are_gone(self) -> bool:
        """Whether no manager is left, not even one that is about to go."""
        return not self._peers and not self._departing

    def connection_closed(self, descriptor: int) -> ManagerId | None:
        """Return the registered manager that was at the other end; None if there was none."""
        self._departing.discard(descriptor)
        return self._of_descriptor.get(descriptor)

    def send(self, manager_id: ManagerId, envelope: Envelope) -> None:
        """Queue a message; manager_id need not be registered (a refusal)."""
        self._outgoing.setdefault(manager_id, []).append(envelope)

    def take_outgoing(self) -> dict[ManagerId, list[Envelope]]:
        """Return what waits, by manager, and forget it."""
        outgoing, self._outgoing = self._outgoing, {}
        return outgoing
