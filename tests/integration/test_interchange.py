"""A real interchange process between a test that plays the executor and one that plays managers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
import zmq

from parsl_pcm.client import InterchangeClient
from parsl_pcm.config import InterchangeConfig
from parsl_pcm.types import (
    BlockId,
    ContextKey,
    Device,
    DeviceId,
    Digest,
    HostId,
    LeaseId,
    ManagerId,
    NodeResources,
    Requirements,
    TaskId,
)
from parsl_pcm.wire import codec, messages
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.messages import AnyMessage
from parsl_pcm.wire.sockets import client_socket, tcp_url
from tests.running import PATIENCE_S, wait_for

M = TypeVar("M", bound=messages.Message)
COMMAND = (sys.executable, "-m", "parsl_pcm.interchange")
CONTEXT = ContextKey("c")
GPU = Device(device_id=DeviceId("0"), kind="cuda", name="a10", memory_bytes=24 * 10**9)
NODE = NodeResources(cores=1.0, memory_bytes=10**9)


def config_of(run_dir: Path, **changes: Any) -> InterchangeConfig:
    settings: dict[str, Any] = {
        "label": "pcm",
        "run_dir": str(run_dir),
        "executor_url": "",
        "loopback_address": "127.0.0.1",
        "worker_port": None,
        "worker_port_range": (46000, 47000),
        "cert_dir": None,
        "python_version": "3.11",
        "parsl_version": "1",
        "pcm_version": "1",
        "heartbeat_period_s": 30.0,
        "heartbeat_threshold_s": 600.0,
        "drain_period_s": None,
        "cores_per_worker": 1.0,
        "prefetch_capacity": None,
        "max_attempts": 3,
    }
    return InterchangeConfig(**(settings | changes))


class Site:
    """The executor's end of an interchange, and the managers that a test plays."""

    def __init__(self, run_dir: Path, **changes: Any) -> None:
        self.heard: list[AnyMessage] = []
        self._sockets: list[zmq.SyncSocket] = []
        self._zmq_context: zmq.Context[zmq.SyncSocket] = zmq.Context()
        self.client = InterchangeClient(
            on_message=lambda envelope: self.heard.append(envelope.message),
            on_lost=lambda error: None,
        )
        config = config_of(run_dir, **changes)
        self._port = self.client.start(config, COMMAND, (47000, 48000))
        self.client.send(
            Envelope(messages.StoreBlob(digest=Digest("f")), (b"function",)),
            Envelope(
                messages.DeclareContext(
                    context_key=CONTEXT,
                    name="c",
                    requirements=Requirements(cores=1.0),
                    recipes=None,
                    env={},
                )
            ),
        )

    def close(self) -> None:
        for socket in self._sockets:
            socket.close(0)
        self._zmq_context.term()
        self.client.close("the test is over", timeout_s=10.0)

    def manager(self, name: str, **registration: Any) -> PlayedManager:
        socket = client_socket(self._zmq_context, zmq.DEALER, cert_dir=None, identity=name)
        self._sockets.append(socket)
        socket.connect(tcp_url("127.0.0.1", self._port))
        manager = PlayedManager(name, socket)
        manager.register(**registration)
        return manager

    def submit(self, task: int) -> None:
        task_message = messages.SubmitTask(
            task_id=TaskId(task), context_key=CONTEXT, function=Digest("f")
        )
        self.client.send(Envelope(task_message, (b"arguments",)))

    def tell(self, message: AnyMessage) -> None:
        self.client.send(Envelope(message))

    def wait_for(self, kind: type[M], what: Callable[[M], bool] = lambda message: True) -> M:
        def find() -> M | None:
            return next((m for m in self.heard if isinstance(m, kind) and what(m)), None)

        found = wait_for(find, f"{kind.__name__} among {self.heard}")
        assert found is not None
        return found

    def departures(self) -> list[str]:
        """Return what was said of managers that left, once all that was sent has been heard."""
        self.client.ask("CONTEXTS")
        departed = [m for m in self.heard if isinstance(m, messages.ManagerDeparted)]
        return [f"{m.block_id}: {m.reason}" for m in departed]


