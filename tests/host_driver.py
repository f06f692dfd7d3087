"""The manager's side of one real host process, for tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from parsl_pcm import pickling
from parsl_pcm.context_set import ContextSet
from parsl_pcm.types import ContextKey, Digest, HostId, LeaseId, Requirements, TaskId
from parsl_pcm.wire import codec, stream
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.messages import (
    AnyMessage,
    FailureKind,
    PieceFailed,
    PieceFinished,
    PieceRevoked,
    RevokePiece,
    RunPiece,
    SleepHost,
    StartHost,
    StoreBlob,
    WakeHost,
)

HOST_ID = HostId(7)
WAIT_S = 60.0
"""For what takes a moment on a quiet machine."""


class HostDriver:
    """The manager's side of one host."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(WAIT_S)
        with theirs, log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "parsl_pcm.host", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._unpacker = stream.Unpacker()
        self._received: list[Envelope] = []
        self._num_leases = 0
        self._stored: set[Digest] = set()

    def send(self, *envelopes: Envelope) -> None:
        self.socket.sendall(b"".join(stream.pack(codec.encode(envelopes))))

    def receive(self) -> Envelope:
        while not self._received:
            data = self.socket.recv(1 << 16)
            assert data, f"the host closed its end; log:\n{self.log.read_text()}"
            for frames in self._unpacker.feed(data):
                self._received += codec.decode(frames)
        return self._received.pop(0)

    def start(
        self, recipe: Any = None, *, env: dict[str, str] | None = None, **requirements: Any
    ) -> AnyMessage:
        digest = None
        if recipe is not None:
            blob = pickling.dump_recipes(ContextSet([recipe]))
            digest = pickling.digest_of(blob)
            self.send(Envelope(StoreBlob(digest=digest), (blob,)))
        message = StartHost(
            host_id=HOST_ID,
            context_key=ContextKey("key"),
            name="test-context",
            requirements=Requirements(**requirements),
            device_ids=(),
            recipes=digest,
            env=env or {},
        )
        self.send(Envelope(message))
        return self.receive().message

    def sleep(self) -> AnyMessage:
        """Return what the host says to the order to sleep."""
        self.send(Envelope(SleepHost(host_id=HOST_ID)))
        return self.receive().message

    def wake(self) -> AnyMessage:
        """Return what the host says to the order to wake."""
        self.send(Envelope(WakeHost(host_id=HOST_ID)))
        return self.receive().message

    def submit(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> LeaseId:
        arguments, _ = pickling.dump_arguments(args, kwargs)
        return self._send_piece(function, 0, 1, None, [arguments])

    def submit_mapped(
        self,
        function: Callable[..., Any],
        frames: Sequence[Sequence[Any]],
        *args: Any,
        start: int | None = None,
        stop: int | None = None,
        frames_start: int = 0,
        **kwargs: Any,
    ) -> LeaseId:
        """Send the items [start, stop), all of them if not given, in frames as they are."""
        arguments, _ = pickling.dump_arguments(args, kwargs)
        end = frames_start + sum(map(len, frames))
        payload = [arguments, *map(pickling.dump_items, frames)]
        start = frames_start if start is None else start
        stop = end if stop is None else stop
        return self._send_piece(function, start, stop, frames_start, payload)

    def revoke(self, lease_id: LeaseId) -> None:
        self.send(Envelope(RevokePiece(host_id=HOST_ID, lease_id=lease_id)))

    def wait_until_read(self) -> None:
        """Return when the host has read all that it was sent: a revoked piece comes back at once.

        Not for hosts that have nothing to do: they would run that piece.
        """
        waiting = self.submit(lambda: None)
        self.revoke(waiting)
        early = []
        while (envelope := self.receive()).message != PieceRevoked(lease_id=waiting):
            early.append(envelope)
        self._received = [*early, *self._received]

    def _send_piece(
        self,
        function: Callable[..., Any],
        start: int,
        stop: int,
        frames_start: int | None,
        payload: list[bytes],
    ) -> LeaseId:
        self._num_leases += 1
        piece = RunPiece(
            host_id=HOST_ID,
            lease_id=LeaseId(self._num_leases),
            task_id=TaskId(1),
            start=start,
            stop=stop,
            function=self._store(function),
            frames_start=frames_start,
        )
        self.send(Envelope(piece, tuple(payload)))
        return piece.lease_id

    def _store(self, function: Callable[..., Any]) -> Digest:
        blob = pickling.dump_function(function)
        digest = pickling.digest_of(blob)
        if digest not in self._stored:
            self._stored.add(digest)
            self.send(Envelope(StoreBlob(digest=digest), (blob,)))
        return digest

    def result(self) -> Any:
        envelope = self.receive()
        assert isinstance(envelope.message, PieceFinished), envelope
        return pickling.load_result(envelope.payload[0])

    def failure(
        self, kind: FailureKind = FailureKind.RAISED
    ) -> tuple[PieceFailed, tuple[bytes, ...]]:
        envelope = self.receive()
        assert isinstance(envelope.message, PieceFailed), envelope
        assert envelope.message.failure.kind is kind
        return envelope.message, envelope.payload

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.submit(function, *args, **kwargs)
        return self.result()

    def end(self) -> None:
        self.socket.close()
        try:
            self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise
