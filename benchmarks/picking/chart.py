"""The chart of `benchmarks.picking`. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.picking.traffic import LOADS

COLOURS = {
    "round-robin": "#9a9a9a",
    "random-two": "#c9a227",
    "session": "#7b68a6",
    "least-loaded": "#b5651d",
    "prefix": "#0b6e4f",
}


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """A panel for each load: mean and p99 of the times to first token, a bar for each way to pick."""
    mpl.rcParams["svg.hashsalt"] = "aimesh"  # the same results give the same file
    mpl.rcParams["svg.fonttype"] = "none"
    loads = [load for load in LOADS if any(row["load"] == load.name for row in rows)]
    figure = Figure(figsize=(11, 2.6 * -(-len(loads) // 3)), layout="constrained")
    panels = figure.subplots(-(-len(loads) // 3), min(3, len(loads)), squeeze=False).flat
    for panel, load in zip(panels, loads, strict=False):
        mine = [row for row in rows if row["load"] == load.name]
        for place, row in enumerate(mine):
            bars = panel.bar(
                [place / 7, 1 + place / 7],
                [row["mean"], row["p99"]],
                width=0.13,
                color=COLOURS[row["by"]],
                label=row["by"],
            )
            panel.bar_label(bars, [f"{1000 * row[key]:.0f}" for key in ("mean", "p99")], fontsize=5.5, padding=1)
        panel.set_yscale("log")
        panel.set_ylim(0.01, 30)  # one scale for all
        panel.set_xticks([2 / 7, 1 + 2 / 7], ["mean", "p99"])
        panel.set_title(f"{load.title}: ms to the first token", loc="left", fontsize=9)
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=7)
        panel.set_ylabel("seconds", fontsize=7)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8)
    figure.savefig(path, metadata={"Date": None})
