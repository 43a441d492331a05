"""Ports that are free: required before anything is started, chosen for port 0, or found for a demo."""

from __future__ import annotations

import socket

from extproc.errors import cannot_listen
from extproc.render.envoy.envoy_options import host_port


def require_free_port(flag: str, address: str) -> None:
    """Raises ``SetupError`` where ``address`` is taken; called before anything is started.

    Envoy shares its ports (SO_REUSEPORT): without this check a second gateway would take half of the requests
    unnoticed.
    """
    host, port = host_port(address)
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(target)
    except OSError as error:
        raise cannot_listen(address, flag, error.strerror or str(error)) from error


def with_free_port(address: str) -> str:
    """``address``, with a free port in the place of port 0."""
    host, port = host_port(address)
    if port:
        return address
    with socket.create_server((host, 0)) as free:
        return f"{host}:{free.getsockname()[1]}"


def free_addresses(count: int) -> list[str]:
    """Different addresses on loopback, free at this moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    for s in sockets:
        s.close()
    return addresses
