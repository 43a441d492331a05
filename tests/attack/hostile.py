"""``python -m tests.attack.hostile NAME PORT CONNECTIONS SECONDS``: a flood, in a process of its own; then what it got.

Each connection sends as fast as the server takes it, reads what it gets, and begins anew when it has been ended.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import sys
import time
from collections import Counter
from contextlib import suppress

from tests.attack.floods import FLOODS, pieces

CODES = {0: "NO_ERROR", 1: "PROTOCOL_ERROR", 3: "FLOW_CONTROL_ERROR", 11: "ENHANCE_YOUR_CALM"}


class Attacker:
    """One connection after the other."""

    def __init__(self, port: int, said: list[bytes], got: Counter[str]) -> None:
        self._port, self._said, self._got = port, said, got
        self.connect()

    def connect(self) -> None:
        self.sock = socket.create_connection(("127.0.0.1", self._port))
        self.sock.setblocking(False)
        self._next, self._rest, self._heard = 0, b"", b""
        self._got["connections"] += 1

    def turn(self) -> None:
        """Raises ``OSError`` when the server has ended the connection."""
        with suppress(BlockingIOError):
            if not (heard := self.sock.recv(1 << 18)):
                raise ConnectionResetError
            self._receive(heard)
        with suppress(BlockingIOError):
            if not self._rest and self._next < len(self._said):
                self._rest = self._said[self._next]
                self._next += 1
            if self._rest:
                sent = self.sock.send(self._rest)
                self._got["bytes"] += sent
                self._rest = self._rest[sent:]

    def _receive(self, heard: bytes) -> None:
        """Frames, of which only the last words matter."""
        self._heard += heard
        while len(self._heard) >= 9:
            end = 9 + int.from_bytes(self._heard[:3])
            if len(self._heard) < end:
                break
            if self._heard[3] == 7:
                code = int.from_bytes(self._heard[13:17])
                self._got[f"GOAWAY {CODES.get(code, code)}"] += 1
            self._heard = self._heard[end:]


def main(name: str, port: int, connections: int, seconds: float) -> None:
    """What all of them got, as JSON."""
    said, got = pieces(FLOODS[name]), Counter[str]()
    os.nice(10)  # it stands for another machine: the server's CPU is not what it is after
    print("ready", flush=True)
    sys.stdin.readline()
    ends = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        attackers = [Attacker(port, said, got) for _ in range(connections)]
        for one in attackers:
            selector.register(one.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, one)
        while time.monotonic() < ends:
            for key, _ in selector.select(0.1):
                try:
                    key.data.turn()
                except OSError:
                    selector.unregister(key.data.sock)
                    key.data.sock.close()
                    key.data.connect()
                    selector.register(key.data.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, key.data)
        for one in attackers:
            one.sock.close()
    print(json.dumps(got))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
