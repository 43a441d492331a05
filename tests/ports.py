"""Ports for programs that cannot be started on port 0."""

from __future__ import annotations

import socket
from contextlib import suppress

from extproc.gateway.free_ports import free_addresses, likely_port


def free_port() -> int:
    """A port that is free at this moment."""
    return int(free_addresses(1)[0].rpartition(":")[2])


def taken_after_a_free_port() -> socket.socket:
    """A socket that listens one port above a free one; the caller closes it."""
    while True:
        port = likely_port()
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return socket.create_server(("127.0.0.1", port + 1))
