"""``make attack``: each flood of the catalogue against a served engine, on loopback; what it cost, and whom.

A well-behaved client asks all the while, as an Envoy does. Ends with 1 where it was not answered or the engine died.
With h2load (Debian: apt-get install nghttp2-client) also how many requests a second are served before and after.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks import ours
from extproc.serve.health import CHECK
from tests.attack.floods import ASK, DATA, FLOODS, HEADERS, ROUTE, RST
from tests.grpc.served import POLICY, Served
from tests.http2.wire import HELLO, message, raw, settings

PACE = 0.004
"""Seconds between two requests of the well-behaved client."""
PATIENCE = 5.0
"""Seconds after which it takes a request for lost."""

HEAD = """\
| flood | connections | MiB | farewells | CPU | MiB more | quiet, ms | attacked | CPU, quiet | attacked | lost |
|---|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|"""
"""Times are p50 / p99. Those of CPU are the server's between a request and its answer: what the request waits where the
server has a core of its own.
"""


class Envoy:
    """The well-behaved client: a connection, and one request after the other on it."""

    def __init__(self, server: Served) -> None:
        host, _, port = server.address.rpartition(":")
        self._clock = ~server.process.pid << 3 | 2  # of its CPU: clock_getcpuclockid(3)
        self._sock = socket.create_connection((host, int(port)), timeout=PATIENCE)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock.sendall(HELLO + settings({4: 1 << 20}) + raw(8, 0, 0, (1 << 30).to_bytes(4)))
        self._last = -1
        self._heard = b""

    def ask(self) -> tuple[float, float]:
        """Seconds until the answer was whole, and of the server's CPU. Raises ``OSError`` where there was none."""
        self._last += 2
        started, before = time.perf_counter(), time.clock_gettime(self._clock)
        self._sock.sendall(raw(HEADERS, 4, self._last, ROUTE) + raw(DATA, 0, self._last, ASK))
        while not self._ended(self._last):
            heard = self._sock.recv(1 << 16)
            if not heard:
                raise ConnectionResetError
            self._heard += heard
        took = time.perf_counter() - started, time.clock_gettime(self._clock) - before
        self._sock.sendall(raw(RST, 0, self._last, bytes(4)))
        return took

    def watch(self, seconds: float) -> tuple[list[tuple[float, float]], int]:
        """The times of each answer, and how many there was none to."""
        times, lost, ends = list[tuple[float, float]](), 0, time.perf_counter() + seconds
        while time.perf_counter() < ends:
            try:
                times.append(self.ask())
            except OSError:
                lost += 1
            time.sleep(PACE)
        return times, lost

    def close(self) -> None:
        self._sock.close()

    def _ended(self, number: int) -> bool:
        while len(self._heard) >= 9:
            end = 9 + int.from_bytes(self._heard[:3])
            if len(self._heard) < end:
                break
            kind, flags, stream = self._heard[3], self._heard[4], int.from_bytes(self._heard[5:9])
            self._heard = self._heard[end:]
            if kind == 1 and flags & 1 and stream == number:
                return True
        return False


class Used(NamedTuple):
    """What a process has used."""

    cpu: float
    mib: float


def used(process: int) -> Used:
    """Seconds of CPU, MiB of memory."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    ticks = os.sysconf("SC_CLK_TCK")
    return Used((int(fields[11]) + int(fields[12])) / ticks, pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20))


def told(times: list[tuple[float, float]], which: int) -> str:
    """Median and 99th percentile, in milliseconds."""
    found = [1000 * pair[which] for pair in times]
    return f"{median(found):.2f} / {quantiles(found, n=100)[98]:.2f}" if len(found) > 1 else "none"


def attack(name: str, server: Served, connections: int, seconds: float) -> bool:
    """One flood: a line of the table. Whether every request of the well-behaved client was answered."""
    command = [sys.executable, "-m", "tests.attack.hostile", name, server.address.rpartition(":")[2]]
    command += [str(connections), str(seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as hostile:
        assert hostile.stdin is not None
        assert hostile.stdout is not None
        hostile.stdout.readline()
        with closing(Envoy(server)) as envoy:
            quiet, unanswered = envoy.watch(seconds)
            before = used(server.process.pid)
            hostile.stdin.write("go\n")
            hostile.stdin.flush()
            times, lost = envoy.watch(seconds)
            after = used(server.process.pid)
        got = json.loads(hostile.stdout.readline())
    said = ", ".join(f"{count:,} {what}" for what, count in got.items() if what.startswith("GOAWAY")) or "none"
    print(
        f"| {name} | {got['connections']:,} | {got.get('bytes', 0) / (1 << 20):,.0f} | {said}"
        f" | {100 * (after.cpu - before.cpu) / seconds:.0f} % | {after.mib - before.mib:+.0f}"
        f" | {told(quiet, 0)} | {told(times, 0)} | {told(quiet, 1)} | {told(times, 1)} | {lost} |",
        flush=True,
    )
    return not lost and not unanswered and server.process.poll() is None


def load(server: Served) -> str:
    """Health checks a second by h2load; or why not."""
    program = shutil.which("h2load")
    if program is None:
        return "not measured: h2load is missing (Debian: apt-get install nghttp2-client)"
    with TemporaryDirectory() as directory:
        asked = Path(directory) / "check"
        asked.write_bytes(message(b""))
        command = [program, "-n", "20000", "-c", "8", "-m", "16", "-d", str(asked), "-H", "te: trailers"]
        command += ["-H", "content-type: application/grpc", f"http://{server.address}{CHECK}"]
        said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120).stdout
    rate, done = re.search(r"([\d.]+) req/s", said), re.search(r"(\d+) succeeded", said)
    return f"{float(rate[1]):,.0f} a second, {done[1]} of 20000 served" if rate and done else f"h2load said: {said!r}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("only", nargs="*", metavar="FLOOD", help=f"of: {', '.join(FLOODS)}; all unless named")
    parser.add_argument("--connections", type=int, default=20, help="of the attacker (20)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each flood, after as many of quiet (2)")
    asked = parser.parse_args()
    built = ours.compiled()
    if isinstance(built, Path):
        os.environ |= {"PYTHONPATH": f"{built}{os.pathsep}{ours.ROOT}", "PYTHONSAFEPATH": "1"}
    print(f"The engine is {'compiled' if isinstance(built, Path) else 'as it is written'}.", flush=True)
    sound = True
    with TemporaryDirectory() as directory:
        policy = Path(directory) / "policy.yaml"
        policy.write_text(POLICY.replace("WEIGHT", "90"))
        with Served(policy) as server:
            server.ready()
            print(f"Health checks before: {load(server)}.\n", flush=True)
            print(HEAD, flush=True)
            for name in asked.only or FLOODS:
                sound &= attack(name, server, asked.connections, asked.seconds)
            print(f"\nHealth checks after: {load(server)}.")
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
