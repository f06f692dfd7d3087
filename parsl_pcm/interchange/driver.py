"""The loop of the interchange: messages come in and become events of the scheduler.

One thread, one poller. Everything to be sent in one turn of the loop leaves in one batch for each
receiver.
"""

from __future__ import annotations

import contextlib
import logging
import math
import sys
import traceback
from pathlib import Path
from types import TracebackType

import zmq
from zmq.utils.monitor import recv_monitor_message

from parsl_pcm.clock import monotonic_s
from parsl_pcm.config import InterchangeConfig
from parsl_pcm.core import events
from parsl_pcm.core.events import Event
from parsl_pcm.eventlog import build_scheduler
from parsl_pcm.interchange.admission import reason_to_refuse
from parsl_pcm.interchange.commands import answer, order_of
from parsl_pcm.interchange.journal import Journal, header_of
from parsl_pcm.interchange.meaning import declaration_of, event_of
from parsl_pcm.interchange.orphanhood import Parent, start_cleaning
from parsl_pcm.interchange.peers import Peer, Peers
from parsl_pcm.interchange.performer import Performer
from parsl_pcm.types import HostId, LeaseId, ManagerId
from parsl_pcm.wire import codec, messages
from parsl_pcm.wire.codec import Envelope, ProtocolError
from parsl_pcm.wire.messages import AnyMessage
from parsl_pcm.wire.sockets import bind_first_free, guarded_context, server_socket

logger = logging.getLogger(__name__)

HOUSEKEEPING_PERIOD_S = 1.0
"""At most so much of the event log is lost in a crash."""
FAREWELL_S = 3.0
"""How long managers get to say goodbye at the end, and to leave."""
MAX_BATCHES = 200
"""Batches taken from one socket in a turn, so that neither side starves the other."""


