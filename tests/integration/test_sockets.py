"""Encrypted sockets over the loopback interface."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
import zmq.auth

from parsl_pcm.wire.sockets import (
    bind_first_free,
    client_socket,
    guarded_context,
    server_socket,
    tcp_url,
)

PORTS = range(46000, 47000)
PATIENCE_MS = 60_000
IN_VAIN_MS = 500


def make_certificates(directory: Path) -> str:
    directory.mkdir(mode=0o700)
    zmq.auth.create_certificates(directory, "server")
    zmq.auth.create_certificates(directory, "client")
    return str(directory)


@pytest.fixture
def cert_dir(tmp_path: Path) -> str:
    return make_certificates(tmp_path / "certificates")


@pytest.fixture
def zmq_context(cert_dir: str) -> Iterator[zmq.Context[zmq.SyncSocket]]:
    with guarded_context(cert_dir) as zmq_context:
        yield zmq_context


def greeting(server: zmq.SyncSocket, client: zmq.SyncSocket, timeout_ms: int) -> list[bytes] | None:
    """Return what the server gets of a greeting of the client."""
    with server, client:
        client.connect(tcp_url("127.0.0.1", bind_first_free(server, "127.0.0.1", PORTS)))
        client.linger = 0
        client.send(b"hello")
        return server.recv_multipart() if server.poll(timeout_ms) else None


def test_client_with_the_key_gets_through(
    zmq_context: zmq.Context[zmq.SyncSocket], cert_dir: str
) -> None:
    server = server_socket(zmq_context, zmq.ROUTER, cert_dir=cert_dir)
    client = client_socket(zmq_context, zmq.DEALER, cert_dir=cert_dir, identity="me")
    assert greeting(server, client, PATIENCE_MS) == [b"me", b"hello"]


def test_parsls_own_certificates_are_understood(tmp_path: Path) -> None:
    from parsl.curvezmq import create_certificates

    cert_dir = create_certificates(tmp_path)
    with guarded_context(cert_dir) as zmq_context:
        server = server_socket(zmq_context, zmq.ROUTER, cert_dir=cert_dir)
        client = client_socket(zmq_context, zmq.DEALER, cert_dir=cert_dir, identity="me")
        assert greeting(server, client, PATIENCE_MS) == [b"me", b"hello"]


def test_without_certificates_nothing_is_checked() -> None:
    with guarded_context(None) as zmq_context:
        server = server_socket(zmq_context, zmq.ROUTER, cert_dir=None)
        client = client_socket(zmq_context, zmq.DEALER, cert_dir=None, identity="me")
        assert greeting(server, client, PATIENCE_MS) == [b"me", b"hello"]


def test_client_with_a_key_of_its_own_stays_outside(
    zmq_context: zmq.Context[zmq.SyncSocket], cert_dir: str
) -> None:
    server = server_socket(zmq_context, zmq.ROUTER, cert_dir=cert_dir)
    client = client_socket(zmq_context, zmq.DEALER, cert_dir=cert_dir)
    client.curve_publickey, client.curve_secretkey = zmq.curve_keypair()
    assert greeting(server, client, IN_VAIN_MS) is None


def test_unencrypted_client_stays_outside(
    zmq_context: zmq.Context[zmq.SyncSocket], cert_dir: str
) -> None:
    server = server_socket(zmq_context, zmq.ROUTER, cert_dir=cert_dir)
    client = client_socket(zmq_context, zmq.DEALER, cert_dir=None)
    assert greeting(server, client, IN_VAIN_MS) is None


def test_client_refuses_another_server(
    zmq_context: zmq.Context[zmq.SyncSocket], cert_dir: str, tmp_path: Path
) -> None:
    server = server_socket(zmq_context, zmq.ROUTER, cert_dir=cert_dir)
    client = client_socket(zmq_context, zmq.DEALER, cert_dir=make_certificates(tmp_path / "others"))
    assert greeting(server, client, IN_VAIN_MS) is None


def test_readable_certificates_are_refused(
    zmq_context: zmq.Context[zmq.SyncSocket], cert_dir: str
) -> None:
    Path(cert_dir).chmod(0o755)
    with pytest.raises(OSError, match="chmod 700"):
        server_socket(zmq_context, zmq.ROUTER, cert_dir=cert_dir)


def test_next_free_port_is_taken(zmq_context: zmq.Context[zmq.SyncSocket], cert_dir: str) -> None:
    one, other = (server_socket(zmq_context, zmq.ROUTER, cert_dir=cert_dir) for _ in range(2))
    with one, other:
        port = bind_first_free(one, "127.0.0.1", PORTS)
        assert bind_first_free(other, "127.0.0.1", range(port, port + 100)) > port


def test_port_in_use_is_told(zmq_context: zmq.Context[zmq.SyncSocket], cert_dir: str) -> None:
    one, other = (server_socket(zmq_context, zmq.ROUTER, cert_dir=cert_dir) for _ in range(2))
    with one, other:
        port = bind_first_free(one, "127.0.0.1", PORTS)
        with pytest.raises(OSError, match=f"port {port} of 127.0.0.1: in use"):
            bind_first_free(other, "127.0.0.1", [port])


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("10.0.0.1", "tcp://10.0.0.1:5"),
        ("::1", "tcp://[::1]:5"),
        ("node1.cluster", "tcp://node1.cluster:5"),
        ("*", "tcp://*:5"),
    ],
)
def test_addresses_become_urls(address: str, url: str) -> None:
    assert tcp_url(address, 5) == url
