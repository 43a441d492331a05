"""Ports for programs that cannot be started on port 0.

They lie below the ephemeral ports, where there are any below these: until the program has started, the system gives
them to no client and to no server on port 0.
"""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from pathlib import Path

_LOWEST, _HIGHEST = 10_000, 65_534


def free_port() -> int:
    """A port that is free at this moment."""
    while True:
        port = _port()
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def taken_after_a_free_port() -> socket.socket:
    """A socket that listens one port above a free one; the caller closes it."""
    while True:
        port = _port()
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return socket.create_server(("127.0.0.1", port + 1))


def _port() -> int:
    highest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0]) - 2
    return random.randint(_LOWEST, highest if highest > _LOWEST else _HIGHEST)  # many systems are set to 1024 to 65535