class Interchange:
    """The process between one executor and its managers."""

    def __init__(self, config: InterchangeConfig) -> None:
        self._config = config
        self._started_at = monotonic_s()
        self._parent = Parent()
        header = header_of(config)
        self._scheduler = build_scheduler(header)
        self._journal = Journal(Path(config.run_dir) / "events.jsonl", header)
        self._peers = Peers()
        self._to_executor: list[Envelope] = []
        self._performer = Performer(self._peers, self._to_executor)
        self._ends_at: float | None = None
        """Not None iff we were told to end; managers get until then to say goodbye."""
        self._house_kept_at = 0.0
        self._resources = contextlib.ExitStack()

    # --- life ---------------------------------------------------------------------------------

    def __enter__(self) -> Interchange:
        config = self._config
        self._resources.callback(self._journal.close)
        zmq_context = self._resources.enter_context(guarded_context(config.cert_dir))
        self._executor_socket = server_socket(zmq_context, zmq.DEALER, cert_dir=config.cert_dir)
        self._executor_socket.connect(config.executor_url)
        self._manager_socket = server_socket(zmq_context, zmq.ROUTER, cert_dir=config.cert_dir)
        worker_port = bind_first_free(self._manager_socket, "*", self._worker_ports())
        self._monitor = self._manager_socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._poller = zmq.Poller()
        for source in (self._executor_socket, self._manager_socket, self._monitor):
            self._poller.register(source, zmq.POLLIN)
        self._poller.register(sys.stdin.fileno(), zmq.POLLIN)
        self._tell_executor(messages.InterchangeStarted(worker_port=worker_port))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            text = "".join(traceback.format_exception(kind, error, trace))
            self._tell_executor(messages.InterchangeFailing(traceback=text))
            self._shut_managers_down("the interchange failed")
            self._send()
        self._resources.close()

    def run(self) -> None:
        """Work until told to end, or until the executor's process is gone."""
        while not self._is_over():
            self._send()
            self._wait()
            self._receive_from_executor()
            self._receive_from_managers()
            self._notice_closed_connections()
            self._notice_orphanhood()
            self._let_time_pass()
            self._keep_house()
        self._tell_executor(messages.RunSummary(text=self._journal.summary()))
        self._send()

    # --- steps of the loop --------------------------------------------------------------------

    def _is_over(self) -> bool:
        if self._ends_at is None:
            return False
        return self._peers.are_gone() or monotonic_s() >= self._ends_at

    def _wait(self) -> None:
        """Sleep until a message comes or the next deadline; a second at most."""
        deadline = self._scheduler.next_deadline()
        pause_s = HOUSEKEEPING_PERIOD_S if deadline is None else max(0.0, deadline - self._now())
        self._poller.poll(math.ceil(min(pause_s, HOUSEKEEPING_PERIOD_S) * 1000))

    def _receive_from_executor(self) -> None:
        if self._executor_socket.closed:
            return
        for _ in range(MAX_BATCHES):
            try:
                frames = self._executor_socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            for envelope in codec.decode(frames):
                self._performer.hear(envelope)
                self._on_executor_message(envelope.message)

    def _receive_from_managers(self) -> None:
        for _ in range(MAX_BATCHES):
            try:
                identity = self._manager_socket.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            manager_id = ManagerId(identity.bytes.decode(errors="replace"))
            frames = self._manager_socket.recv_multipart()
            try:
                for envelope in codec.decode(frames):
                    self._performer.hear(envelope)
                    self._on_manager_message(manager_id, envelope.message, identity)
            except ProtocolError as error:
                logger.warning("manager %s is sent away: %s", manager_id, error)
                self._refuse(manager_id, f"protocol error: {error}")
                if manager_id in self._peers:
                    self._lose(manager_id, "it broke the protocol")

    def _notice_closed_connections(self) -> None:
        while self._monitor.poll(0):
            descriptor = int(recv_monitor_message(self._monitor)["value"])
            manager_id = self._peers.connection_closed(descriptor)
            if manager_id is not None:
                self._lose(manager_id, "its connection closed")

    def _notice_orphanhood(self) -> None:
        """End when the executor's process is gone."""
        if self._ends_at is not None or not self._parent.is_gone():
            return
        logger.warning("the executor's process is gone")
        if self._parent.closed_stdin():
            self._poller.unregister(sys.stdin.fileno())
        # Another executor may listen there by now. While it refuses our keys, and we its own, the
        # end of a socket can take for ever: so it ends now, not with the process.
        self._poller.unregister(self._executor_socket)
        self._executor_socket.close(linger=0)
        self._begin_end("the user's process is gone")
        self._send()
        start_cleaning(self._config)

    def _let_time_pass(self) -> None:
        now = self._now()
        deadline = self._scheduler.next_deadline()
        if deadline is not None and deadline <= now:
            self._handle(events.TimePassed())

    def _keep_house(self) -> None:
        """Do what is due about once a second: flush the log, send heartbeats."""
        now = self._now()
        if now - self._house_kept_at < HOUSEKEEPING_PERIOD_S:
            return
        self._house_kept_at = now
        self._journal.flush()
        for peer in self._peers.all():
            if peer.manager_id not in self._scheduler.cluster.managers:
                self._peers.remove(peer.manager_id)  # fell silent: dismissed by the scheduler
                self._tell_departure(peer, "it fell silent")
            elif now - peer.last_sent_at >= self._config.heartbeat_period_s:
                self._peers.send(peer.manager_id, Envelope(messages.ManagerAlive()))

    def _send(self) -> None:
        if self._to_executor and not self._executor_socket.closed:
            self._executor_socket.send_multipart(codec.encode(self._to_executor), copy=False)
        self._to_executor.clear()
        now = self._now()
        for manager_id, envelopes in self._peers.take_outgoing().items():
            if manager_id in self._peers:
                self._peers[manager_id].last_sent_at = now
            self._manager_socket.send_multipart([manager_id.encode(), *codec.encode(envelopes)])

    # --- messages of the executor -------------------------------------------------------------

    def _on_executor_message(self, message: AnyMessage) -> None:
        match message:
            case messages.SubmitTask():
                self._submit(message)
            case messages.StoreBlob():
                self._performer.store_blob(message)
            case messages.DeclareContext():
                self._declare(message)
            case messages.CancelTask():
                self._handle(events.TaskCancelled(task_id=message.task_id))
            case messages.BlockNotice():
                self._on_block_notice(message)
            case messages.BlockGone():
                self._on_block_gone(message)
            case messages.Command():
                self._answer(message)
            case messages.Shutdown():
                self._begin_end(message.reason)
            case _:
                raise ProtocolError(f"unexpected message of the executor: {message!r}")

    def _submit(self, message: messages.SubmitTask) -> None:
        num_items = self._performer.store_task(message)
        self._handle(
            events.TaskSubmitted(
                task_id=message.task_id,
                context_key=message.context_key,
                num_items=num_items,
                priority=message.priority,
                is_mapped=bool(message.frame_sizes),
                is_tolerant=message.is_tolerant,
                function_key=message.function if message.frame_sizes else "",
            )
        )

    def _declare(self, message: messages.DeclareContext) -> None:
        self._performer.store_context(message)
        self._handle(declaration_of(message))

    def _on_block_notice(self, message: messages.BlockNotice) -> None:
        for peer in self._peers.of_block(message.block_id):
            if peer.registration.num_restarts == message.num_restarts:
                self._close(peer, "the site takes its block back", message.remaining_s)

    def _on_block_gone(self, message: messages.BlockGone) -> None:
        for peer in self._peers.of_block(message.block_id):
            if peer.registration.num_restarts <= message.num_restarts:
                self._lose(peer.manager_id, f"its block is gone: {message.reason}")

    def _answer(self, command: messages.Command) -> None:
        order = order_of(command)
        if order is not None:
            self._handle(order)
        value = answer(command, self._scheduler, self._peers, self._now())
        self._tell_executor(messages.CommandReply(request_id=command.request_id, value=value))

    # --- messages of managers -----------------------------------------------------------------

    def _on_manager_message(
        self, manager_id: ManagerId, message: AnyMessage, identity: zmq.Frame
    ) -> None:
        if isinstance(message, messages.RegisterManager):
            self._register(manager_id, message, int(identity.get(zmq.SRCFD)))
        elif manager_id not in self._peers:
            self._refuse(manager_id, "this manager is not registered (any more): it was given up")
        elif isinstance(message, messages.ManagerLeaving):
            self._lose(manager_id, message.reason, said_goodbye=True)
        elif isinstance(message, messages.ManagerClosing):
            self._close(self._peers[manager_id], message.reason, message.remaining_s)
        else:
            self._handle_if_own(manager_id, event_of(manager_id, message))

    def _register(
        self, manager_id: ManagerId, message: messages.RegisterManager, descriptor: int
    ) -> None:
        if manager_id in self._peers:
            self._lose(manager_id, "it registered again")
        reason = reason_to_refuse(message, self._config)
        if reason is not None:
            logger.warning(
                "manager %s of block %s refused: %s", manager_id, message.block_id, reason
            )
            self._refuse(manager_id, reason)
            refusal = messages.ManagerRefused(block_id=message.block_id, reason=reason)
            self._tell_executor(refusal)
            return
        self._admit(message, descriptor)

    def _admit(self, message: messages.RegisterManager, descriptor: int) -> None:
        manager_id, block_id, resources = message.manager_id, message.block_id, message.resources
        host = message.hostname
        logger.info("manager %s of block %s is on %s: %s", manager_id, block_id, host, resources)
        for peer in self._peers.replaced_by(message, self._config.nodes_per_block):
            self._lose(peer.manager_id, f"manager {manager_id} of the same block came after it")
        self._peers.add(Peer(message, descriptor))
        self._peers.send(manager_id, Envelope(messages.RegistrationAccepted()))
        num_cpu_slots = round(resources.cores / self._config.cores_per_worker)
        self._tell_executor(
            messages.ManagerAdmitted(
                manager_id=manager_id,
                block_id=block_id,
                hostname=host,
                num_slots=len(resources.devices) or num_cpu_slots,
            )
        )
        self._handle(
            events.ManagerRegistered(
                manager_id=manager_id,
                block_id=block_id,
                resources=resources,
                remaining_s=message.remaining_s,
                drain_s=self._config.drain_period_s,
            )
        )

    def _refuse(self, manager_id: ManagerId, reason: str) -> None:
        self._peers.send(manager_id, Envelope(messages.RegistrationRefused(reason=reason)))

    def _handle_if_own(self, manager_id: ManagerId, event: Event) -> None:
        """Let a manager speak about its own hosts and leases only."""
        cluster = self._scheduler.cluster
        host_id: HostId | None = getattr(event, "host_id", None)
        lease_id: LeaseId | None = getattr(event, "lease_id", None)
        host = cluster.hosts.get(host_id) if host_id is not None else None
        if lease_id is not None and (lease := cluster.leases.get(lease_id)) is not None:
            host = lease.host
        if host is not None and host.manager.manager_id != manager_id:
            logger.warning("manager %s speaks about what is not its own: %r", manager_id, event)
            return
        self._handle(event)

    def _lose(self, manager_id: ManagerId, reason: str, *, said_goodbye: bool = False) -> None:
        logger.info("manager %s is gone: %s", manager_id, reason)
        if manager_id in self._peers:
            self._tell_departure(self._peers[manager_id], reason)
        if said_goodbye:
            self._peers.depart(manager_id)
        else:
            self._peers.remove(manager_id)
        self._handle(events.ManagerLost(manager_id=manager_id, reason=reason))

    def _close(self, peer: Peer, reason: str, remaining_s: float | None) -> None:
        """Drain a manager that the site takes back; the executor hears of it once."""
        if not peer.was_told_closing:
            peer.was_told_closing = True
            logger.info("manager %s closes in %s s: %s", peer.manager_id, remaining_s, reason)
            self._tell_departure(peer, reason)
        self._handle(events.ManagerClosing(manager_id=peer.manager_id, remaining_s=remaining_s))

    def _tell_departure(self, peer: Peer, reason: str) -> None:
        if self._ends_at is None:
            block_id = peer.registration.block_id
            self._tell_executor(messages.ManagerDeparted(block_id=block_id, reason=reason))

    def _handle(self, event: Event) -> None:
        now = self._now()
        decided = self._scheduler.handle(event, now)
        self._journal.record(event, decided, now)
        self._performer.perform(decided)

    # --- helpers ------------------------------------------------------------------------------

    def _begin_end(self, reason: str) -> None:
        logger.info("told to end: %s", reason)
        self._ends_at = monotonic_s() + FAREWELL_S
        for peer in self._peers.all():  # what leaves from here on is no loss
            self._handle(events.ManagerHeld(manager_id=peer.manager_id))
        self._shut_managers_down(reason)

    def _shut_managers_down(self, reason: str) -> None:
        for peer in self._peers.all():
            self._peers.send(peer.manager_id, Envelope(messages.Shutdown(reason=reason)))

    def _tell_executor(self, message: AnyMessage) -> None:
        self._to_executor.append(Envelope(message))

    def _worker_ports(self) -> range:
        port, ports = self._config.worker_port, self._config.worker_port_range
        return range(*ports) if port is None else range(port, port + 1)

    def _now(self) -> float:
        """Return seconds since the start of this process, as the event log counts them."""
        return monotonic_s() - self._started_at
