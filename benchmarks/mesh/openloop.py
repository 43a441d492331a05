"""An open loop: requests leave when they are due, whether earlier ones are back or not. A process of its own.

A request's time counts from when it was due, so a stall is seen by every request that it delays (no coordinated
omission). Connections are kept alive and reused; a request that finds none free opens one. Several addresses are asked
in turn: what the machine does to one, it does to the others. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
from array import array
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

SLOW = 0.050
"""Seconds that no request should take."""
_MAX_LISTED = 1000
"""Slow requests that are listed; all are counted."""

Done = Callable[[str, float], None]


class Connection(asyncio.Protocol):
    """One request at a time. ``release`` is called when it is free again."""

    def __init__(self, release: Callable[[Connection], None]) -> None:
        self._release = release
        self._done: Done | None = None
        self._transport: asyncio.Transport | None = None
        self._due = 0.0
        self._head = b""
        self._missing: int | None = None
        self._tail = b""
        self._gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It may be asked."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self, request: bytes, due: float, done: Done) -> None:
        """``done`` gets the status, or what went wrong, and the seconds since ``due``."""
        assert self._transport is not None
        self._due, self._done, self._head, self._tail = due, done, b"", b""
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """More of the answer."""
        if self._done is None:
            return
        if b"\r\n\r\n" not in self._head:
            self._head += data
            head, found, data = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            _, counted, length = head.lower().partition(b"\r\ncontent-length:")
            self._missing = int(length.partition(b"\r\n")[0]) if counted else None
        if self._is_complete(data):
            self._end(self._head[9:12].decode("latin-1"))
            self._release(self)

    def _is_complete(self, data: bytes) -> bool:
        """Whether the answer ends with this piece of its body. Without a length it is chunked."""
        if self._missing is not None:
            self._missing -= len(data)
            return self._missing <= 0
        self._tail = (self._tail + data)[-5:]
        return self._tail == b"0\r\n\r\n"

    async def close(self) -> None:
        """Returns once the connection is gone."""
        if self._transport is not None:
            self._transport.close()
            await self._gone.wait()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the base class's signature
        """Ends the request under way with an error."""
        self._gone.set()
        self._end("connection lost")

    def _end(self, outcome: str) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(outcome, perf_counter() - self._due)

    @property
    def open(self) -> bool:
        """Whether it may be asked again."""
        return self._transport is not None and not self._transport.is_closing()


class Target:
    """One address: its idle connections and what it answered."""

    def __init__(self, address: str, request: bytes) -> None:
        host, _, port = address.rpartition(":")
        self._where = (host, int(port))
        self._request = request
        self._idle: list[Connection] = []
        self.address = address
        self.begin = 0.0
        self.seconds = array("d")
        self.outcomes: dict[str, int] = {}
        self.slow: list[tuple[float, float]] = []
        self.pending = 0

    async def close(self) -> None:
        """Closes what is idle; nothing is left in flight."""
        for connection in self._idle:
            await connection.close()

    async def ask(self, due: float) -> None:
        """Sends one request now; its time counts from ``due``."""
        self.pending += 1
        while self._idle:
            connection = self._idle.pop()
            if connection.open:
                break
        else:
            try:
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: Connection(self._idle.append), *self._where
                )
            except OSError as error:
                self._note(type(error).__name__, perf_counter() - due, due)
                return
        connection.send(self._request, due, lambda outcome, seconds: self._note(outcome, seconds, due))

    def _note(self, outcome: str, seconds: float, due: float) -> None:
        self.pending -= 1
        self.seconds.append(seconds)
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        if seconds > SLOW:
            self.slow.append((due - self.begin, seconds))

    def report(self) -> dict[str, Any]:
        """Milliseconds. ``slowest``: (seconds after ``begin`` at which it was due, how long it took)."""
        ordered = sorted(self.seconds)

        def at(share: float) -> float:
            return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3)

        return {
            "address": self.address,
            "requests": len(ordered),
            "outcomes": self.outcomes,
            "p50": at(0.5),
            "p99": at(0.99),
            "p999": at(0.999),
            "max": round(1000 * ordered[-1], 3),
            "slow": len(self.slow),
            "begin": self.begin,
            "slowest": [(round(when, 3), round(1000 * took, 1)) for when, took in sorted(self.slow)[:_MAX_LISTED]],
        }


async def drive(targets: Sequence[Target], rate: float, count: int) -> None:
    """``count`` requests to each target, ``rate`` a second to each."""
    begin = perf_counter() + 0.1
    step = 1 / (rate * len(targets))
    for target in targets:
        target.begin = begin
    for number in range(count * len(targets)):
        due = begin + number * step
        if (early := due - perf_counter()) > 0:
            await asyncio.sleep(early)
        await targets[number % len(targets)].ask(due)
    ends = perf_counter() + 30
    while any(target.pending for target in targets) and perf_counter() < ends:
        await asyncio.sleep(0.01)
    for target in targets:
        await target.close()


def post(path: str, headers: Sequence[str], body: bytes) -> bytes:
    """A request as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", "host: bench", *headers, f"content-length: {len(body)}"]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode() + body


def main(arguments: Sequence[str] | None = None) -> int:
    """The body comes on standard input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mesh.openloop")
    parser.add_argument("address", nargs="+", metavar="HOST:PORT")
    parser.add_argument("--path", required=True)
    parser.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'")
    parser.add_argument("--rate", type=float, required=True, help="requests per second to each address")
    parser.add_argument("--count", type=int, required=True, help="requests to each address")
    options = parser.parse_args(arguments)
    request = post(options.path, options.header, sys.stdin.buffer.read())
    targets = [Target(address, request) for address in options.address]
    gc.disable()  # its own pauses are not to be measured
    asyncio.run(drive(targets, options.rate, options.count))
    unanswered = sum(target.pending for target in targets)
    json.dump({"unanswered": unanswered, "targets": [target.report() for target in targets]}, sys.stdout)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