class PlayedManager:
    """A manager that does what the test says."""

    def __init__(self, name: str, socket: zmq.SyncSocket) -> None:
        self._name = name
        self.socket = socket
        self._heard: list[AnyMessage] = []

    def register(
        self, block: str = "0", num_restarts: int = 0, remaining_s: float | None = None
    ) -> None:
        self.send(
            messages.RegisterManager(
                protocol_version=messages.PROTOCOL_VERSION,
                manager_id=ManagerId(self._name),
                block_id=BlockId(block),
                hostname="node",
                pid=1,
                python_version="3.11",
                parsl_version="1",
                pcm_version="1",
                resources=NODE,
                packages={},
                num_restarts=num_restarts,
                remaining_s=remaining_s,
            )
        )
        self.wait_for(messages.RegistrationAccepted)

    def send(self, message: AnyMessage, *payload: bytes) -> None:
        self.socket.send_multipart(codec.encode([Envelope(message, payload)]))

    def wait_for(self, kind: type[M]) -> M:
        """Return the next message of this kind; those before it are passed over."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            while self._heard:
                message = self._heard.pop(0)
                if isinstance(message, kind):
                    return message
            if self.socket.poll(100):
                envelopes = codec.decode(self.socket.recv_multipart())
                self._heard += [envelope.message for envelope in envelopes]
        raise AssertionError(f"{self._name} was not sent {kind.__name__}")

    def build_host(self) -> HostId:
        """Start the host that is asked for."""
        host = self.wait_for(messages.StartHost).host_id
        self.send(messages.HostReady(host_id=host, setup_s=0.1))
        return host

    def finish(self, lease: LeaseId) -> None:
        self.send(messages.PieceFinished(lease_id=lease, start=0, stop=1, run_s=1.0), b"result")


@pytest.fixture
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    site = Site(tmp_path, **getattr(request, "param", {}))
    try:
        yield site
    finally:
        site.close()


def running_piece(site: Site, manager: PlayedManager, task: int = 0) -> LeaseId:
    """Let a manager run a new task, the first of its context."""
    site.submit(task)
    manager.build_host()
    return manager.wait_for(messages.RunPiece).lease_id


def test_manager_that_closes_hands_its_piece_over_and_is_dismissed(site: Site) -> None:
    first, second = site.manager("first"), site.manager("second", block="1")
    lease = running_piece(site, first)
    first.send(messages.ManagerClosing(reason="SIGTERM", remaining_s=1.0))
    second.build_host()
    assert second.wait_for(messages.RunPiece).task_id == 0
    assert first.wait_for(messages.Shutdown).reason == "the site takes this node back"
    first.finish(lease)
    first.send(messages.ManagerLeaving(reason="done"))
    site.wait_for(messages.ManagerDeparted, lambda message: message.reason == "done")
    assert site.departures() == ["0: SIGTERM", "0: done"]


def test_notice_of_the_scheduler_closes_the_managers_of_that_start_of_the_block(
    site: Site,
) -> None:
    manager = site.manager("first", num_restarts=1)
    running_piece(site, manager)
    for num_restarts in (0, 2):
        site.tell(
            messages.BlockNotice(block_id=BlockId("0"), num_restarts=num_restarts, remaining_s=30.0)
        )
    assert site.departures() == []
    for _ in range(3):  # every look at the queue says it again
        site.tell(messages.BlockNotice(block_id=BlockId("0"), num_restarts=1, remaining_s=1.0))
    manager.wait_for(messages.Shutdown)
    assert site.departures() == ["0: the site takes its block back"]


def test_managers_of_a_block_that_is_gone_are_lost_but_not_those_that_came_later(
    site: Site,
) -> None:
    first, second = site.manager("first"), site.manager("second", block="1", num_restarts=1)
    running_piece(site, first)
    site.tell(messages.BlockGone(block_id=BlockId("0"), num_restarts=0, reason="PREEMPTED"))
    site.tell(messages.BlockGone(block_id=BlockId("1"), num_restarts=0, reason="REQUEUED"))
    second.build_host()
    assert second.wait_for(messages.RunPiece).task_id == 0
    assert site.departures() == ["0: its block is gone: PREEMPTED"]


@pytest.mark.parametrize(
    ("site", "num_restarts"),
    [({"nodes_per_block": 1}, 0), ({"nodes_per_block": 2}, 1)],
    indirect=["site"],
)
def test_newcomer_takes_over_from_the_manager_that_its_block_had(
    site: Site, num_restarts: int
) -> None:
    running_piece(site, site.manager("first"))
    second = site.manager("second", num_restarts=num_restarts)
    second.build_host()
    assert second.wait_for(messages.RunPiece).task_id == 0
    assert site.departures() == ["0: manager second of the same block came after it"]


@pytest.mark.parametrize("site", [{"nodes_per_block": 2}], indirect=True)
def test_nodes_of_one_block_work_side_by_side(site: Site) -> None:
    first, second = site.manager("first"), site.manager("second")
    running_piece(site, first)
    running_piece(site, second, task=1)
    assert site.departures() == []


def test_walltime_and_demand_are_told(site: Site) -> None:
    site.submit(0)
    assert site.client.ask("DEMAND") == {
        "contexts": [
            {
                "name": "c",
                "context_key": CONTEXT,
                "ways": [msgspec.json.decode(msgspec.json.encode(Requirements(cores=1.0)))],
                "num_wanted": 1,
                "num_warm": 0,
                "hosts_per_gpu": None,
                "num_hosts": 0,
                "num_open": 1,
                "setup_s": None,
                "item_s": None,
            }
        ],
        "blocks": [],
    }
    site.manager("short", remaining_s=4.0).wait_for(messages.Shutdown)
    manager = site.manager("long", block="1", remaining_s=1000.0)
    manager.build_host()
    manager.wait_for(messages.RunPiece)
    demand = site.client.ask("DEMAND")
    assert [row["num_hosts"] for row in demand["contexts"]] == [1]
    assert {
        "block_id": "1",
        "num_managers": 1,
        "num_leases": 1,
        "num_starting": 0,
        "idle_s": 0.0,
        "setup_s": 0.1,
        "keep_warm_s": 0.0,
    } in demand["blocks"]


@pytest.mark.parametrize(
    "site",
    [{"possible_nodes": (NodeResources(cores=0.5, memory_bytes=2**60, devices=(GPU,)),)}],
    indirect=True,
)
def test_task_that_no_possible_node_can_run_fails_before_any_came(site: Site) -> None:
    site.submit(0)
    failure = site.wait_for(messages.TaskFailed).failure
    assert failure.kind is messages.FailureKind.DOES_NOT_FIT
    assert "it offers 1 GPU(s) 'a10' of 24.0 GB, 0.5 core(s)" in failure.message


def test_message_that_is_sent_after_the_end_goes_nowhere(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.close()
    with (tmp_path / "file").open("wb") as first, (tmp_path / "file").open("wb") as second:
        site.submit(0)  # a thread of a map may come so late
        assert {first.tell(), second.tell()} == {0}
    assert (tmp_path / "file").read_bytes() == b""


def test_orphan_ends_and_leaves_a_clean_up_command_in_a_session_of_its_own(tmp_path: Path) -> None:
    code = "import os, sys; print(os.getsid(0) == os.getpid(), sys.stdin.read() == '', flush=True)"
    config = config_of(
        tmp_path, executor_url="tcp://127.0.0.1:9", clean_command=(sys.executable, "-c", code)
    )
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE) as interchange:
        assert interchange.stdin is not None
        interchange.stdin.write(msgspec.json.encode(config) + b"\n")
        interchange.stdin.close()
        assert interchange.wait(PATIENCE_S) == 0
    log = tmp_path / "clean.log"
    wait_for(lambda: log.exists() and log.read_text(), "the clean-up command")
    assert log.read_text().split() == ["True", "True"]
    assert "the executor's process is gone" in (tmp_path / "interchange.log").read_text()


def test_clean_up_command_that_does_not_exist_is_told_in_the_log(tmp_path: Path) -> None:
    missing = os.fspath(tmp_path / "missing")
    config = config_of(tmp_path, executor_url="tcp://127.0.0.1:9", clean_command=(missing,))
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE) as interchange:
        interchange.communicate(msgspec.json.encode(config) + b"\n", timeout=PATIENCE_S)
    assert interchange.returncode == 0
    log = (tmp_path / "interchange.log").read_text()
    assert "the jobs that wait cannot be cancelled" in log
