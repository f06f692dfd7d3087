"""The executor's end of the link to its interchange: the process, the socket, one thread.

The thread owns the socket, since zmq sockets must not be shared between threads: senders append to
a queue and wake it. It also watches the process, so that open futures never wait for a dead one.
``close`` joins it.
"""

from __future__ import annotations

import itertools
import logging
import os
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec
import zmq

from parsl_pcm.clock import monotonic_s
from parsl_pcm.config import InterchangeConfig
from parsl_pcm.errors import InterchangeLost
from parsl_pcm.wire import codec, messages
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.sockets import bind_first_free, client_socket, guarded_context

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 60.0
"""An interchange starts in 0.2 s; a cold shared file system may need far longer to import."""
WATCH_PERIOD_MS = 500
"""How long the death of the interchange may go unnoticed."""
LAST_WORDS_MS = 500
"""For what an interchange sent just before its end: zmq's own thread may not have read it yet."""
LOG_TAIL_LINES = 20


class InterchangeClient:
    """A running interchange and the messages to and from it.

    Parameters
    ----------
    on_message
        Called in the client's thread with each message but replies to commands; must not raise.
    on_lost
        Called once, in the client's thread, if the interchange ends without being told to.
    """

    def __init__(
        self,
        *,
        on_message: Callable[[Envelope], None],
        on_lost: Callable[[InterchangeLost], None],
    ) -> None:
        self._on_message = on_message
        self._on_lost = on_lost
        self._outgoing: deque[Envelope] = deque()
        self._replies: dict[int, Future[Any]] = {}
        self._request_ids = itertools.count()
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_reader, False)
        self._wake_guard = threading.Lock()
        self._is_awake = False
        self._is_closed = False
        self._is_closing = False
        self._has_heard_all = False
        self._lost: InterchangeLost | None = None
        self._started: Future[int] = Future()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    def start(
        self, config: InterchangeConfig, command: Sequence[str], ports: tuple[int, int]
    ) -> int:
        """Start the interchange and return the port on which it listens for managers.

        Parameters
        ----------
        config
            Its configuration; ``executor_url`` is filled in here.
        command
            Starts it; gets the configuration on stdin.
        ports
            The first free one of this range, the end excluded, is used between us and it.

        Raises
        ------
        InterchangeLost
            If it does not start.
        """
        ready: Future[str] = Future()
        self._log_path = Path(config.run_dir) / "interchange.log"
        self._thread = threading.Thread(
            target=self._run, args=(config, ports, ready), name="pcm-client", daemon=True
        )
        self._thread.start()
        url = ready.result()
        errors_path = Path(config.run_dir) / "interchange.stderr"
        with errors_path.open("wb") as errors:
            self._errors_path = errors_path
            # A session of its own: Ctrl-C is for the script, which then ends us in good order.
            self._process = subprocess.Popen(
                list(command), stdin=subprocess.PIPE, stderr=errors, start_new_session=True
            )
        assert self._process.stdin is not None, "a pipe was asked for"
        config = msgspec.structs.replace(config, executor_url=url)
        try:
            # stdin stays open: when this process dies, however it dies, the interchange sees it.
            self._process.stdin.write(msgspec.json.encode(config) + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            logger.debug("the interchange ended at once; the thread reports how")
        return self._started.result(timeout=START_TIMEOUT_S)

    def send(self, *envelopes: Envelope) -> None:
        """Send messages, in this order, from any thread.

        Raises
        ------
        InterchangeLost
            If the interchange is gone.
        """
        if self._lost is not None:
            raise self._lost
        self._outgoing.extend(envelopes)
        self._wake()

    def ask(self, name: str, argument: str | None = None, *, timeout_s: float = 60.0) -> Any:
        """Send a command and wait for its answer.

        Raises
        ------
        InterchangeLost
            If the interchange is gone, or goes meanwhile.
        TimeoutError
            If it does not answer.
        """
        request_id = next(self._request_ids)
        reply: Future[Any] = Future()
        self._replies[request_id] = reply
        message = messages.Command(request_id=request_id, name=name, argument=argument)
        self.send(Envelope(message))
        return reply.result(timeout=timeout_s)

    @property
    def is_own_thread(self) -> bool:
        """Whether this is asked in the thread that receives: it must not wait for an answer."""
        return threading.current_thread() is self._thread

    def close(self, reason: str, *, timeout_s: float) -> None:
        """End the interchange and everything behind it; wait until it has, else kill it."""
        if self._process is None or self._thread is None:
            return
        self._is_closing = True
        if self._lost is None:
            self.send(Envelope(messages.Shutdown(reason=reason)))
        try:
            self._process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            logger.warning("the interchange did not end when told to; killing it")
            self._process.kill()
        self._wake()
        self._thread.join()
        assert self._process.stdin is not None, "a pipe was asked for"
        self._process.stdin.close()
        with self._wake_guard:  # a thread that still sends must not write to what is opened next
            self._is_closed = True
            os.close(self._wake_writer)
            os.close(self._wake_reader)

    # --- the thread ---------------------------------------------------------------------------

    def _run(self, config: InterchangeConfig, ports: tuple[int, int], ready: Future[str]) -> None:
        try:
            with guarded_context(None) as zmq_context:
                socket = client_socket(zmq_context, zmq.DEALER, cert_dir=config.cert_dir)
                port = bind_first_free(socket, config.loopback_address, range(*ports))
                ready.set_result(f"tcp://{config.loopback_address}:{port}")
                self._work(socket)
        except BaseException as error:
            logger.exception("the link to the interchange broke")
            if not ready.done():
                ready.set_exception(error)
            self._lose(f"the link to the interchange broke: {error!r}")

    def _work(self, socket: zmq.SyncSocket) -> None:
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(self._wake_reader, zmq.POLLIN)
        watched_at = monotonic_s()
        while self._lost is None:
            ready = dict(poller.poll(WATCH_PERIOD_MS))
            if self._wake_reader in ready:
                os.read(self._wake_reader, 4096)
                # Before looking at the queue: who finds us awake has queued its message already.
                self._is_awake = False
            self._send_queued(socket)
            if socket in ready:
                self._receive(socket)
            if monotonic_s() - watched_at >= WATCH_PERIOD_MS / 1000 or self._is_closing:
                watched_at = monotonic_s()
                if self._has_ended():
                    self._receive_last_words(socket)
                    break
        socket.linger = 0  # nobody is left to receive what is queued
        if not self._is_closing and self._lost is None:
            self._lose(self._describe_end())

    def _send_queued(self, socket: zmq.SyncSocket) -> None:
        batch = []
        while self._outgoing:
            batch.append(self._outgoing.popleft())
        if not batch:
            return
        try:
            socket.send_multipart(codec.encode(batch), zmq.NOBLOCK, copy=False)
        except zmq.Again:
            # Nobody is connected: the interchange has ended, which our next look at it will tell.
            self._outgoing.extendleft(reversed(batch))

    def _receive(self, socket: zmq.SyncSocket) -> None:
        while True:
            try:
                frames = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            for envelope in codec.decode(frames):
                self._on_envelope(envelope)

    def _receive_last_words(self, socket: zmq.SyncSocket) -> None:
        self._receive(socket)
        while not (self._has_heard_all or self._lost) and socket.poll(LAST_WORDS_MS):
            self._receive(socket)

    def _on_envelope(self, envelope: Envelope) -> None:
        # Nothing follows the summary of a run.
        self._has_heard_all |= isinstance(envelope.message, messages.RunSummary)
        match envelope.message:
            case messages.CommandReply(request_id=request_id, value=value):
                self._replies.pop(request_id).set_result(value)
            case messages.InterchangeStarted(worker_port=worker_port):
                self._started.set_result(worker_port)
            case messages.InterchangeFailing(traceback=text):
                self._lose(f"the interchange failed because of an error in parsl_pcm:\n{text}")
            case _:
                self._on_message(envelope)

    def _has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def _describe_end(self) -> str:
        assert self._process is not None, "only a started process ends"
        tail = _tail(self._errors_path) or _tail(self._log_path)
        return (
            f"the interchange (process {self._process.pid}) ended with exit code "
            f"{self._process.returncode} while the executor was in use; a negative code is the "
            f"signal that killed it. Start the executor again; finished results are kept by "
            f"Parsl's checkpoints if you use them. Last lines of its output:\n{tail}"
        )

    def _lose(self, why: str) -> None:
        """Tell everybody who waits that no answer will come."""
        self._lost = InterchangeLost(why)
        waiting = list(self._replies.values())
        self._replies.clear()
        for reply in waiting:
            reply.set_exception(self._lost)
        if self._started.done():
            self._on_lost(self._lost)
        else:
            self._started.set_exception(self._lost)

    def _wake(self) -> None:
        if self._is_awake:
            return
        with self._wake_guard:
            if not self._is_closed:
                self._is_awake = True
                os.write(self._wake_writer, b"w")


class CommandClient:
    """What the methods of HighThroughputExecutor use to ask the interchange."""

    def __init__(self, client: InterchangeClient) -> None:
        self._client = client

    def run(self, message: str | list[str]) -> Any:
        """Return the answer; what an interchange without managers would say if it is gone."""
        name, argument = (message, None) if isinstance(message, str) else message
        try:
            return self._client.ask(name, argument)
        except InterchangeLost:
            return {} if name == "MANAGERS_PACKAGES" else []


def _tail(path: Path) -> str:
    if not path.exists():
        return ""
    return "\n".join(path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
