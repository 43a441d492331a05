"""Charts of the results, as SVG. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.mesh.bench import Cell
from benchmarks.mesh.report import Results
from benchmarks.mesh.scenarios import AIO, BASELINE, BUFFERED, GO_BUFFERED, GO_PEER, OURS

_COLORS = {OURS: "#0b6e4f", BUFFERED: "#0b6e4f", GO_PEER: "#00acd7", GO_BUFFERED: "#00acd7", AIO: "#b5651d"}
_OTHER = "#9aa5b1"

Value = Callable[[Cell], tuple[float, tuple[float, float] | None]]
"""What a bar shows, and its range."""


def draw(results: Results, directory: Path) -> None:
    """``cpu.svg``: what the processor costs; ``latency.svg``: what it adds."""
    mpl.rcParams["svg.hashsalt"] = "aimesh"  # the same results give the same file
    mpl.rcParams["svg.fonttype"] = "none"
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
    """A panel for each workload, each with its own scale: what compares is within one."""
    columns = 3
    rows = -(-len(results.cells) // columns)
    figure = Figure(figsize=(13, 0.6 + 2.6 * rows), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, (workload, cells) in zip(panels, results.cells.items(), strict=False):
        shown = _shown(cells, value)
        most = max(max(value(cell)[0], (value(cell)[1] or (0, 0))[1]) for _, cell in shown)
        for at, (name, cell) in enumerate(shown):
            number, spread = value(cell)
            axes.barh(at, number, color=_COLORS.get(name, _OTHER), height=0.75)
            if spread is not None:
                axes.hlines(at, *spread, color="#333333", linewidth=1)
            axes.text(max(number, spread[1] if spread else 0), at, f" {number:.0f}", va="center", fontsize=8)
        axes.set_yticks(range(len(shown)), [name for name, _ in shown], fontsize=8)
        axes.invert_yaxis()
        axes.set_title(workload, loc="left", fontsize=9, weight="bold")
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.set_xticks([])
        axes.set_xlim(0, 1.2 * most)
    for axes in panels[len(results.cells) :]:
        axes.set_visible(False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _shown(cells: dict[str, Cell], value: Value) -> list[tuple[str, Cell]]:
    return [(name, cell) for name, cell in sorted(cells.items()) if name != BASELINE and value(cell)[0] > 0]
