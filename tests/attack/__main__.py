"""``make attack``: each flood of the catalogue against a served engine, on loopback; what it cost, and whom.

A real Envoy asks the engine all the while, one request at a time: some rounds of quiet and of the flood in turns, of
which the medians are told. The engine has a core of its own where there are two. Ends with 1 where a request failed
open or was lost, and where the 99th percentile rose to more than five times that of the quiet rounds.
With h2load (Debian: apt-get install nghttp2-client) also how many requests a second are served before and after.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks import ours
from extproc.serve.grpc_health import CHECK
from tests.attack.floods import FLOODS
from tests.attack.well_behaved import Latency, WellBehaved, well_behaved, written
from tests.envoy.conftest import ModelServer
from tests.grpc.served import Served
from tests.http2.wire import message
from tests.waiting import until

MAX_RATIO = 5.0
"""Of p99 under a flood to p99 in quiet."""
SETTLING = 0.2
"""Seconds of requests before each round that do not count."""

HEAD = """\
| flood | connections | ended | MiB | CPU | MiB more | p50 quiet | attacked | p99 quiet | attacked | ratio | failures |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|"""
"""MiB are what was sent, and what the engine grew; times are milliseconds, medians of the rounds."""


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


class Outcome(NamedTuple):
    """What came of a flood."""

    name: str
    sent: Counter[str]
    """See ``hostile.Attacker``."""
    cpu: float
    """Of one core, that the engine used."""
    mib: float
    """That it grew."""
    quiet: list[Latency]
    attacked: list[Latency]
    failures: Counter[str]
    """See ``WellBehaved.failures``."""

    @property
    def ratio(self) -> float:
        """Of p99 under the flood to p99 in quiet."""
        return _p99(self.attacked) / _p99(self.quiet)

    def row(self) -> str:
        """A line of the table."""
        farewells = sum(count for what, count in self.sent.items() if what.startswith("GOAWAY"))
        failures = ", ".join(f"{count} {what}" for what, count in self.failures.items() if count) or "none"
        return (
            f"| {self.name} | {self.sent['connections']:,} | {farewells:,} | {self.sent['bytes'] / (1 << 20):,.0f}"
            f" | {100 * self.cpu:.0f} % | {self.mib:+.0f} | {_p50(self.quiet):.2f} | {_p50(self.attacked):.2f}"
            f" | {_p99(self.quiet):.2f} | {_p99(self.attacked):.2f} | {self.ratio:.1f} | {failures} |"
        )


def _p50(rounds: Iterable[Latency]) -> float:
    return median(one.p50 for one in rounds)


def _p99(rounds: Iterable[Latency]) -> float:
    return median(one.p99 for one in rounds)


def settled(server: Served) -> bool:
    """Whether the streams of the flood before have ended."""
    try:
        return server.metric("extproc_streams") == 0
    except OSError:  # it has too much to do
        return False


def attack(
    name: str, server: Served, client: WellBehaved, *, connections: int = 20, seconds: float = 1.0, rounds: int = 5
) -> Outcome:
    """One flood, in so many rounds of quiet and as many of the flood."""
    command = [sys.executable, "-m", "tests.attack.hostile", name, server.address.rpartition(":")[2], str(connections)]
    quiet, attacked, sent = list[Latency](), list[Latency](), Counter[str]()
    cpu, most, failed = 0.0, 0.0, client.failures()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as hostile:
        assert hostile.stdin is not None
        assert hostile.stdout is not None
        hostile.stdout.readline()
        first = used(server.process.pid)
        for _ in range(rounds):
            until(lambda: settled(server), seconds=60)
            client.watch(SETTLING)
            quiet.append(client.watch(seconds))
            hostile.stdin.write(f"{seconds + SETTLING}\n")
            hostile.stdin.flush()
            client.watch(SETTLING)
            before, began = used(server.process.pid), time.perf_counter()
            attacked.append(client.watch(seconds))
            after, ended = used(server.process.pid), time.perf_counter()
            cpu += (after.cpu - before.cpu) / (ended - began)
            most = max(most, after.mib)
            sent += Counter(json.loads(hostile.stdout.readline()))
        hostile.stdin.close()
    return Outcome(name, sent, cpu / rounds, most - first.mib, quiet, attacked, client.failures() - failed)


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


@contextmanager
def limited_to(cores: Iterable[int]) -> Iterator[None]:
    """Processes that are started meanwhile run on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("only", nargs="*", metavar="FLOOD", help=f"of: {', '.join(FLOODS)}; all unless named")
    parser.add_argument("--connections", type=int, default=20, help="of the attacker (20)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each round (1)")
    parser.add_argument("--rounds", type=int, default=5, help="of quiet, and as many of each flood (5)")
    asked = parser.parse_args()
    built = ours.compiled()
    if isinstance(built, Path):
        os.environ |= {"PYTHONPATH": f"{built}{os.pathsep}{ours.ROOT}", "PYTHONSAFEPATH": "1"}
    *others, last = sorted(os.sched_getaffinity(0))
    print(f"The engine is {'compiled' if isinstance(built, Path) else 'as it is written'}", end="")
    print(", and has a core of its own." if others else "; everything shares one core.", flush=True)
    outcomes = []
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory()))
        upstream = stack.enter_context(ModelServer("upstream"))
        policy = written(directory, upstream)
        with limited_to({last}):
            server = stack.enter_context(Served(policy)).ready()
        stack.enter_context(limited_to(others or {last}))
        client = stack.enter_context(well_behaved(policy, server))
        print(f"Health checks before: {load(server)}.\n", flush=True)
        print(HEAD, flush=True)
        for name in asked.only or FLOODS:
            outcomes.append(
                attack(name, server, client, connections=asked.connections, seconds=asked.seconds, rounds=asked.rounds)
            )
            print(outcomes[-1].row(), flush=True)
        print(f"\nHealth checks after: {load(server)}.")
    slow = [one.name for one in outcomes if one.ratio > MAX_RATIO]
    failed = [one.name for one in outcomes if one.failures.total()]
    if slow:
        print(f"p99 rose to more than {MAX_RATIO:g} times: {', '.join(slow)}.")
    if failed:
        print(f"Requests failed: {', '.join(failed)}.")
    return 1 if slow or failed else 0


if __name__ == "__main__":
    sys.exit(main())
