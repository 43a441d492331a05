"""The chart of `benchmarks.picking`. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.picking.traffic import LOADS

COLOURS = {
    "round-robin": "#8c8c8c",
    "random-two": "#c9a227",
    "session": "#7b68a6",
    "least-loaded": "#b5651d",
    "prefix": "#0b6e4f",
}
DOTS = "measured, behind the real Envoy"
Measured = Mapping[tuple[str, str], Mapping[str, float]]
"""By load and way, what was measured through the real Envoy."""


def short(milliseconds: float) -> str:
    """A label: milliseconds, or seconds from one on."""
    return f"{milliseconds:.0f}" if milliseconds < 999.5 else f"{milliseconds / 1000:.{milliseconds < 9950:d}f} s"


def draw(rows: Sequence[dict[str, Any]], measured: Measured, path: Path) -> None:
    """A panel for each load: mean and p99 of the times to first token, a bar for each way to pick, by the simulator,
    and a dot for what was measured.
    """
    mpl.rcParams["svg.hashsalt"] = "aimesh"  # the same results give the same file
    mpl.rcParams["svg.fonttype"] = "none"
    loads = [load for load in LOADS if any(row["load"] == load.name for row in rows)]
    lines = -(-len(loads) // 3)
    figure = Figure(figsize=(11, 0.5 + 2.7 * lines), layout="constrained")
    panels = figure.subplots(lines, min(3, len(loads)), squeeze=False).flatten().tolist()
    for panel in panels[len(loads) :]:
        panel.set_axis_off()
    for panel, load in zip(panels, loads, strict=False):
        mine = [row for row in rows if row["load"] == load.name]
        for place, row in enumerate(mine):
            by, times = row["by"], [1000 * row[key] for key in ("mean", "p99")]
            at = [place, len(mine) + 1 + place]
            bars = panel.bar(at, times, width=0.9, color=COLOURS[by], label=by)
            panel.bar_label(bars, [short(time) for time in times], fontsize=7, padding=4)
            if found := measured.get((load.name, by)):
                dots = [1000 * found[key] for key in ("mean", "p99")]
                panel.plot(at, dots, "o", ms=5, color="#000000", mec="#ffffff", mew=0.8, label=DOTS, zorder=3)
        panel.set_yscale("log")
        panel.set_ylim(8, 100_000)  # one scale for all
        panel.set_yticks([10, 100, 1000, 10_000], ["10 ms", "100 ms", "1 s", "10 s"], fontsize=8)
        panel.minorticks_off()
        panel.grid(axis="y", color="#dddddd", linewidth=0.6)
        panel.set_axisbelow(True)
        middle = (len(mine) - 1) / 2
        panel.set_xticks([middle, len(mine) + 1 + middle], ["mean", "p99"], fontsize=9)
        panel.set_title(load.title, loc="left", fontsize=11)
        panel.spines[["top", "right"]].set_visible(False)
    shown = [zip(*panel.get_legend_handles_labels(), strict=True) for panel in figure.axes]
    marks = {label: mark for panel in shown for mark, label in panel}
    names = [name for name in (*COLOURS, DOTS) if name in marks]
    figure.legend(
        [marks[name] for name in names], names, loc="outside lower center", ncols=len(names), fontsize=9, frameon=False
    )
    figure.suptitle("Time to first token, by how one of 16 servers is picked", x=0.01, ha="left", fontsize=12)
    figure.savefig(path, metadata={"Date": None})
