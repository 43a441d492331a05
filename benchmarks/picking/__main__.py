"""`python -m benchmarks.picking`: the same requests to simulated model servers, by each way to pick one of them.

Prints the table of docs/picking.md; with --out it writes picking.json and, where matplotlib is, picking.svg.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean, median
from typing import Any

from benchmarks.picking.simulation import Simulation, summary
from benchmarks.picking.traffic import LOADS
from extproc.policy.picking import LEAST_LOADED, PREFIX, RANDOM_TWO, ROUND_ROBIN, SESSION, Picking

WAYS = (ROUND_ROBIN, RANDOM_TWO, SESSION, LEAST_LOADED, PREFIX)
WARM = 0.25
"""Share of a run that is not counted: caches fill."""
AT_LEAST = 2.0
"""How many times lower the mean with shared prefixes is to be than by turns."""
WITHIN = 0.03
"""Share by which the mean may be worse where nothing is shared."""


def measure(seconds: float, replicas: int, parts: int, run: tuple[str, str, int]) -> dict[str, Any]:
    """The figures of one run: of a load, by a way, with a seed."""
    name, by, seed = run
    load = next(load for load in LOADS if load.name == name).part(parts)
    done = Simulation(load, Picking(by=by), seed, replicas).run(seconds)
    return {"load": name, "by": by, "seed": seed, **summary(done, WARM * seconds, seconds)}


def of_all_seeds(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """By load and way: means, and the median of what each seed says in comparison with round-robin."""
    found = []
    for load in LOADS:
        turns = {run["seed"]: run for run in runs if run["load"] == load.name and run["by"] == ROUND_ROBIN}
        for by in WAYS:
            mine = [run for run in runs if run["load"] == load.name and run["by"] == by]
            if not mine:
                continue
            row = {key: fmean(run[key] for run in mine) for key in mine[0] if key not in ("load", "by", "seed")}
            ratios = {
                f"{key}_ratio": median(turns[run["seed"]][key] / run[key] for run in mine) for key in ("mean", "p99")
            }
            found.append({"load": load.name, "by": by, **row, **ratios})
    return found


def table(rows: Sequence[dict[str, Any]]) -> str:
    """In Markdown: times to first token, and what else there is to know."""
    lines = [
        "| load | by | mean TTFT | p50 | p99 | mean, lower by | p99, lower by | a token | whole | cached | busiest |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    titles = {load.name: load.title for load in LOADS}
    before = ""
    for row in rows:
        title = titles[row["load"]] if row["load"] != before else ""
        before = row["load"]
        times = " | ".join(f"{1000 * row[key]:.0f} ms" for key in ("mean", "p50", "p99"))
        lines.append(
            f"| {title} | {row['by']} | {times} | {row['mean_ratio']:.2f} | {row['p99_ratio']:.2f} "
            f"| {1000 * row['per_token']:.1f} ms | {row['took']:.2f} s | {100 * row['cached']:.0f} % "
            f"| {100 * row['busiest']:.0f} % |"
        )
    return "\n".join(lines)


def verdicts(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Whether ``prefix`` does what it is there for."""
    ratio = {(row["load"], key): row[f"{key}_ratio"] for row in rows if row["by"] == PREFIX for key in ("mean", "p99")}
    aims = (
        (("shared", "mean"), AT_LEAST, f"mean TTFT {AT_LEAST:g} times lower with shared prefixes"),
        (("slow", "p99"), 1.0, "p99 lower with a slow server"),
        (("mixed", "mean"), 1 - WITHIN, "no loss with mixed lengths"),
        (("unique", "mean"), 1 - WITHIN, "no loss without a shared prefix"),
    )
    return [
        f"{what}: {'met' if ratio[key] >= least else 'not met'} ({ratio[key]:.2f})"
        for key, least, what in aims
        if key in ratio
    ]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.picking")
    parser.add_argument("--seconds", type=float, default=120.0, help="of each simulation (default: %(default)g)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each load by each way (default: %(default)s)")
    parser.add_argument("--replicas", type=int, default=1, help="processors that share the requests (default: 1)")
    parser.add_argument(
        "--load", choices=[load.name for load in LOADS], action="append", help="only this, may be repeated"
    )
    parser.add_argument("--parts", type=int, default=1, help="only 1/n of the servers and requests (default: 1)")
    parser.add_argument("--by", choices=WAYS, action="append", help="only this way beside round-robin, may be repeated")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="folder for picking.json, and picking.svg where matplotlib is")
    options = parser.parse_args()
    loads = options.load or [load.name for load in LOADS]
    ways = [by for by in WAYS if by == ROUND_ROBIN or options.by is None or by in options.by]
    asked = [(load, by, seed) for load in loads for by in ways for seed in range(1, options.seeds + 1)]
    with ProcessPoolExecutor(options.jobs) as pool:
        runs = list(pool.map(partial(measure, options.seconds, options.replicas, options.parts), asked))
    rows = of_all_seeds(runs)
    print(table(rows))
    print(*verdicts(rows), sep="\n")
    if options.out:
        what = {
            "seconds": options.seconds,
            "seeds": options.seeds,
            "replicas": options.replicas,
            "parts": options.parts,
            "rows": rows,
        }
        (options.out / "picking.json").write_text(json.dumps(what, indent=2) + "\n")
        if find_spec("matplotlib"):
            from benchmarks.picking.chart import draw

            draw(rows, options.out / "picking.svg")


if __name__ == "__main__":
    main()
