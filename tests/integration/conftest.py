"""One loaded executor for all tests of a module; the interchange's end for tests of managers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
import zmq.auth

from parsl_pcm import PCMExecutor
from parsl_pcm.wire import sockets
from tests.interchange_driver import InterchangeDriver
from tests.running import running


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PCMExecutor]:
    """Load Parsl with an executor that has room for four hosts."""
    with running(tmp_path_factory.mktemp("run"), max_workers_per_node=4) as executor:
        yield executor


@pytest.fixture(params=["encrypted"])
def interchange(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[InterchangeDriver]:
    """Give a socket that managers register at, and end all of them."""
    cert_dir = None
    if request.param == "encrypted":
        (tmp_path / "certificates").mkdir(mode=0o700)
        cert_dir = str(tmp_path / "certificates")
        zmq.auth.create_certificates(cert_dir, "server")
        zmq.auth.create_certificates(cert_dir, "client")
    with sockets.guarded_context(cert_dir) as zmq_context:
        socket = sockets.server_socket(zmq_context, zmq.ROUTER, cert_dir=cert_dir)
        driver = InterchangeDriver(tmp_path, socket, cert_dir)
        try:
            yield driver
        finally:
            driver.end()
