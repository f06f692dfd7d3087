"""The interchange's end of the link to real managers, in the hands of a test."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import psutil
import zmq

from parsl_pcm import pickling
from parsl_pcm.config import ManagerConfig
from parsl_pcm.context_set import ContextSet
from parsl_pcm.types import ContextKey, HostId, LeaseId, Requirements, TaskId
from parsl_pcm.wire import codec, sockets
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.messages import (
    AnyMessage,
    HostMeasured,
    ManagerAlive,
    PieceFinished,
    RegisterManager,
    RegistrationAccepted,
    RunPiece,
    StartHost,
    StoreBlob,
)

WAIT_S = 60.0
"""For what takes a moment on a quiet machine."""
AT_ANY_TIME = (HostMeasured, ManagerAlive)
"""Come when it is time for them: only who asks for them gets them."""
M = TypeVar("M")


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class InterchangeDriver:
    """The interchange's side: a ROUTER socket, and the managers started for it."""

    def __init__(self, directory: Path, socket: zmq.SyncSocket, cert_dir: str | None) -> None:
        self.directory = directory
        self.socket = socket
        self.port = sockets.bind_first_free(socket, "127.0.0.1", range(45000, 46000))
        self.cert_dir = cert_dir
        self.managers: list[subprocess.Popen[bytes]] = []
        self._received: dict[bytes, list[Envelope]] = {}

    def start_manager(
        self, environment: Mapping[str, str] | None = None, **changes: Any
    ) -> subprocess.Popen[bytes]:
        settings: dict[str, Any] = {
            "label": "pcm",
            "addresses": ("127.0.0.1",),
            "worker_port": self.port,
            "cert_dir": self.cert_dir,
            "log_dir": str(self.directory / "logs"),
            "heartbeat_period_s": 3600.0,
            "heartbeat_threshold_s": 600.0,
            "address_probe_timeout_s": 2 * WAIT_S,
            "cores_per_worker": 1.0,
            "mem_per_worker_gb": None,
            "max_workers_per_node": None,
            "available_accelerators": None,
            "cpu_affinity": "block",
        }
        config = ManagerConfig(**(settings | changes))
        path = self.directory / f"manager-{len(self.managers)}.json"
        path.write_bytes(msgspec.json.encode(config))
        with (self.directory / f"stderr-{len(self.managers)}").open("wb") as stderr:
            manager = subprocess.Popen(
                [sys.executable, "-m", "parsl_pcm.manager", "--config", path, "--block-id", "0"],
                stdout=stderr,
                stderr=stderr,
                env={**os.environ, "TMPDIR": str(self.directory), **(environment or {})},
            )
        self.managers.append(manager)
        return manager

    def stderr(self, index: int = 0) -> str:
        return (self.directory / f"stderr-{index}").read_text()

    def receive_any(self, timeout_s: float = WAIT_S) -> tuple[bytes, list[Envelope]]:
        assert self.socket.poll(int(timeout_s * 1000)), f"nothing came; {self.stderr()}"
        identity, *frames = self.socket.recv_multipart()
        return identity, codec.decode(frames)

    def receive(
        self, identity: bytes, kind: type[Any] | tuple[()] = (), *, timeout_s: float = WAIT_S
    ) -> Envelope:
        """Return the next message; one that may come at any time only if it is of this kind."""
        waiting = self._received.setdefault(identity, [])
        while True:
            while not waiting:
                sender, envelopes = self.receive_any(timeout_s)
                self._received.setdefault(sender, []).extend(envelopes)
            envelope = waiting.pop(0)
            if isinstance(envelope.message, kind) or not isinstance(envelope.message, AT_ANY_TIME):
                return envelope

    def expect(self, identity: bytes, kind: type[M]) -> M:
        """Return the next message, which must be of this kind."""
        message = self.receive(identity, kind).message
        assert isinstance(message, kind), message
        return message

    def send(self, identity: bytes, *envelopes: Envelope) -> None:
        self.socket.send_multipart([identity, *codec.encode(envelopes)])

    def tell(self, identity: bytes, *messages: AnyMessage) -> None:
        self.send(identity, *map(Envelope, messages))

    def end(self) -> None:
        """End all managers; one that does not heed is killed, and told."""
        for manager in self.managers:
            manager.terminate()
        late = [manager for manager in self.managers if not _ends(manager)]
        self.socket.close(0)
        assert not late, f"had to be killed: {late}"

    def accept(self) -> tuple[bytes, RegisterManager]:
        identity, envelopes = self.receive_any()
        (registration,) = (envelope.message for envelope in envelopes)
        assert isinstance(registration, RegisterManager)
        self.tell(identity, RegistrationAccepted())
        return identity, registration

    def start_host(self, identity: bytes, recipe: Any = None, **changes: Any) -> HostId:
        digest = None
        if recipe is not None:
            blob = pickling.dump_recipes(ContextSet([recipe]))
            digest = pickling.digest_of(blob)
            self.send(identity, Envelope(StoreBlob(digest=digest), (blob,)))
        settings: dict[str, Any] = {
            "host_id": HostId(1),
            "context_key": ContextKey("key"),
            "name": "test/context",
            "requirements": Requirements(),
            "device_ids": (),
            "recipes": digest,
            "env": {},
        }
        start = StartHost(**(settings | changes))
        self.tell(identity, start)
        return start.host_id

    def run(
        self,
        identity: bytes,
        function: Callable[..., Any],
        *args: Any,
        lease_id: int = 5,
    ) -> None:
        blob = pickling.dump_function(function)
        digest = pickling.digest_of(blob)
        arguments, _ = pickling.dump_arguments(args, {})
        piece = RunPiece(
            host_id=HostId(1),
            lease_id=LeaseId(lease_id),
            task_id=TaskId(6),
            start=0,
            stop=1,
            function=digest,
        )
        self.send(
            identity,
            Envelope(StoreBlob(digest=digest), (blob,)),
            Envelope(piece, (arguments,)),
        )

    def result(self, identity: bytes) -> Any:
        envelope = self.receive(identity)
        assert isinstance(envelope.message, PieceFinished), envelope
        return pickling.load_result(envelope.payload[0])

    def call(self, identity: bytes, function: Callable[..., Any], *args: Any) -> Any:
        self.run(identity, function, *args)
        return self.result(identity)


def _ends(manager: subprocess.Popen[bytes]) -> bool:
    try:
        manager.wait(WAIT_S)
    except subprocess.TimeoutExpired:
        manager.kill()
        manager.wait()
        return False
    return True


def children_of(manager: subprocess.Popen[bytes]) -> list[psutil.Process]:
    children: list[psutil.Process] = psutil.Process(manager.pid).children(recursive=True)
    return children


def are_gone(processes: list[psutil.Process]) -> bool:
    """Whether they end in time; zombies that nobody reaps count as ended."""
    deadline = time.monotonic() + WAIT_S
    while any(process.is_running() and not is_zombie(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def is_zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def sleeper() -> Callable[[], None]:
    """Return a function that travels by value: hosts cannot import this file."""

    def sleep_long() -> None:
        time.sleep(1000)

    return sleep_long
