"""The manager's connection to its interchange."""

from __future__ import annotations

import logging
import struct
from collections.abc import Sequence

import zmq

from parsl_pcm.clock import monotonic_s
from parsl_pcm.config import ManagerConfig
from parsl_pcm.types import ManagerId
from parsl_pcm.wire import codec, sockets
from parsl_pcm.wire.codec import Envelope

logger = logging.getLogger(__name__)

_MAX_BATCHES = 100
"""Batches in one turn of the loop: hosts must not wait for a flood to end."""
_COPY_BYTES = 1 << 16
"""Below this, copying a batch is cheaper than keeping track of its memory."""
_EVENTS = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECT_RETRIED


class LinkError(RuntimeError):
    """No interchange answered at any address."""


class InterchangeLink:
    """An encrypted connection that knows when it broke.

    Attributes
    ----------
    url
        Where the interchange was found.
    socket
        To poll; readable when :meth:`receive` has something.
    monitor
        To poll; readable when :meth:`notice_breaks` has something.
    last_heard_s
        Monotonic time of its last message.
    broken_since_s
        Monotonic time at which the connection broke or was first refused; None while it holds.
    """

    def __init__(self, config: ManagerConfig, manager_id: ManagerId) -> None:
        self._zmq_context: zmq.Context[zmq.SyncSocket] = zmq.Context()
        self.url = _find_interchange(self._zmq_context, config)
        self.socket = sockets.client_socket(
            self._zmq_context, zmq.DEALER, cert_dir=config.cert_dir, identity=manager_id
        )
        self.monitor = self.socket.get_monitor_socket(_EVENTS)
        self.socket.connect(self.url)
        self.last_heard_s = monotonic_s()
        self.broken_since_s: float | None = None

    def send(self, envelopes: Sequence[Envelope]) -> None:
        """Send one batch; never blocks."""
        frames = codec.encode(envelopes)
        copy = sum(map(len, frames)) < _COPY_BYTES
        try:
            self.socket.send_multipart(frames, zmq.NOBLOCK, copy=copy)
        except zmq.Again:  # the other side has refused our handshake: it is no interchange of ours
            logger.warning("nothing can be sent to %s", self.url)

    def receive(self, now: float) -> list[Envelope]:
        """Return what has arrived, in order."""
        envelopes: list[Envelope] = []
        for _ in range(_MAX_BATCHES):
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            self.last_heard_s = now
            envelopes.extend(codec.decode(frames))
        return envelopes

    def notice_breaks(self, now: float) -> None:
        """Keep `broken_since_s` up to date."""
        while (event := _next_event(self.monitor)) is not None:
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self.broken_since_s = None
            elif self.broken_since_s is None:
                logger.warning("there is no connection to %s", self.url)
                self.broken_since_s = now

    def close(self) -> None:
        """Send what is queued, for the linger time at most, and end."""
        self.socket.disable_monitor()
        self.monitor.close(0)
        # Over a broken connection nothing leaves: do not wait for it.
        self.socket.close(None if self.broken_since_s is None else 0)
        self._zmq_context.term()


def _find_interchange(zmq_context: zmq.Context[zmq.SyncSocket], config: ManagerConfig) -> str:
    """Return the URL, among those of all addresses, at which our interchange shakes hands first.

    The handshake alone proves that it is ours (with encryption), and it registers nothing: the
    interchange would be confused by one manager at several of its addresses.
    """
    urls = [sockets.tcp_url(address, config.worker_port) for address in config.addresses]
    if len(urls) == 1:
        return urls[0]
    probes: list[zmq.SyncSocket] = []
    monitors: dict[zmq.SyncSocket, str] = {}
    try:
        for url in urls:
            probe = sockets.client_socket(zmq_context, zmq.DEALER, cert_dir=config.cert_dir)
            probes.append(probe)
            monitors[probe.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)] = url
            probe.connect(url)
        return _first_handshake(monitors, config.address_probe_timeout_s)
    finally:
        for probe in probes:
            probe.disable_monitor()
            probe.close(0)
        for monitor in monitors:
            monitor.close(0)


def _first_handshake(monitors: dict[zmq.SyncSocket, str], timeout_s: float) -> str:
    poller = zmq.Poller()
    for monitor in monitors:
        poller.register(monitor, zmq.POLLIN)
    for monitor, _ in poller.poll(round(timeout_s * 1000)):
        return monitors[monitor]
    raise LinkError(
        f"no interchange answered at any of {', '.join(monitors.values())} within {timeout_s:g} s; "
        "set PCMExecutor(address=...) to one that this node can reach"
    )


def _next_event(monitor: zmq.SyncSocket) -> int | None:
    try:
        frame = monitor.recv_multipart(zmq.NOBLOCK)[0]
    except zmq.Again:
        return None
    event, _value = struct.unpack("=HI", frame)  # as zmq_socket_monitor(3) lays it out
    return int(event)
