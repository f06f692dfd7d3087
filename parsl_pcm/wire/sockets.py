"""ZeroMQ sockets with CURVE encryption, set up the same way in every process.

Certificates lie in a private directory, as ``parsl.curvezmq.create_certificates`` writes them;
where ``cert_dir`` is None nothing is encrypted and anyone may connect.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import zmq
import zmq.auth

_LINGER_MS = 1000
"""Last words (a goodbye, a failure) get this long to leave; a dead peer may not hold us longer."""


class _KeyPair(NamedTuple):
    public: bytes
    secret: bytes


@contextlib.contextmanager
def guarded_context(cert_dir: str | None) -> Iterator[zmq.Context[zmq.SyncSocket]]:
    """Give a zmq context whose server sockets let in only clients with a key in `cert_dir`.

    At the end all its sockets are closed, each after its own linger time.
    """
    zmq_context: zmq.Context[zmq.SyncSocket] = zmq.Context()
    try:
        with _key_checks(zmq_context, cert_dir):
            yield zmq_context
    finally:
        zmq_context.destroy()


def server_socket(
    zmq_context: zmq.Context[zmq.SyncSocket], socket_type: int, *, cert_dir: str | None
) -> zmq.SyncSocket:
    """Return an unbound server socket; `zmq_context` comes from :func:`guarded_context`."""
    keys = None if cert_dir is None else _load_keys(cert_dir, "server")
    socket = _plain_socket(zmq_context, socket_type)
    if keys is not None:
        socket.curve_secretkey = keys.secret
        socket.curve_server = True
    return socket


def client_socket(
    zmq_context: zmq.Context[zmq.SyncSocket],
    socket_type: int,
    *,
    cert_dir: str | None,
    identity: str | None = None,
) -> zmq.SyncSocket:
    """Return an unconnected client socket that talks only to the server of `cert_dir`."""
    pairs = None
    if cert_dir is not None:
        pairs = _load_keys(cert_dir, "client"), _load_keys(cert_dir, "server")
    socket = _plain_socket(zmq_context, socket_type)
    if pairs is not None:
        own, server = pairs
        socket.curve_publickey, socket.curve_secretkey = own
        socket.curve_serverkey = server.public
    if identity is not None:
        socket.identity = identity.encode()
    return socket


def bind_first_free(socket: zmq.SyncSocket, address: str, ports: Iterable[int]) -> int:
    """Bind `socket` to the first of `ports` that is free and return it.

    Parameters
    ----------
    address
        An address of this machine, or ``*`` for all of them.
    ports
        ``range(54000, 55000)``, or one port alone.

    Raises
    ------
    OSError
        If none of them is free.
    """
    tried: list[int] = []
    for port in ports:
        tried.append(port)
        try:
            socket.bind(tcp_url(address, port))
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EADDRINUSE, errno.EACCES):
                raise
        else:
            return port
    wanted = (
        f"port {tried[0]}" if len(tried) == 1 else f"any of the ports {tried[0]} to {tried[-1]}"
    )
    raise OSError(f"cannot listen on {wanted} of {address}: in use or forbidden; choose others")


def tcp_url(address: str, port: int) -> str:
    """Return the zmq URL of a host name, an IPv4 or an IPv6 address."""
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(address).version == 6:
            return f"tcp://[{address}]:{port}"
    return f"tcp://{address}:{port}"


@contextlib.contextmanager
def _key_checks(zmq_context: zmq.Context[zmq.SyncSocket], cert_dir: str | None) -> Iterator[None]:
    if cert_dir is None:
        yield
        return
    from zmq.auth.thread import ThreadAuthenticator  # pulls in asyncio: servers alone pay for it

    # libzmq asks "may this key in?" through an inproc socket and holds the handshake until it is
    # answered. A thread answers, since the owner's loop may be busy; leaving this block joins it.
    authenticator = ThreadAuthenticator(zmq_context)
    authenticator.start()
    try:
        authenticator.configure_curve(domain="*", location=cert_dir)
        yield
    finally:
        authenticator.stop()


def _plain_socket(zmq_context: zmq.Context[zmq.SyncSocket], socket_type: int) -> zmq.SyncSocket:
    socket = zmq_context.socket(socket_type)
    socket.ipv6 = True
    # Without a limit nothing is dropped and no send blocks; what is in flight is bounded by the
    # leases, not here.
    socket.set_hwm(0)
    socket.linger = _LINGER_MS
    return socket


def _load_keys(cert_dir: str, name: str) -> _KeyPair:
    directory = Path(cert_dir)
    if stat.S_IMODE(directory.stat().st_mode) & 0o077:
        raise OSError(f"the certificates in {cert_dir} can be read by others; chmod 700 it")
    path = directory / f"{name}.key_secret"
    public_key, secret_key = zmq.auth.load_certificate(path)
    if secret_key is None:
        raise ValueError(f"{path} holds no secret key; start the executor again to make new ones")
    return _KeyPair(public_key, secret_key)
