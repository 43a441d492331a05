"""Addresses → listening sockets. Floor 5: may import floors 0 to 4."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

from extproc.engine.contract import listening_refused
from extproc.errors import SetupError

_BACKLOG = 1024
"""Connections that wait to be accepted."""


def listen(address: str) -> list[socket.socket]:
    """Listens on ``host:port`` (a name may stand for several addresses; port 0: any) or ``unix:///path``.

    Raises ``SetupError`` where that can't be.
    """
    path = unix_path(address)
    found: list[socket.socket] = []
    try:
        if path is not None:
            claim(address)
            found.append(_unix(path))
        else:
            _inet(address, found)
    except (OSError, ValueError, OverflowError):
        for one in found:
            one.close()
        raise SetupError(listening_refused(address)) from None
    for one in found:
        one.setblocking(False)
    return found


def port(sockets: list[socket.socket]) -> int:
    """The port that they took; 1 for a unix socket, as in grpcio."""
    return 1 if sockets[0].family == socket.AF_UNIX else int(sockets[0].getsockname()[1])


def close(one: socket.socket) -> None:
    """Stops listening; the file of a unix socket goes, too."""
    path = one.getsockname() if one.family == socket.AF_UNIX else ""
    one.close()
    if path:
        with suppress(OSError):
            Path(path).unlink()


def claim(address: str) -> None:
    """Removes the file of a unix socket on which nobody listens any more. Raises ``SetupError`` where somebody does."""
    path = unix_path(address)
    if path is None or not Path(path).is_socket():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            Path(path).unlink(missing_ok=True)
            return
    raise SetupError(f"cannot listen on {address}: another server listens there; stop it, or choose another path")


def unix_path(address: str) -> str | None:
    """Of ``unix:///path`` or ``unix:path``; None of any other address."""
    return address.removeprefix("unix:").removeprefix("//") if address.startswith("unix:") else None


def _unix(path: str) -> socket.socket:
    one = socket.socket(socket.AF_UNIX)
    try:
        one.bind(path)
        one.listen(_BACKLOG)
    except BaseException:
        one.close()
        raise
    return one


def _inet(address: str, found: list[socket.socket]) -> None:
    host, _, digits = address.rpartition(":")
    wanted = int(digits)
    resolved = socket.getaddrinfo(host.strip("[]") or None, wanted, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, kind, protocol, _, where in dict.fromkeys(resolved):
        one = socket.socket(family, kind, protocol)
        found.append(one)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # `[::]` is for both, but where the name stands for addresses of both kinds.
            both = all(other[0] == socket.AF_INET6 for other in resolved)
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
        one.bind((where[0], wanted or (found[0].getsockname()[1] if len(found) > 1 else 0), *where[2:]))
        one.listen(_BACKLOG)
