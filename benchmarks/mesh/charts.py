"""Charts of the results, as SVG. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.mesh.bench import Cell
from benchmarks.mesh.report import Results
from benchmarks.mesh.scenarios import AIO, BASELINE, GO_PEER, OURS

_COLORS = {OURS: "#0b6e4f", GO_PEER: "#00acd7", AIO: "#b5651d"}
_OTHER = "#9aa5b1"

Value = Callable[[Cell], tuple[float, tuple[float, float] | None]]
"""What a bar shows, and its range."""


def draw(results: Results, directory: Path) -> None:
    """``cpu.svg``: what the processor costs; ``latency.svg``: what it adds."""
    mpl.rcParams["svg.hashsalt"] = "aimesh"  # the same results give the same file
    _bars(
        results,
        directory / "cpu.svg",
        "Processor CPU per request (µs, median; line: range)",
        lambda cell: (cell.server_cpu, cell.server_cpu_range),
    )
    _bars(
        results,
        directory / "latency.svg",
        "Added to the median latency of no filter (µs)",
        lambda cell: (cell.added_p50, None),
    )


def _bars(results: Results, path: Path, title: str, value: Value) -> None:
    figure = Figure(figsize=(9, 1.2 + 0.26 * sum(len(cells) + 1 for cells in results.cells.values())))
    axes = figure.add_subplot()
    at, ticks, labels = 0.0, [], []
    for workload, cells in results.cells.items():
        at += 0.9
        axes.text(0, at, workload, weight="bold", va="center", fontsize=9)
        for name, cell in _shown(cells, value):
            at += 1
            number, spread = value(cell)
            axes.barh(at, number, color=_COLORS.get(name, _OTHER), height=0.75)
            if spread is not None:
                axes.hlines(at, *spread, color="#333333", linewidth=1)
            axes.text(max(number, spread[1] if spread else 0), at, f" {number:.0f}", va="center", fontsize=8)
            ticks.append(at)
            labels.append(name)
        at += 0.6
    axes.set_yticks(ticks, labels, fontsize=8)
    axes.invert_yaxis()
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(left=0)
    axes.margins(x=0.08)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def _shown(cells: dict[str, Cell], value: Value) -> list[tuple[str, Cell]]:
    return [(name, cell) for name, cell in sorted(cells.items()) if name != BASELINE and value(cell)[0] > 0]
