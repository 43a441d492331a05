"""The chart of `benchmarks.breaking`. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.breaking import AFTER, NORMAL, WEAK, Run

_WINDOW = 2.0
"""Seconds of a point."""


def draw(runs: Sequence[Run], scale: float, path: Path) -> None:
    """A row for each run: times to first token of what was accepted, and answers a second beside the limit."""
    mpl.rcParams["svg.hashsalt"] = "aimesh"  # the same results give the same file
    mpl.rcParams["svg.fonttype"] = "none"
    figure = Figure(figsize=(11, 2.4 * len(runs)), layout="constrained")
    panels = figure.subplots(len(runs), 2, squeeze=False)
    for (times, rates), run in zip(panels, runs, strict=True):
        accepted = [a for a in run.answers if a.first_token is not None]
        times.plot(
            [a.at for a in accepted],
            [a.first_token or 0 for a in accepted],
            ".",
            ms=2,
            color="#0b6e4f",
            rasterized=True,
        )
        times.set_yscale("log")
        times.set_title(f"{run.name}: seconds to the first token, when asked", loc="left", fontsize=9)
        ends = [_WINDOW * n for n in range(1, int(scale * (NORMAL + WEAK + AFTER) / _WINDOW))]
        refused = [sum(a.status in (429, 503) and end - _WINDOW <= a.at < end for a in run.answers) for end in ends]
        served = [sum(end - _WINDOW <= a.at < end for a in accepted) for end in ends]
        rates.plot(ends, [n / _WINDOW for n in served], color="#0b6e4f", label="accepted/s")
        rates.plot(ends, [n / _WINDOW for n in refused], color="#b5651d", label="refused/s")
        shown = [(at, most) for at, most in run.limits if most < 200]
        if shown:
            rates.plot([at for at, _ in shown], [most for _, most in shown], ".", ms=3, color="#333333", label="limit")
        rates.legend(fontsize=7, loc="upper right")
        for axes in (times, rates):
            axes.axvspan(scale * NORMAL, scale * (NORMAL + WEAK), color="#000000", alpha=0.06)
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(labelsize=7)
    figure.savefig(path, metadata={"Date": None}, dpi=120)
