"""Listening sockets for the addresses of ``--listen``."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from pathlib import Path

from extproc.errors import SetupError, cannot_listen

_ACCEPT_QUEUE = 1024
"""Connections that wait to be accepted (``listen(2)``)."""


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
    except (OSError, ValueError, OverflowError):  # a bad name is a ValueError, too
        for one in found:
            one.close()
        raise cannot_listen(address, "--listen") from None
    for one in found:
        one.setblocking(False)
    return found


def port(sockets: list[socket.socket]) -> int:
    """The port that they listen on; 1 for a unix socket, as in grpcio."""
    return 1 if sockets[0].family == socket.AF_UNIX else int(sockets[0].getsockname()[1])


def close(one: socket.socket) -> None:
    """Stops listening, and removes the file of a unix socket."""
    if one.family == socket.AF_UNIX:
        with suppress(OSError):  # before the end: afterwards the file may be another server's
            Path(one.getsockname()).unlink()
    one.close()


def claim(address: str) -> None:
    """Removes the file of a unix socket on which nobody listens any more. Raises ``SetupError`` where somebody does."""
    path = unix_path(address)
    if not path or "\0" in path or not Path(path).is_socket():
        return
    if not _stale(path):
        raise SetupError(f"cannot listen on {address}: another server listens there; stop it, or choose another path")
    Path(path).unlink(missing_ok=True)


def unix_path(address: str) -> str | None:
    """Of ``unix:///path`` or ``unix:path``; None of any other address."""
    return address.removeprefix("unix:").removeprefix("//") if address.startswith("unix:") else None


def _unix(path: str) -> socket.socket:
    if not path or "\0" in path:  # Linux would take it for an abstract or a shorter one
        raise ValueError("a unix socket needs a path")
    one = socket.socket(socket.AF_UNIX)
    try:
        one.bind(path)
        one.listen(_ACCEPT_QUEUE)
    except BaseException:
        one.close()
        raise
    return one


def _stale(path: str) -> bool:
    """Whether nobody listens there. A server that is too busy to answer, or may not be asked, counts as listening."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        return probe.connect_ex(path) == errno.ECONNREFUSED


def _inet(address: str, found: list[socket.socket]) -> None:
    host, _, digits = address.rpartition(":")
    wanted = int(digits)
    resolved = socket.getaddrinfo(host.strip("[]") or None, wanted, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    absent: OSError | None = None
    for family, kind, protocol, _, where in dict.fromkeys(resolved):
        try:
            one = socket.socket(family, kind, protocol)
        except OSError as error:
            absent = error  # of a kind that this machine does not have, as IPv6 in many a container
            continue
        found.append(one)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # `[::]` is for both, but where the name stands for addresses of both kinds.
            both = all(other[0] == socket.AF_INET6 for other in resolved)
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
        try:
            one.bind((where[0], wanted or (found[0].getsockname()[1] if len(found) > 1 else 0), *where[2:]))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            absent = error
            found.pop().close()
            continue
        one.listen(_ACCEPT_QUEUE)
    if not found and absent is not None:
        raise absent
