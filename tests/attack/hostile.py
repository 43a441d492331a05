"""``python -m tests.attack.hostile NAME PORT CONNECTIONS``: a flood, in a process of its own.

For each line of its input, a number of seconds, it floods for so long and says what it got. Each connection sends as
fast as the server takes it, reads what it gets, and begins anew when it has been ended.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import struct
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
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
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


def flood(port: int, said: list[bytes], connections: int, seconds: float) -> Counter[str]:
    """What all of the connections got. Those that are left are reset, so that the server reads no more of them."""
    got, ends = Counter[str](), time.monotonic() + seconds
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
    return got


def main(name: str, port: int, connections: int) -> None:
    """What all of them got, as JSON, for each line of stdin."""
    said = pieces(FLOODS[name])
    # It stands for another machine: whoever shares its core is not what it is after.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(flood(port, said, connections, float(line))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
