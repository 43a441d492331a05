"""`python -m benchmarks.mesh.paired`: what the observer costs clients, and itself.

Two Envoys, one with the observer and one without, each with a processor of its own, get the same requests in turn, in
random order, one at a time and with a pause after each: nothing but the observer is different between two neighbours.
With Go, two more have the Go peer, which leaves as soon as it is shown an exchange: what any observer costs Envoy.
"""

from __future__ import annotations

import argparse
import http.client
import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from benchmarks import ours
from benchmarks.mesh import bench
from benchmarks.mesh.load import Workload
from benchmarks.mesh.scenarios import Scenario, build_go, peer, serve
from benchmarks.mesh.upstream import start_upstream

PAUSE = 0.005
"""Seconds: the observer of one exchange is done before the next one begins."""
WORKLOADS = (
    Workload("answered at once", 512),
    Workload("answered whole after 100 ms", 512, answer="whole"),
    Workload("streamed for 100 ms", 512, answer="streamed"),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Never fails for being slow: a shared machine may be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mesh.paired", description=__doc__)
    parser.add_argument("--requests", type=int, default=1000, help="of each kind (default: %(default)s)")
    options = parser.parse_args(arguments)
    console = Console(stderr=True)
    ours.prepare(console)
    table = Table(
        "", "observer", "p50 without", "p50 with", "ratio", "CPU without", "with", box=None, title="times in µs"
    )
    with TemporaryDirectory(prefix="paired-") as name, ExitStack() as stack:
        directory = Path(name)
        upstream = start_upstream(stack, directory / "upstream")
        processors = {"ours": serve()}
        if isinstance(go := build_go(directory), Path):
            processors["Go, that leaves"] = peer(go)
        standing = [
            bench.RunningScenario(
                Scenario(name, start, observe=observe), stack, directory / f"{name} {observe}", upstream
            )
            for name, start in processors.items()
            for observe in (False, True)
        ]
        for workload in WORKLOADS:
            times, cpus = measure(standing, workload, options.requests)
            for n, name in enumerate(processors):
                without, observed = (median(found) for found in times[2 * n : 2 * n + 2])
                figures = (f"{without:.0f}", f"{observed:.0f}", f"{observed / without:.3f}")
                table.add_row(workload.name, name, *figures, *(f"{cpu:.0f}" for cpu in cpus[2 * n : 2 * n + 2]))
    console.print(table)


def measure(
    standing: Sequence[bench.RunningScenario], workload: Workload, requests: int
) -> tuple[list[list[float]], list[float]]:
    """Of each: the times that its clients waited, and the CPU of its processor for a request; in µs."""
    connections = [http.client.HTTPConnection("127.0.0.1", one.port, timeout=10) for one in standing]
    times: list[list[float]] = [[] for _ in standing]
    before = [one.processors[0].cpu_seconds() for one in standing]
    for _ in range(requests):
        for n in random.sample(range(len(standing)), len(standing)):
            begun = time.perf_counter()
            connections[n].request("POST", workload.path, workload.payload(), workload.headers)
            connections[n].getresponse().read()
            times[n].append(1e6 * (time.perf_counter() - begun))
            time.sleep(PAUSE)
    after = [one.processors[0].cpu_seconds() for one in standing]
    for connection in connections:
        connection.close()
    return times, [1e6 * (b - a) / requests for a, b in zip(before, after, strict=True)]


if __name__ == "__main__":
    main()
