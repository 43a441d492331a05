"""`python -m benchmarks.startup`: from exec to the answer of the first stream, ours beside others, in turns.

Ours runs as an installed wheel does: compiled, and without the import hook of a development install.
"""

from __future__ import annotations

import argparse
import random
import site
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks import ours
from benchmarks.machine import processor
from benchmarks.mesh import external
from benchmarks.mesh.load import Workload
from benchmarks.mesh.scenarios import POLICY, build_go, peer
from benchmarks.requests import headers_message
from benchmarks.steady.rig import first_stream
from extproc.gateway.free_ports import free_addresses

OURS, OTHER, GO = "ours", "the other build", "Go"
Command = Callable[[Path, str], list[str]]
"""Starts a processor with a policy file at an address."""


class Start(msgspec.Struct, frozen=True):
    """Milliseconds, medians over the starts; ``ratio`` is ours by this one, the median of those within a round."""

    wall: float
    wall_range: tuple[float, float]
    cpu: float
    ratio: float
    cpu_ratio: float


def main(arguments: Sequence[str] | None = None) -> int:
    """A table on stderr, and JSON on stdout if asked. Never fails for being slow: a shared machine may be."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.startup",
        description="From exec to the answer of the first stream.",
        epilog="Before and after a change: keep build/compiled-* from before it, and give that folder to --build.",
    )
    parser.add_argument("--starts", type=int, default=15, help="of each (default: %(default)s)")
    parser.add_argument("--build", type=Path, metavar="DIR", help="another build of ours to compare with")
    parser.add_argument("--json", action="store_true", help="print everything as JSON on stdout, too")
    external.add_flag(parser)
    options = parser.parse_args(arguments)
    console = Console(stderr=True)
    ours.prepare(console)
    with TemporaryDirectory(prefix="startup-") as name:
        directory = Path(name)
        built = ours.compiled()
        commands: dict[str, Command] = {OURS: _installed(built if isinstance(built, Path) else ours.ROOT)}
        if options.build is not None:
            commands[OTHER] = _installed(options.build)
        if isinstance(go := build_go(directory), Path):
            commands[GO] = peer(go)
        else:
            console.print(f"Without the Go peer: {go}")
        commands |= {one.name: one.processor for one in options.peer}
        starts = summarize(measure(commands, options.starts, directory))
    table = Table("", box=None, title=f"exec to first answer, ms, {options.starts} starts", title_justify="left")
    for heading in ("wall", "range", "CPU", "ours by it, wall", "CPU"):
        table.add_column(heading, justify="right")
    for name, one in starts.items():
        span = f"{one.wall_range[0]:.0f}-{one.wall_range[1]:.0f}"
        table.add_row(name, f"{one.wall:.0f}", span, f"{one.cpu:.0f}", f"{one.ratio:.2f}", f"{one.cpu_ratio:.2f}")
    console.print(table)
    console.print(processor(), style="dim")
    if options.json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(starts), indent=2) + b"\n")
    return 0


def _installed(package: Path) -> Command:
    paths = ":".join([str(package), *site.getsitepackages()])
    serve = ["env", f"PYTHONPATH={paths}", sys.executable, "-S", "-P", "-m", "extproc", "serve"]
    return lambda policy, listen: [*serve, "-f", str(policy), "--listen", listen, "--admin", "127.0.0.1:0"]


def measure(commands: dict[str, Command], starts: int, directory: Path) -> dict[str, list[tuple[float, float]]]:
    """Wall and CPU seconds of every start, by name. In each round all start once, in another order.

    The first round, which may compile and reads files for the first time, does not count.
    """
    policy = directory / "policy.yaml"
    policy.write_text(POLICY.replace("UPSTREAM", "127.0.0.1:9"))
    asked = Workload("a path that names the model", 0)
    message = headers_message({":method": "POST", ":path": asked.path, **asked.headers})
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for number in range(starts + 1):
        for name in random.sample(list(commands), len(commands)):
            address = free_addresses(1)[0]
            seconds = first_stream(commands[name](policy, address), address, message)
            if number:
                found[name].append(seconds)
    return found


def summarize(found: dict[str, list[tuple[float, float]]]) -> dict[str, Start]:
    """Medians, and ours by each."""
    return {
        name: Start(
            1000 * median(wall for wall, _ in mine),
            (1000 * min(wall for wall, _ in mine), 1000 * max(wall for wall, _ in mine)),
            1000 * median(cpu for _, cpu in mine),
            median(own[0] / one[0] for own, one in zip(found[OURS], mine, strict=True)),
            median(own[1] / one[1] for own, one in zip(found[OURS], mine, strict=True)),
        )
        for name, mine in found.items()
    }


if __name__ == "__main__":
    raise SystemExit(main())
