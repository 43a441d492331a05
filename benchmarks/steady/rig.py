"""What the experiments stand on: processors behind Envoys, load of a known rate, and what to read off meanwhile."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.mesh import bench, load
from benchmarks.mesh.bench import RunningScenario
from benchmarks.mesh.load import Workload
from benchmarks.mesh.process import Process, cpu_seconds
from benchmarks.mesh.processes import OTHER_CORE, PROCESSOR_CORE, wait
from benchmarks.mesh.scenarios import Scenario
from benchmarks.mesh.upstream import start_upstream

CHAT = Workload("0.5 KB chat, c=16", 512, 16)
_WATCHED = 10
"""Seconds of an open loop that tell what a request costs."""


class Rig:
    """Starts what is asked for; everything ends with ``stack``."""

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        self._stack = stack
        self._directory = directory
        self._upstream = start_upstream(stack, directory / "upstream")
        self._lua = load.script(CHAT, directory)
        self._count = 0

    def start(self, scenario: Scenario) -> RunningScenario:
        """The scenario, running."""
        self._count += 1
        return RunningScenario(scenario, self._stack, self._directory / f"scenario-{self._count}", self._upstream)

    def turn(self, standing: RunningScenario, seconds: float) -> bench.Turn:
        """As many requests as come back."""
        return standing.turn(0, CHAT, self._lua, seconds)

    def saturation(self, standing: list[RunningScenario]) -> float:
        """Requests a second to each, all at once, that leave one of the two cores no time.

        Told from how busy a slow open loop keeps the cores: requests that come one by one cost more than those in the
        crowds of a closed loop, and the generator takes its share of Envoy's core.
        """
        for one in standing:
            self.turn(one, 2)
        rate = min(self.turn(one, 2).rate for one in standing) / 8 / len(standing)
        seen = [spent() for _ in open_loop(standing, rate, int(rate * _WATCHED))][1:-1]  # it has begun, and not ended
        return rate / busiest(seen[0], seen[-1])


def busiest(first: tuple[float, ...], last: tuple[float, ...]) -> float:
    """The share of the time between two ``spent`` for which that core of the two was busy that was so for longer."""
    passed, *cores = (after - before for before, after in zip(first, last, strict=True))
    return max(cores) / passed


def spent() -> tuple[float, ...]:
    """The time, and seconds for which each of the two cores has been busy, or wanted by us and not had."""
    lines = Path("/proc/stat").read_text().splitlines()
    found = {line.split()[0]: [int(ticks) for ticks in line.split()[1:9]] for line in lines if line.startswith("cpu")}
    cores = (found[f"cpu{core}"] for core in (PROCESSOR_CORE, OTHER_CORE))
    # proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal.
    return (time.monotonic(), *((sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK") for ticks in cores))


def open_loop(standing: list[RunningScenario], rate: float, count: int) -> Iterator[list[dict[str, Any]] | None]:
    """``count`` requests to each, ``rate`` a second each. Yields None every second or so, and the reports at last.

    Raises RuntimeError where some were never answered.
    """
    addresses = [f"127.0.0.1:{one.port}" for one in standing]
    command = load.generator(CHAT, addresses, rate, count, OTHER_CORE)
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=False)
    out: bytes | None = None
    given: bytes | None = CHAT.payload()
    while out is None:
        try:
            out = child.communicate(given, timeout=1)[0]
        except subprocess.TimeoutExpired:
            given = None
            yield None
    if child.returncode:
        raise RuntimeError(f"the load generator ended with {child.returncode}")
    found = json.loads(out)
    if found["unanswered"]:
        raise RuntimeError(f"{found['unanswered']} requests were never answered")
    yield found["targets"]


def metric(process: Process, name: str) -> float:
    """The sum of the samples ``name`` on the admin port of one of our processors."""
    port = re.search(r"admin on port (\d+)", process.log.read_text())
    assert port is not None
    with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if re.match(rf"{name}[ {{]", line))


@contextmanager
def held(standing: RunningScenario, streams: int) -> Iterator[None]:
    """With ``streams`` idle streams to the scenario's processor."""
    address = standing.addresses[0]
    command = ["taskset", "-c", str(OTHER_CORE), sys.executable, "-m", "benchmarks.steady.hold", address, str(streams)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == b"open\n"
        wait(lambda: metric(standing.processors[0], "extproc_streams") >= streams, standing.processors[0], 60)
        yield
    finally:
        child.stdin.close()
        child.wait(30)
        child.stdout.close()


@contextmanager
def stalls() -> Iterator[list[list[tuple[float, float]] | None]]:
    """What ``stalls`` finds on each core, once the context has ended; None where it may not look."""
    found: list[list[tuple[float, float]] | None] = []
    command = [sys.executable, "-m", "benchmarks.steady.stalls"]
    watching = [
        subprocess.Popen([*command, str(core)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for core in (PROCESSOR_CORE, OTHER_CORE)
    ]
    try:
        yield found
    finally:
        found += [json.loads(one.communicate()[0]) for one in watching]


_COMPILED = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
"""As installed packages are: compiled once."""


def first_stream(command: list[str], address: str, message: bytes) -> tuple[float, float]:
    """Seconds from exec to the answer of the first stream at ``address``, and seconds of CPU by then."""
    client = [sys.executable, "-m", "benchmarks.steady.first", address]
    asking = subprocess.Popen(client, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert asking.stdout is not None
    assert asking.stdin is not None
    asking.stdin.write(message)
    asking.stdin.close()
    asking.stdout.readline()  # it is ready
    begin = time.monotonic()
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_COMPILED)
    try:
        seconds = float(asking.stdout.readline()) - begin
        return seconds, cpu_seconds(server.pid)
    finally:
        server.terminate()
        server.wait(20)
        asking.wait(20)
        asking.stdout.close()
