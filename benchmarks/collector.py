"""``python -m benchmarks.collector``: what reading the load of endpoints costs, by their number and size of pages.

The real process reads the pages of 16 little servers, each of which stands for many endpoints by as many addresses of
loopback. Told are the share of one core that it takes, the CPU of a page, and how old loads are when they are read.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from math import ceil
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.machine import processor
from extproc.gateway.free_ports import free_addresses
from extproc.picking.board import Page, Wanted
from extproc.picking.board_layout import CPU, FAILED, READ, REPORTED_AT
from extproc.serve.child_process import ChildProcess
from extproc.serve.shared_board import SharedBoard

SERVERS = 16
INTERVAL = 0.1
"""Seconds between two looks at a page."""
CASES = ((100, 20_000), (100, 50_000), (100, 100_000), (1000, 20_000), (1000, 50_000))
"""Endpoints, and bytes of a page."""
_WARM_UP = 3.0
_SAMPLES = 200


class Row(msgspec.Struct, frozen=True):
    """One case."""

    endpoints: int
    page_bytes: int
    core: float
    """Share of one core that the collector takes."""
    page_us: float
    """Microseconds of CPU for a page."""
    pages_per_second: float
    failed: float
    age_p50_ms: float
    """How old loads are, over all endpoints and times of looking."""
    age_p99_ms: float


def main(arguments: Sequence[str] | None = None) -> int:
    """A table on stderr, and JSON in a folder if asked. Never fails for being slow: a shared machine may be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.collector", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each case (default: %(default)g)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write collector.json there, too")
    options = parser.parse_args(arguments)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    rows = [measure(endpoints, size, options.seconds) for endpoints, size in CASES]
    Console(stderr=True).print(table(rows), f"{processor()}; a page each {1000 * INTERVAL:g} ms", sep="\n")
    if options.out:
        found = {"processor": processor(), "interval": INTERVAL, "rows": rows}
        (options.out / "collector.json").write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    return 0


def measure(endpoints: int, size: int, seconds: float, servers: int = SERVERS) -> Row:
    """What the collector takes for so many endpoints, with pages of ``size`` bytes."""
    shared = SharedBoard(1)
    with ExitStack() as stack:
        ports = [stack.enter_context(_page_server(size)) for _ in range(servers)]
        names = [f"127.0.{n // 250 + 1}.{n % 250 + 1}:{ports[n % servers]}" for n in range(endpoints)]
        wanted = {name: Wanted(Page("vllm", f"http://{name}/metrics", INTERVAL)) for name in names}
        places = list(shared.board.claim(0, wanted).values())
        words = [sys.executable, "-m", "extproc.serve.load_collector", str(shared.fd), "1"]
        collector = ChildProcess("the collector", words, echo=True, inherits=[shared.fd])
        stack.callback(collector.terminate, 1.0)
        time.sleep(_WARM_UP)
        before, began = shared.board.numbers.copy(), time.monotonic()
        ages = []
        for _ in range(_SAMPLES):
            time.sleep(seconds / _SAMPLES)
            ages.append(time.monotonic() - shared.board.reports[REPORTED_AT, places])
        spent, lasted = shared.board.numbers - before, time.monotonic() - began
    p50, p99 = np.percentile(np.concatenate(ages), (50, 99)) * 1000
    read, cpu, failed = float(spent[READ]), float(spent[CPU]), float(spent[FAILED:].sum())
    return Row(endpoints, size, cpu / lasted, 1e6 * cpu / max(1.0, read), read / lasted, failed, float(p50), float(p99))


@contextmanager
def _page_server(size: int) -> Iterator[str]:
    """The port of a little server, a process."""
    port = free_addresses(1)[0].rpartition(":")[2]
    command = [sys.executable, "-m", "benchmarks.page_servers", port, str(size)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()
        try:
            yield port
        finally:
            server.kill()


def table(rows: Sequence[Row]) -> Table:
    """For people."""
    found = Table("endpoints", "page", "of one core", "CPU a page", "pages/s", "failed", "age p50", "age p99")
    for row in rows:
        cells = (f"{row.endpoints}", f"{row.page_bytes // 1000} KB", f"{100 * row.core:.1f} %", f"{row.page_us:.0f} us")
        ages = f"{ceil(row.age_p50_ms)} ms", f"{ceil(row.age_p99_ms)} ms"
        found.add_row(*cells, f"{row.pages_per_second:.0f}", f"{row.failed:.0f}", *ages)
    return found


if __name__ == "__main__":
    raise SystemExit(main())
