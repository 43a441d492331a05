"""Ports that are free: required before anything is started, chosen for port 0, or found for a demo.

Those that are chosen lie below the ephemeral ports, where there are any below these: until the program has started that
is to listen there, the system gives them to no client and to no server on port 0.
"""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path

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
    with _listening(host) as free:
        return f"{host}:{free.getsockname()[1]}"


def free_addresses(count: int) -> list[str]:
    """Different addresses on loopback, free at this moment."""
    with ExitStack() as stack:
        found = [stack.enter_context(_listening("127.0.0.1")) for _ in range(count)]
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in found]


def likely_port() -> int:
    """A port that may be free, and the one above it."""
    highest = _first_ephemeral_port() - 2
    return random.randint(_LOWEST, highest if highest > _LOWEST else _HIGHEST)  # noqa: S311 - no secret


def _listening(host: str) -> socket.socket:
    """A server on a likely port; one on port 0 where many of them were taken, or the host is not ours."""
    for _ in range(_TRIES):
        with suppress(OSError):
            return socket.create_server((host, likely_port()))
    return socket.create_server((host, 0))


@cache
def _first_ephemeral_port() -> int:
    """By Linux, or where it tells nothing the first one by RFC 6335, which other systems use."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        return 49_152


_LOWEST, _HIGHEST = 10_000, 65_534
_TRIES = 100
